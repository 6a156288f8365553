package limiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/limiter/escrow"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/wire"
)

const (
	// topUpTimeout is how long a leader is waited for, topUpPause how long until
	// it is tried again.
	topUpTimeout = 5 * time.Second
	topUpPause   = 50 * time.Millisecond
	// renewTries is how often a reset looks again if somebody else was faster.
	renewTries = 8
)

// Why a budget is not changed.
var (
	// ErrUnknownBudget: no node has counted anything under it.
	ErrUnknownBudget = errors.New("no node knows of this budget: nothing has been counted under it in this window")
	// ErrWindowOver: its window has ended.
	ErrWindowOver = errors.New("the window of this budget is over")
	// ErrUnchangeable: it is of a kind that cannot be changed.
	ErrUnchangeable = errors.New("only budgets of calendar and fixed windows that the cluster counts can be changed, not of sliding windows, of requests in flight, or of one node")
	// ErrCrowded: there is no room to keep in mind what was added.
	ErrCrowded = errors.New("too many budgets are in use, or have been added to: this one cannot be until some windows end")
	// ErrBudgetTooLarge: it would have more than ledger.MaxTokens.
	ErrBudgetTooLarge = fmt.Errorf("a budget may not be larger than %d", ledger.MaxTokens)
	// ErrNoAnswer: no leader has answered in time. The tokens may or may not have
	// been added; the same operation may be repeated.
	ErrNoAnswer = errors.New("limiter: no answer from a leader")
	// ErrChanged: others were faster, again and again.
	ErrChanged = errors.New("the budget keeps being changed; try again")
)

// TopUp adds tokens to one window's budget on all nodes, once for each operation
// however often it is repeated. It returns a list with the budget as it is then,
// once every node that can be reached knows.
func (l *Limiter) TopUp(ctx context.Context, id ledger.OperationID, b ledger.Budget, tokens int64) (*BudgetList, error) {
	list, _, err := l.raise(ctx, id, b, 0, func(*Budget) (int64, int64) { return tokens, -1 })
	return list, err
}

// Renew is TopUp with what was spent and not added before: afterwards as much is
// left as at the beginning of the window. What unreachable nodes have spent is not
// known, and not added. Of several at once, one does it.
func (l *Limiter) Renew(ctx context.Context, id ledger.OperationID, b ledger.Budget) (*BudgetList, error) {
	var list *BudgetList
	seen, err := int64(0), error(nil)
	for range renewTries {
		list, seen, err = l.raise(ctx, id, b, seen, func(now *Budget) (int64, int64) {
			return max(0, now.Spent-now.Added), now.Added
		})
		if !errors.Is(err, ErrChanged) {
			break
		}
	}
	return list, err
}

// Budget looks for one budget; the list has it and nothing else.
func (l *Limiter) Budget(ctx context.Context, b ledger.Budget) (*BudgetList, error) {
	core, err := l.during(b)
	if err != nil {
		return nil, err
	}
	list, _, err := l.look(ctx, core, b, 0)
	return list, err
}

// during returns the core, or an error if a budget's window is over.
func (l *Limiter) during(b ledger.Budget) (*escrow.Core, error) {
	core := l.core.Load()
	if core == nil {
		return nil, ErrNotReady
	}
	now, _ := core.Clock.At(l.mono())
	if w, _ := b.Window(); !b.Period.IsSliding() && now.Lo >= w.Until {
		return nil, ErrWindowOver
	}
	return core, nil
}

// raise adds as many tokens as amount says after a look at the budget, if so much
// has been added before as it says, too. It returns the stamp of its entry.
func (l *Limiter) raise(ctx context.Context, id ledger.OperationID, b ledger.Budget, seen int64, amount func(*Budget) (tokens, expect int64)) (*BudgetList, int64, error) {
	core, err := l.during(b)
	if err != nil {
		return nil, 0, err
	}
	if p := b.Period; p.IsSliding() || p.IsLocal() || p.IsInFlight() || p.IsBucket() {
		return nil, 0, ErrUnchangeable
	}
	before, limit, err := l.look(ctx, core, b, seen)
	if err != nil {
		return nil, 0, err
	}
	tokens, expect := amount(&before.Budgets[0])
	if tokens == 0 {
		return before, 0, nil
	}
	if seen, err = l.topUp(ctx, &ledger.TopUp{ID: id, Budget: b, Limit: limit, Tokens: tokens, Expect: expect}); err != nil {
		return nil, seen, err
	}
	after, _, err := l.look(ctx, core, b, seen)
	return after, seen, err
}

// look asks all nodes for one budget, once they have seen an entry of the log.
func (l *Limiter) look(ctx context.Context, core *escrow.Core, b ledger.Budget, seen int64) (*BudgetList, ledger.Limit, error) {
	g := l.gather(ctx, &escrow.Query{Seen: seen, Size: 1, Budgets: []ledger.Budget{b}}, core.Nodes(), changeTimeout)
	limit, _ := l.account(core, b, g.rows[b])
	if limit.Version == 0 {
		return nil, limit, ErrUnknownBudget
	}
	return &BudgetList{Budgets: []Budget{l.describe(core, b, g)}, Unreachable: g.late}, limit, nil
}

// topUp brings a top-up into the log and returns the stamp of its entry. A call
// that fails is repeated: the ledger does it once.
func (l *Limiter) topUp(ctx context.Context, t *ledger.TopUp) (stamp int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, topUpTimeout)
	defer cancel()
	e := ledger.Entry{TopUps: []ledger.TopUp{*t}}
	body, err := e.AppendBinary([]byte{callTopUp})
	if err != nil {
		return 0, err
	}
	for {
		var done ledger.ToppedUp
		if stamp, err = l.callTopUp(ctx, body, &done); err == nil {
			return stamp, refusal(done.Refused)
		}
		if !l.sleep(ctx, topUpPause) {
			return 0, fmt.Errorf("%w: %w", ErrNoAnswer, err)
		}
	}
}

func (l *Limiter) callTopUp(ctx context.Context, body []byte, done *ledger.ToppedUp) (stamp int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	answer, err := l.cfg.Peers.CallLeader(ctx, body)
	if err != nil {
		return 0, err
	}
	const stampBytes = 8
	if len(answer) < stampBytes {
		return 0, errMalformed
	}
	stamp = int64(wire.NewDecoder(answer[:stampBytes]).Fixed())
	return stamp, done.UnmarshalBinary(answer[stampBytes:])
}

// refusal is what a refused top-up means to who asked for it.
func refusal(r ledger.Refusal) error {
	switch r {
	case ledger.NotRefused:
		return nil
	case ledger.Expired:
		return ErrWindowOver
	case ledger.Crowded, ledger.Full:
		return ErrCrowded
	case ledger.Changed:
		return ErrChanged
	case ledger.TooLarge:
		return ErrBudgetTooLarge
	}
	return fmt.Errorf("limiter: the top-up was refused (%d)", r)
}
