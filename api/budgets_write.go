package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
)

// grantBudget answers POST /cluster/budgets/{id}/grant: the window admits so many more.
func (a *API) grantBudget(q *request) (*reply, error) {
	tokens, err := q.tokens()
	if err != nil {
		return nil, err
	}
	return a.changeBudget(q, "grant", func(ctx context.Context, id ledger.OperationID, b ledger.Budget) (*limiter.BudgetList, error) {
		return a.cfg.Budgets.TopUp(ctx, id, b, tokens)
	})
}

// resetBudget answers POST /cluster/budgets/{id}/reset: as much is left as at the window's beginning.
func (a *API) resetBudget(q *request) (*reply, error) {
	if len(q.body.fields) > 0 {
		return nil, badRequest("reset takes no arguments")
	}
	return a.changeBudget(q, "reset", a.cfg.Budgets.Renew)
}

// tokens reads the only argument of a grant.
func (q *request) tokens() (int64, error) {
	text := strings.TrimSpace(fmt.Sprint(q.body.fields["tokens"]))
	if number, ok := q.body.fields["tokens"].(json.Number); ok {
		text = number.String()
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > ledger.MaxTokens || len(q.body.fields) != 1 {
		return 0, badRequest("grant takes one argument, tokens: an integer between 1 and %d", ledger.MaxTokens)
	}
	return n, nil
}

func (a *API) changeBudget(q *request, what string, change func(context.Context, ledger.OperationID, ledger.Budget) (*limiter.BudgetList, error)) (*reply, error) {
	b, err := q.budget()
	if err != nil {
		return nil, err
	}
	identity, err := q.identify()
	if err != nil {
		return nil, err
	}
	var id ledger.OperationID
	if n, err := hex.Decode(id[:], []byte(identity)); err != nil || n != len(id) {
		return nil, fmt.Errorf("identity %q of a request: %w", identity, errors.Join(err, hex.ErrLength))
	}
	rep := (&reply{}).set(headerRequestID, q.id)
	list, err := change(q.Context(), id, b)
	if err != nil {
		a.logBudget(q, what, b, zap.Error(err))
		return rep, budgetError(err)
	}
	now := &list.Budgets[0]
	a.logBudget(q, what, b, zap.Int64("max", now.Max), zap.Int64("granted", now.Added), zap.Int64("spent", now.Spent), zap.Int64("left", now.Left))
	done, err := a.budgetReply(list)
	if err != nil {
		return rep, err
	}
	return done.set(headerRequestID, q.id), nil
}

// logBudget keeps a record of who has changed what: by address, and by token where there are tokens.
func (a *API) logBudget(q *request, what string, b ledger.Budget, more ...zap.Field) {
	fields := []zap.Field{
		zap.String("operation", what), zap.String("client", q.RemoteAddr), zap.String("request_id", q.id), zap.String("budget", b.ID()),
		zap.Any("tokens", q.body.fields["tokens"]),
	}
	if q.who != nil {
		fields = append(fields, zap.String("token", q.who.name))
	}
	a.cfg.Logger.Info("budget changed by an operator", append(fields, more...)...)
}

// budgetError says in HTTP's terms why the limiter has not done something.
func budgetError(err error) error {
	status := 0
	switch {
	case errors.Is(err, limiter.ErrUnknownBudget):
		status = http.StatusNotFound
	case errors.Is(err, limiter.ErrWindowOver), errors.Is(err, limiter.ErrCrowded), errors.Is(err, limiter.ErrChanged):
		status = http.StatusConflict
	case errors.Is(err, limiter.ErrBudgetTooLarge), errors.Is(err, limiter.ErrUnknownNode), errors.Is(err, limiter.ErrUnchangeable):
		status = http.StatusBadRequest
	default:
		return err
	}
	return &statusError{status, err.Error()}
}
