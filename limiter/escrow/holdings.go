package escrow

import (
	"cmp"
	"slices"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// Query asks a node what it holds of which budgets, in windows that are not over.
// It is for those who look, and no part of the protocol.
type Query struct {
	// Seen is the stamp of an entry that the node must have seen before it
	// answers.
	Seen int64
	// Size is how many holdings are wanted at most, up to MaxHoldings, and After
	// the budget that the first one follows, in the order of Compare.
	Size  int
	After ledger.Budget
	// Budgets, if set, are all that is asked for. What follows narrows the answer
	// otherwise, if set: to keys, to the limit of a tag, to windows of a length.
	Budgets  []ledger.Budget
	Keys     []ledger.Key
	Tagged   bool
	Tag      uint32
	Windowed bool
	Period   window.Period
}

// MaxHoldings bounds an answer.
const MaxHoldings = 1024

// Holdings answers a Query.
type Holdings struct {
	// Incarnations are those whose shares are this node's.
	Incarnations []uint64
	List         []Holding
}

// Holding is what a node holds of one budget.
type Holding struct {
	// Budget has no Start if the window slides: it is about the one that ends now.
	Budget ledger.Budget
	// Limit is the newest version that the node has seen, but for Tolerant.
	Limit ledger.Limit
	// Credited is what the node has got so far, Spent what it has admitted of
	// that; it has the difference still.
	Credited, Spent int64
	// Pending is what the node may still take of its share of a sliding window.
	Pending int64
	// Waiting is how many requests wait for a token.
	Waiting int64
	// Minted says that the node has taken its share, Closed that it knows all of
	// the window to be used up, Degraded that it took its share without a quorum.
	Minted, Closed, Degraded bool
}

// Compare is the order in which budgets are listed: by the shard of the key first,
// so that a page of a large table costs a look at few shards.
func Compare(a, b ledger.Budget) int {
	return cmp.Or(
		cmp.Compare(cells.Shard(cells.Key(a.Key)), cells.Shard(cells.Key(b.Key))),
		cmp.Compare(a.Key.Hi, b.Key.Hi), cmp.Compare(a.Key.Lo, b.Key.Lo),
		cmp.Compare(a.Period, b.Period), cmp.Compare(a.Start, b.Start),
	)
}

// Stamp is the cluster's time of the newest entry that this node has seen.
func (c *Core) Stamp() int64 { return c.view.Load().stamp }

// Holdings answers a query, whatever it says of Seen. No shard is locked for more
// than 256 cells at a time.
func (c *Core) Holdings(mono int64, q *Query) *Holdings {
	now, _ := c.Clock.At(mono)
	v := c.view.Load()
	h := &Holdings{Incarnations: append([]uint64{v.member.Incarnation}, v.earlier...)}
	if len(q.Budgets) > 0 {
		h.List = c.named(now, q.Budgets)
	} else {
		h.List = c.listed(now, q)
	}
	return h
}

// named looks up what there is of budgets.
func (c *Core) named(now Instant, budgets []ledger.Budget) (list []Holding) {
	for _, b := range budgets {
		if h, ok := c.shardOf(b.Key).holding(now, b); ok {
			list = append(list, h)
		}
	}
	return list
}

// listed goes through the table for what a query wants.
func (c *Core) listed(now Instant, q *Query) (list []Holding) {
	keys, in := map[ledger.Key]bool{}, [cells.Shards]bool{}
	for _, k := range q.Keys {
		keys[k], in[cells.Shard(cells.Key(k))] = true, true
	}
	wants := func(b ledger.Budget) bool {
		return (len(keys) == 0 || keys[b.Key]) && (!q.Tagged || uint32(b.Key.Hi>>32) == q.Tag) &&
			(!q.Windowed || b.Period == q.Period) && (q.After == ledger.Budget{} || Compare(b, q.After) > 0)
	}
	first := 0
	if q.After != (ledger.Budget{}) {
		first = cells.Shard(cells.Key(q.After.Key))
	}
	for i := first; i < cells.Shards && len(list) < q.Size; i++ {
		if len(keys) == 0 || in[i] {
			list = append(list, c.shards[i].holdings(now, i, wants)...)
		}
	}
	return list[:min(q.Size, len(list))]
}

// holdings lists what a shard has of what is wanted, in order.
func (s *shard) holdings(now Instant, number int, wants func(ledger.Budget) bool) (list []Holding) {
	found := map[ledger.Budget]bool{}
	visit := func(cl *cells.Cell) {
		if b, ok := budgetOf(now, cl); ok && wants(b) {
			found[b] = true
		}
	}
	for piece := -1; piece != 0; {
		s.mu.Lock()
		piece = s.core.table.EachSome(number, piece, visit)
		s.mu.Unlock()
	}
	for b := range found {
		if h, ok := s.holding(now, b); ok {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b Holding) int { return Compare(a.Budget, b.Budget) })
	return list
}

// budgetOf says which budget a cell is of, without Start if the window slides;
// false if it is over, or the cell one that keys share.
func budgetOf(now Instant, cl *cells.Cell) (ledger.Budget, bool) {
	p, start := cl.Period(), int64(cl.Start.Load())
	b := ledger.Budget{Key: ledger.Key(cl.Key()), Period: p, Start: start}
	if cells.Key(b.Key) == overflowKey(b) || start == 0 {
		return b, false
	}
	if !p.IsSliding() {
		w, _ := b.Window()
		return b, now.Lo < w.Until
	}
	// The slice's number is known but for multiples of marks.
	current := p.At(now.Lo).Start
	age := (current%marks + marks - (start - 1)) % marks
	b.Key = ledger.Key(cl.Key().Before(uint64(current-age) + 1))
	b.Start = 0
	return b, age <= p.Slices()
}

// holding looks up what there is of a budget, false for nothing. What waiting
// requests have reserved counts as held.
func (s *shard) holding(now Instant, b ledger.Budget) (Holding, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.at(now)
	if b.Period.IsSliding() {
		return s.slidingHolding(now, b)
	}
	cl := s.core.table.Find(keyOf(b), b.Period)
	if cl == nil || cl.Start.Load() != mark(b) {
		return Holding{}, false
	}
	if w, _ := b.Window(); now.Lo >= w.Until {
		return Holding{}, false
	}
	if b.Period.IsBucket() {
		return s.bucketHolding(now, cl, b), true
	}
	h := s.describe(cl, b)
	h.Credited, h.Spent = credited(cl, b.Period), s.spent(b, cl)
	return h, true
}

// slidingHolding sums up the slices of the window that ends now.
func (s *shard) slidingHolding(now Instant, b ledger.Budget) (h Holding, ok bool) {
	b.Start = b.Period.At(now.Lo).Start
	used := int64(0)
	for n := int64(0); n <= b.Period.Slices(); n++ {
		cl, of := s.slice(b, n)
		if cl == nil {
			continue
		}
		if !ok {
			h, ok = s.describe(cl, of), true
		}
		h.Spent += max(0, s.spent(of, cl))
		if n == 0 {
			h.Credited = max(0, credited(cl, of.Period)-s.spent(of, cl)) // what it has
		} else {
			used += max(0, high(cl.Credited.Load())-tokens(cl))
		}
	}
	h.Credited += h.Spent
	if current, _ := s.slice(b, 0); ok && (current == nil || !has(current, minted)) {
		entitled := h.Limit.Max
		if !b.Period.IsLocal() {
			entitled = s.entitled(b, h.Limit, h.Limit.Max)
		}
		h.Pending, h.Minted, h.Closed = max(0, entitled-used), false, false
	}
	h.Budget.Start = 0
	return h, ok
}

// describe says of a cell what needs no sums.
func (s *shard) describe(cl *cells.Cell, b ledger.Budget) Holding {
	flags := cl.Flags.Load()
	h := Holding{
		Budget: b, Limit: ledger.Limit{Version: uint64(cl.Version.Load()), Max: limitOf(cl, b.Period)},
		Minted: flags&minted != 0, Closed: flags&closed != 0, Degraded: flags&degraded != 0,
	}
	if hunt := s.hunts[placeOf(b)]; hunt != nil && hunt.cell == cl {
		h.Waiting = int64(hunt.live)
	}
	return h
}

// Current is the budget of the slice that is now, if a budget's window slides.
func (c *Core) Current(mono int64, b ledger.Budget) ledger.Budget {
	if b.Period.IsSliding() {
		now, _ := c.Clock.At(mono)
		b.Start = b.Period.At(now.Lo).Start
	}
	return b
}

// Shares is how a budget of limit tokens is divided beforehand, and how much of it
// is in the pool, as far as this node knows.
func (c *Core) Shares(mono int64, b ledger.Budget, limit int64) (shares map[ledger.Member]int64, pool int64) {
	v := c.view.Load()
	w, _ := b.Window()
	if b.Period.IsBucket() {
		now, _ := c.Clock.At(mono)
		w.From = now.Lo // it is divided anew with every roster
	}
	d := v.rosters.Of(w.From)
	if !c.rules.fresh(v.stamp, w.From) {
		d = v.rosters.Last()
	}
	shares = map[ledger.Member]int64{}
	for _, m := range d.Members {
		shares[m] = d.Share(m, b, limit)
	}
	return shares, d.Pool(b.Period, limit)
}

// Nodes lists the nodes that may hold something: those of all rosters that are
// remembered.
func (c *Core) Nodes() []string {
	v := c.view.Load()
	nodes := []string{c.node}
	for _, r := range v.rosters.History {
		for _, m := range r.Members {
			nodes = append(nodes, m.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}
