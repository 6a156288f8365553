package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sluicegate/sluice/limiter/escrow"
	"github.com/sluicegate/sluice/limiter/ledger"
)

const (
	// callHoldings is the first byte of a call to a node that asks what it holds;
	// other calls begin with the version of an escrow.Request.
	callHoldings = 'h'
	// lookTimeout is how long a node may take to say what it holds, and
	// changeTimeout if it has to learn of a change first.
	lookTimeout   = 500 * time.Millisecond
	changeTimeout = time.Second
	// maxLooks bounds those who go through the table at the same time, and
	// maxAsked the nodes that are asked at the same time.
	maxLooks = 2
	maxAsked = 32
)

// ErrUnknownNode is wrapped by the error for a node that no roster has.
var ErrUnknownNode = errors.New("unknown node")

// BudgetQuery says which budgets are to be listed: those of open windows that all
// of it applies to.
type BudgetQuery struct {
	// Size is how many at most, up to MaxBudgets. After is the last budget of the
	// page before; the zero Budget begins.
	Size  int
	After ledger.Budget
	// Limit is a limit's id; empty: of any.
	Limit string
	// Keys narrows to what is counted under one of these, if there are any.
	Keys []LimitKey
	// Windowed narrows to windows of Period.
	Windowed bool
	Period   Period
	// Node is the id of a node that must have counted something; empty: any.
	Node string
}

// MaxBudgets is how many budgets a list may have.
const MaxBudgets = escrow.MaxHoldings - 1

// LimitKey is what is counted (a consumer's id, say) under a limit's id.
type LimitKey struct{ Limit, Key string }

// BudgetList is a page of budgets.
type BudgetList struct {
	Budgets []Budget // in the order of pages
	// More says that there are more behind the last one.
	More bool
	// Unreachable lists the nodes that did not answer in time. What they hold is
	// not known, and what only they have counted is missing.
	Unreachable []string
}

// Budget says where the tokens of one window's budget are. The numbers are from
// different moments, some milliseconds apart; they always add up:
// Spent + Left + Elsewhere is Max + Added, unless the limit was lowered, or each
// node counts by itself: then Max is every node's.
type Budget struct {
	// Budget has no Start if the window slides: it is the one that ends now.
	ledger.Budget
	From, Until int64 // the window, unix seconds; 0 for requests in flight and buckets
	Max         int64 // what the limit allows, of a bucket its burst
	Added       int64 // by operators
	Pool        int64 // what the replicated log has to give
	Spent       int64 // of a bucket, what is not back yet
	// Left is what requests may still get: from the pool, from holders, and from
	// shares that are not taken yet.
	Left int64
	// Elsewhere is what cannot be seen: held by nodes that do not answer, under
	// way, or lost with a node.
	Elsewhere int64
	Reset     int64 // seconds until all of the budget is there again, rounded up; 0: nobody knows
	Holders   []Holder
}

// Holder is what a node has of a budget.
type Holder struct {
	Node string
	// Unreachable says that it did not answer: nothing else is known.
	Unreachable bool
	// Tokens is what it holds now, of which requests that wait may have reserved
	// some; Spent what it has admitted. Credited is their sum: what it has got,
	// less what it has given to others.
	Tokens, Spent, Credited int64
	// Pending is its share, if it has not taken that yet: it does when the first
	// request comes.
	Pending int64
	Waiting int64 // requests that wait for a token
	// Closed says that it knows the window to be used up, Degraded that it took a
	// share without a quorum.
	Closed, Degraded bool
}

// Tag returns the upper 32 bits of the Key.Hi of all budgets of a limit; false
// while the cluster is not known.
func (l *Limiter) Tag(limit string) (uint32, bool) {
	core := l.core.Load()
	if core == nil {
		return 0, false
	}
	return core.Tag(limit), true
}

