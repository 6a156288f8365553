package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// apiBudgets is the limiter as the Admin API wants it.
type apiBudgets struct {
	*limiter.Limiter
	node *cluster.Node
}

var _ api.Budgets = apiBudgets{}

func (b apiBudgets) NodeNames() map[string]string { return b.node.NodeNames() }

// TopUp says in the Admin API's terms why it did not happen.
func (b apiBudgets) TopUp(ctx context.Context, id ledger.OperationID, which ledger.Budget, tokens int64) (*limiter.BudgetList, error) {
	list, err := b.Limiter.TopUp(ctx, id, which, tokens)
	return list, b.unanswered(err)
}

// Renew is like TopUp.
func (b apiBudgets) Renew(ctx context.Context, id ledger.OperationID, which ledger.Budget) (*limiter.BudgetList, error) {
	list, err := b.Limiter.Renew(ctx, id, which)
	return list, b.unanswered(err)
}

// Budgets and Budget wait for nobody.
func (b apiBudgets) Budgets(ctx context.Context, q limiter.BudgetQuery) (*limiter.BudgetList, error) {
	list, err := b.Limiter.Budgets(ctx, q)
	return list, b.unanswered(err)
}

// Budget: see Budgets.
func (b apiBudgets) Budget(ctx context.Context, which ledger.Budget) (*limiter.BudgetList, error) {
	list, err := b.Limiter.Budget(ctx, which)
	return list, b.unanswered(err)
}

// unanswered says what a client may try again. A change that no leader has
// answered in time may have been made: a leader that had it may have been lost.
func (b apiBudgets) unanswered(err error) error {
	switch {
	case errors.Is(err, limiter.ErrNotReady):
		return unavailable{err, busyPause}
	case !errors.Is(err, limiter.ErrNoAnswer):
		return err
	}
	err = fmt.Errorf("%w: %w", api.ErrUnconfirmed, err)
	if b.node.HasLeader() {
		return err
	}
	return unavailable{err, electionPause}
}