// Budgets lists budgets. It asks all nodes, and waits for half a second at most.
func (l *Limiter) Budgets(ctx context.Context, q BudgetQuery) (*BudgetList, error) {
	core := l.core.Load()
	if core == nil {
		return nil, ErrNotReady
	}
	size := max(1, min(q.Size, MaxBudgets))
	look := &escrow.Query{Size: size + 1, After: q.After, Windowed: q.Windowed, Period: q.Period}
	for _, k := range q.Keys {
		look.Keys = append(look.Keys, core.Key(k.Limit, k.Key))
	}
	if q.Limit != "" {
		look.Tagged, look.Tag = true, core.Tag(q.Limit)
	}
	nodes := core.Nodes()
	if q.Node != "" {
		if !slices.Contains(nodes, q.Node) {
			return nil, fmt.Errorf("%w: %s", ErrUnknownNode, q.Node)
		}
		g := l.gather(ctx, look, []string{q.Node}, lookTimeout)
		if len(g.late) > 0 || len(g.budgets()) == 0 {
			return &BudgetList{Unreachable: g.late}, nil
		}
		// The others have something to say of these only.
		look = &escrow.Query{Size: size + 1, Budgets: g.budgets()}
	}
	g := l.gather(ctx, look, nodes, lookTimeout)
	list := &BudgetList{Unreachable: g.late}
	budgets := g.budgets()
	if list.More = len(budgets) > size; list.More {
		budgets = budgets[:size]
	}
	for _, b := range budgets {
		list.Budgets = append(list.Budgets, l.describe(core, b, g))
	}
	return list, nil
}

// gathered is what nodes have said they hold.
type gathered struct {
	said map[string]*escrow.Holdings // by node
	late []string                    // who did not answer
	rows map[ledger.Budget]map[string]*escrow.Holding
}

// gather asks nodes what they hold.
func (l *Limiter) gather(ctx context.Context, q *escrow.Query, nodes []string, timeout time.Duration) *gathered {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	g := &gathered{said: map[string]*escrow.Holdings{}, rows: map[ledger.Budget]map[string]*escrow.Holding{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, maxAsked)
	for _, node := range nodes {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			h, err := l.askHoldings(ctx, node, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				g.late = append(g.late, node)
				return
			}
			g.add(node, h)
		})
	}
	all.Wait()
	slices.Sort(g.late)
	return g
}

func (g *gathered) add(node string, h *escrow.Holdings) {
	g.said[node] = h
	for i := range h.List {
		row := &h.List[i]
		if g.rows[row.Budget] == nil {
			g.rows[row.Budget] = map[string]*escrow.Holding{}
		}
		g.rows[row.Budget][node] = row
	}
}

// budgets lists what anybody holds something of, in the order of pages.
func (g *gathered) budgets() []ledger.Budget {
	list := make([]ledger.Budget, 0, len(g.rows))
	for b := range g.rows {
		list = append(list, b)
	}
	slices.SortFunc(list, escrow.Compare)
	return list
}

func (l *Limiter) askHoldings(ctx context.Context, node string, q *escrow.Query) (*escrow.Holdings, error) {
	body, err := q.MarshalBinary()
	if err != nil {
		return nil, err
	}
	answer, err := l.cfg.Peers.CallNode(ctx, node, append([]byte{callHoldings}, body...))
	if err != nil {
		return nil, err
	}
	h := new(escrow.Holdings)
	return h, h.UnmarshalBinary(answer)
}

// serveHoldings answers another node's question what this one holds.
func (l *Limiter) serveHoldings(ctx context.Context, core *escrow.Core, body []byte) ([]byte, error) {
	var q escrow.Query
	if err := q.UnmarshalBinary(body); err != nil {
		return nil, err
	}
	for core.Stamp() < q.Seen {
		if !l.sleep(ctx, time.Millisecond) {
			return nil, l.ended(ctx)
		}
	}
	select {
	case l.looks <- struct{}{}:
		defer func() { <-l.looks }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return core.Holdings(l.mono(), &q).MarshalBinary()
}

// describe puts together what is known of a budget.
func (l *Limiter) describe(core *escrow.Core, b ledger.Budget, g *gathered) Budget {
	out := Budget{Budget: b}
	out.From, out.Until, out.Reset = l.span(core, b)
	rows := g.rows[b]
	limit, account := l.account(core, b, rows)
	out.Max, out.Added, out.Pool = total(b, limit), account.added, account.pool
	holders := map[string]*Holder{}
	holder := func(node string) *Holder {
		if holders[node] == nil {
			holders[node] = &Holder{Node: node}
		}
		return holders[node]
	}
	for node, row := range rows {
		h := holder(node)
		h.Credited, h.Spent, h.Tokens = row.Credited, row.Spent, row.Credited-row.Spent
		h.Pending, h.Waiting, h.Closed, h.Degraded = row.Pending, row.Waiting, row.Closed, row.Degraded
	}
	for m, share := range account.shares {
		said := g.said[m.Node]
		row := rows[m.Node]
		taken := row != nil && (row.Minted || b.Period.IsSliding())
		// A share whose process is gone for good is nobody's.
		if said != nil && !taken && share > 0 && slices.Contains(said.Incarnations, m.Incarnation) {
			holder(m.Node).Pending = share
		}
	}
	for _, node := range g.late {
		holder(node).Unreachable = true
	}
	for _, h := range holders {
		out.Spent += h.Spent
		out.Left += h.Tokens + h.Pending
		out.Holders = append(out.Holders, *h)
	}
	if b.Period.IsBucket() {
		out.Reset = refilled(b.Period, limit, out.Holders)
	}
	slices.SortFunc(out.Holders, func(a, b Holder) int { return cmp.Compare(a.Node, b.Node) })
	out.settle()
	return out
}

// total is how many tokens there are of a budget when nothing is spent.
func total(b ledger.Budget, limit ledger.Limit) int64 {
	if b.Period.IsBucket() {
		return limit.Burst
	}
	return limit.Max
}

// refilled is when the parts that nodes have of a bucket are full, in seconds. All
// take the same time to be filled.
func refilled(p Period, limit ledger.Limit, holders []Holder) (reset int64) {
	for _, h := range holders {
		part := float64(h.Spent) / float64(max(1, h.Spent+h.Tokens))
		filled := float64(p.Seconds()) * float64(limit.Burst) / float64(max(1, limit.Max))
		reset = max(reset, int64(math.Ceil(part*filled)))
	}
	return reset
}

// settle makes the sums fit: a token that went from one node to another while
// they were asked may have been seen twice, or not at all.
func (b *Budget) settle() {
	if b.Period.IsLocal() {
		b.Left = max(0, b.Left)
		return
	}
	b.Left = max(0, min(b.Left+max(0, b.Pool), b.Max+b.Added-b.Spent))
	b.Elsewhere = max(0, b.Max+b.Added-b.Spent-b.Left)
}

// account is what is known of a budget without asking nodes.
type account struct {
	shares      map[ledger.Member]int64
	pool, added int64
}

// account returns a budget's newest limit that anybody knows of, and the rest
// under it.
func (l *Limiter) account(core *escrow.Core, b ledger.Budget, rows map[string]*escrow.Holding) (ledger.Limit, account) {
	book := l.cfg.Log.Ledger()
	pool, limit, known := book.Pool(b)
	booked := limit.Max
	for _, row := range rows {
		if row.Limit.Version > limit.Version {
			limit = row.Limit
		}
	}
	if b.Period.IsLocal() {
		return limit, account{}
	}
	now := core.Current(l.mono(), b)
	shares, born := core.Shares(l.mono(), now, total(b, limit))
	a := account{shares: shares, pool: born, added: book.Added(b)}
	switch {
	case b.Period.IsInFlight():
		for _, n := range book.Held(b.Key) {
			a.pool -= n
		}
	case b.Period.IsSliding():
		a.pool -= book.Granted(now)
	case known:
		_, then := core.Shares(l.mono(), b, booked)
		a.pool = pool + born - then
	}
	return limit, a
}

// span is a budget's window, in unix seconds, and when all of the budget is there
// again.
func (l *Limiter) span(core *escrow.Core, b ledger.Budget) (from, until, reset int64) {
	now, _ := core.Clock.At(l.mono())
	switch {
	case b.Period.IsInFlight(), b.Period.IsBucket():
		return 0, 0, 0
	case b.Period.IsSliding():
		at := now.Lo / second
		return at - b.Period.Seconds(), at, b.Period.Seconds()
	}
	w, _ := b.Window()
	return w.From / second, w.Until / second, max(1, (w.Until-now.Lo+second-1)/second)
}
