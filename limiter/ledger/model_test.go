package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/limiter/window"
)

// model is the ledger written the slow and obvious way. It forgets nothing,
// looks everything up in the whole past, and moves tokens one by one.
type model struct {
	stamps  []int64
	rosters []Roster
	joined  map[string]uint64
	void    map[Member]bool
	last    map[Member]batchID
	answers map[batchID]Answer
	begun   map[batchID]bool // of seq 1
	budgets map[Budget]*tokens
	held    map[Key]map[Member]int64
	limits  map[Key]Limit // of what is held
	lost    map[Member]int64
}

type batchID struct {
	member       Member
	session, seq uint64
}

// tokens is all that ever happened to a budget.
type tokens struct {
	limit                    Limit
	granted, returned, added int64
	done                     map[OperationID]bool
}

func newModel() *model {
	return &model{
		joined: map[string]uint64{}, void: map[Member]bool{}, last: map[Member]batchID{},
		answers: map[batchID]Answer{}, begun: map[batchID]bool{}, budgets: map[Budget]*tokens{},
		held: map[Key]map[Member]int64{}, limits: map[Key]Limit{}, lost: map[Member]int64{},
	}
}

func (m *model) now() int64 { return m.stamps[len(m.stamps)-1] }

func (m *model) members() []Member {
	if len(m.rosters) == 0 {
		return nil
	}
	return m.rosters[len(m.rosters)-1].Members
}

// of goes through the definition: the members are those of Delay before the
// start, and they have everything if no entry came from then to the start.
func (m *model) of(start int64) Division {
	var d Division
	at := start * Second
	for _, r := range m.rosters {
		if r.Since <= at-Delay {
			d.Members = r.Members
		}
	}
	heard := slices.ContainsFunc(m.stamps, func(s int64) bool { return at-Delay <= s && s < at })
	d.Whole = !heard && m.stamps[0] < at
	return d
}

func (m *model) apply(e *Entry) ([]Answer, []ToppedUp) {
	stamp := e.Stamp
	if len(m.stamps) > 0 && stamp <= m.now() {
		stamp = m.now() + 1
	}
	m.stamps = append(m.stamps, stamp)
	for _, c := range e.Changes {
		present, in := m.joined[c.Member.Node]
		same := in && present == c.Member.Incarnation
		switch {
		case c.Kind == Join && !same && !m.void[c.Member]:
			if in {
				m.void[Member{c.Member.Node, present}] = true
				m.lost[Member{c.Member.Node, present}] = stamp
			}
			m.joined[c.Member.Node] = c.Member.Incarnation
		case c.Kind != Join && same:
			m.void[c.Member] = true
			m.lost[c.Member] = stamp
			delete(m.joined, c.Member.Node)
		}
	}
	var ms []Member
	for _, n := range nodeNames {
		if in, ok := m.joined[n]; ok {
			ms = append(ms, Member{n, in})
		}
	}
	if !slices.Equal(ms, m.members()) {
		m.rosters = append(m.rosters, Roster{stamp, ms})
	}
	var as []Answer
	for i := range e.Batches {
		as = append(as, m.batch(&e.Batches[i]))
	}
	var ts []ToppedUp
	for i := range e.TopUps {
		ts = append(ts, m.topUp(&e.TopUps[i]))
	}
	return as, ts
}

func (m *model) topUp(t *TopUp) ToppedUp {
	w, ok := t.Budget.Window()
	p := t.Budget.Period
	switch {
	case !ok || p.IsSliding() || p.IsInFlight():
		return ToppedUp{Budget: t.Budget, Refused: Malformed}
	case m.now() < w.From-Delay:
		return ToppedUp{Budget: t.Budget, Refused: Early}
	case m.now() >= w.Until:
		return ToppedUp{Budget: t.Budget, Refused: Expired}
	}
	b := m.budgets[t.Budget]
	if b == nil {
		b = &tokens{limit: t.Limit}
		if t.Expect <= 0 {
			m.budgets[t.Budget] = b
		}
	}
	again := b.done[t.ID]
	if !again && t.Expect >= 0 && t.Expect != b.added {
		return ToppedUp{Budget: t.Budget, Added: b.added, Pool: m.pool(t.Budget, b), Refused: Changed}
	}
	if !again {
		b.added += t.Tokens
		if b.done == nil {
			b.done = map[OperationID]bool{}
		}
		b.done[t.ID] = true
	}
	return ToppedUp{Budget: t.Budget, Added: b.added, Pool: m.pool(t.Budget, b), Repeated: again}
}

func (m *model) batch(b *Batch) Answer {
	id := batchID{b.Member, b.Session, b.Seq}
	last := m.last[b.Member]
	in, ok := m.joined[b.Member.Node]
	first := batchID{b.Member, b.Session, 1}
	switch {
	case !ok || in != b.Member.Incarnation:
		return Answer{Member: b.Member, Session: b.Session, Seq: b.Seq, Stale: true}
	case id == last:
		return m.answers[id]
	case b.Session == last.session && b.Seq > last.seq && last.seq > 0:
	case b.Seq == 1 && !m.begun[first] && b.Session > last.session:
		m.begun[first] = true
	default:
		return Answer{Member: b.Member, Session: b.Session, Seq: b.Seq, Stale: true}
	}
	a := Answer{Member: b.Member, Session: b.Session, Seq: b.Seq}
	for i := range b.Asks {
		if k := &b.Asks[i]; k.Budget.Period.IsInFlight() && k.Budget.Start == 1 {
			a.Grants = append(a.Grants, m.hold(b.Member, k))
		} else {
			a.Grants = append(a.Grants, m.ask(k))
		}
	}
	m.last[b.Member], m.answers[id] = id, a
	return a
}

func (m *model) ask(k *Ask) Grant {
	w, ok := k.Budget.Window()
	switch {
	case !ok || k.Waiting > k.Want:
		return Grant{Refused: Malformed}
	case m.now() < w.From/Second*Second-Delay:
		return Grant{Refused: Early}
	case m.now() > over(k.Budget):
		return Grant{Refused: Expired}
	}
	b := m.budgets[k.Budget]
	if b == nil {
		b = &tokens{limit: k.Limit}
		if k.Want+k.Return == 0 {
			return Grant{Pool: m.pool(k.Budget, b)}
		}
		m.budgets[k.Budget] = b
	}
	if k.Limit.Version > b.limit.Version {
		b.limit = k.Limit
	}
	room := func() bool { return m.pool(k.Budget, b) < b.limit.Max+b.added }
	if k.Budget.Period.IsSliding() {
		room = func() bool { return b.returned < b.granted }
	}
	for r := k.Return; r > 0 && room(); r-- {
		b.returned++
	}
	g := Grant{Granted: m.part(k, m.pool(k.Budget, b))}
	if m.late(k.Budget) {
		g.Granted = 0
	}
	b.granted += g.Granted
	g.Pool = m.pool(k.Budget, b)
	return g
}

// late says that a later slice, of which this one is in sight, has been granted
// something.
func (m *model) late(id Budget) bool {
	for o, b := range m.budgets {
		if id.Period.IsSliding() && o.Key == id.Key && o.Period == id.Period && o.Start > id.Start && b.granted > b.returned {
			return true
		}
	}
	return false
}

// part goes up to what is granted, one by one.
func (m *model) part(k *Ask, pool int64) (granted int64) {
	n := int64(len(m.members()))
	for granted < k.Want && granted < pool && (granted < k.Waiting || granted < 1 || granted < pool/(n+1)) {
		granted++
	}
	return granted
}

// hold takes the member's word for what it holds, and adds up what others do.
func (m *model) hold(of Member, k *Ask) Grant {
	key := k.Budget.Key
	if k.Waiting > k.Want {
		return Grant{Refused: Malformed}
	}
	for h := range m.held[key] {
		if at, lost := m.lost[h]; lost && at+Delay <= m.now() {
			delete(m.held[key], h)
		}
	}
	if len(m.held[key]) == 0 {
		m.held[key], m.limits[key] = map[Member]int64{}, Limit{}
	}
	if k.Limit.Version > m.limits[key].Version {
		m.limits[key] = k.Limit
	}
	m.held[key][of] = k.Held
	free := m.limits[key].Max
	for _, n := range m.held[key] {
		free -= n
	}
	g := Grant{Granted: m.part(k, free)}
	g.Pool = free - g.Granted
	if m.held[key][of] += g.Granted; m.held[key][of] == 0 {
		delete(m.held[key], of)
	}
	return g
}

// over is when nobody needs to know what was granted of a budget.
func over(b Budget) int64 {
	w, _ := b.Window()
	return w.Until + Delay + int64(b.Period.Slices())*(w.Until-w.From) + min(1, b.Period.Slices())*(w.Until-w.From)
}

// pool is what conservation says: births + pool + granted - returned = limit +
// added.
func (m *model) pool(id Budget, b *tokens) int64 {
	if id.Period.IsSliding() {
		w, _ := id.Window()
		pool := b.limit.Max - m.of(w.From/Second).Births(id.Period, b.limit.Max)
		for n := range id.Period.Slices() + 1 {
			if o := m.budgets[Budget{id.Key, id.Period, id.Start - n}]; o != nil {
				pool -= o.granted - o.returned
			}
		}
		return pool
	}
	births := m.of(id.Start).Births(id.Period, b.limit.Max)
	return b.limit.Max + b.added - births - b.granted + b.returned
}

// mutant spoils the ledger before it applies an entry, to break a rule.
type mutant func(l *Ledger, e *Entry)

// play applies the entries to a ledger and to a model, and tells where they
// differ first.
func play(script []Entry, spoil mutant) error {
	l, m := New(), newModel()
	for i := range script {
		e := &script[i]
		if spoil != nil {
			spoil(l, e)
		}
		was := l.Rosters()
		o := l.Apply(e)
		want, topped := m.apply(e)
		if d := cmp.Diff(want, o.Answers, cmpopts.EquateEmpty()) + cmp.Diff(topped, o.TopUps, cmpopts.EquateEmpty()); d != "" {
			return fmt.Errorf("entry %d is answered otherwise: %s", i, d)
		}
		if o.Stamp != m.now() || o.Stamp != l.Stamp() || (o.Rosters != nil) != (was != l.Rosters()) {
			return fmt.Errorf("entry %d: stamp %d, want %d; rosters told: %v", i, o.Stamp, m.now(), o.Rosters != nil)
		}
		if !slices.Equal(l.Rosters().Last().Members, m.members()) {
			return fmt.Errorf("entry %d: roster %v, want %v", i, l.Rosters().Last(), m.members())
		}
		if err := compare(l, m); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

func compare(l *Ledger, m *model) error {
	n := 0
	for id, b := range m.budgets {
		pool, limit, ok := l.Pool(id)
		if m.now() > over(id) {
			if ok {
				return fmt.Errorf("%v is over and still there", id)
			}
			continue
		}
		if n++; !ok || pool != m.pool(id, b) || limit != b.limit {
			return fmt.Errorf("%v: pool %d of %+v, want %d of %+v", id, pool, limit, m.pool(id, b), b.limit)
		}
		if got := l.Added(id); got != b.added {
			return fmt.Errorf("%v: %d added, want %d", id, got, b.added)
		}
	}
	if l.Len()-len(l.holdings) != n {
		return fmt.Errorf("%d budgets, want %d", l.Len(), n)
	}
	for k, held := range m.held {
		want := map[Member]int64{}
		for h, n := range held {
			if at, lost := m.lost[h]; !lost || at+Delay > m.now() {
				want[h] = n
			}
		}
		if d := cmp.Diff(want, l.Held(k)); d != "" {
			return fmt.Errorf("%v is held otherwise: %s", k, d)
		}
	}
	return nil
}

var nodeNames = []string{"n1", "n2", "n3", "n4"}

// scripts are entries as well-behaved and as delayed processes cause them, with
// no more void incarnations of a node than are remembered.
var scripts = rapid.Custom(func(t *rapid.T) []Entry {
	var (
		maxes  [5]int64
		sent   []Batch
		last   = map[Member]*batchID{}
		joined = map[string]uint64{}
		now    = (noon - rapid.Int64Range(1, 10).Draw(t, "before")) * Second
		script = make([]Entry, rapid.IntRange(1, 40).Draw(t, "entries"))
	)
	for i := range maxes {
		maxes[i] = rapid.Int64Range(0, 400).Draw(t, "max")
	}
	for i := range script {
		now += rapid.OneOf(
			rapid.Int64Range(-Second, Second), rapid.Int64Range(0, 10*Millisecond), rapid.Int64Range(0, 5*Second),
			rapid.SampledFrom([]int64{Delay, Delay + 1, 70 * Second}),
		).Draw(t, "step")
		e := Entry{Stamp: now}
		for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "changes") {
			c := Change{Kind: rapid.SampledFrom([]ChangeKind{Join, Join, Join, Fence, Leave}).Draw(t, "kind")}
			c.Member = Member{rapid.SampledFrom(nodeNames).Draw(t, "node"), rapid.Uint64Range(1, 5).Draw(t, "incarnation")}
			if c.Kind == Join {
				joined[c.Member.Node] = c.Member.Incarnation
			}
			e.Changes = append(e.Changes, c)
		}
		for range rapid.IntRange(0, 3).Draw(t, "batches") {
			if len(sent) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
				e.Batches = append(e.Batches, rapid.SampledFrom(sent[max(0, len(sent)-6):]).Draw(t, "which"))
				continue
			}
			node := rapid.SampledFrom(nodeNames).Draw(t, "node")
			m := Member{node, joined[node]}
			if last[m] == nil {
				last[m] = &batchID{member: m, session: 1}
			}
			p := last[m]
			p.seq += rapid.SampledFrom([]uint64{1, 1, 1, 2}).Draw(t, "skip")
			if p.session < 5 && rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				p.session, p.seq = p.session+1, 1
			}
			b := Batch{Member: m, Session: p.session, Seq: p.seq, Asks: drawAsks(t, now, maxes[:])}
			sent, e.Batches = append(sent, b), append(e.Batches, b)
		}
		if rapid.IntRange(0, 3).Draw(t, "top up") == 0 {
			e.TopUps = append(e.TopUps, drawTopUp(t, now, maxes[:]))
		}
		script[i] = e
	}
	return script
})

// lengths are some windows that the calendar has not.
var lengths = func() (ps []window.Period) {
	for _, s := range []int64{2, 90} {
		p, _ := window.Fixed(s)
		ps = append(ps, p)
	}
	for _, s := range []int64{10, 61, 600} {
		p, _ := window.Sliding(s)
		ps = append(ps, p)
	}
	return ps
}()

func drawAsks(t *rapid.T, now int64, maxes []int64) []Ask {
	asks := make([]Ask, rapid.IntRange(0, 3).Draw(t, "asks"))
	for i := range asks {
		want := rapid.SampledFrom([]int64{0, 1, 5, 50, 300}).Draw(t, "want")
		asks[i] = Ask{
			Want: want, Waiting: min(want, rapid.Int64Range(0, 10).Draw(t, "waiting")),
			Return: rapid.SampledFrom([]int64{0, 0, 0, 3, 200}).Draw(t, "return"),
			Held:   rapid.SampledFrom([]int64{0, 0, 1, 20}).Draw(t, "held"),
		}
		asks[i].Budget, asks[i].Limit = drawBudget(t, now, maxes)
	}
	return asks
}

// drawBudget gives one of few budgets around now, under one of few versions.
func drawBudget(t *rapid.T, now int64, maxes []int64) (Budget, Limit) {
	p := rapid.SampledFrom(append([]window.Period{window.Second, window.Minute, window.Minute, window.Hour, window.Year, window.InFlight}, lengths...)).Draw(t, "period")
	start := p.At(now + rapid.Int64Range(-6, 5).Draw(t, "at")*Second).Start
	if rapid.IntRange(0, 20).Draw(t, "wrong") == 0 {
		start++
	}
	v := rapid.Uint64Range(1, 5).Draw(t, "version")
	return Budget{Key: Key{Lo: rapid.Uint64Range(0, 2).Draw(t, "key")}, Period: p, Start: start},
		Limit{Version: v, Max: maxes[v-1], Tolerant: v == 2}
}

// drawTopUp gives one of few operations, so that some are repeated.
func drawTopUp(t *rapid.T, now int64, maxes []int64) TopUp {
	u := TopUp{ID: OperationID{15: byte(rapid.IntRange(0, 9).Draw(t, "operation"))}, Tokens: rapid.Int64Range(1, 300).Draw(t, "tokens")}
	u.Expect = rapid.SampledFrom([]int64{-1, -1, 0, u.Tokens}).Draw(t, "expect")
	u.Budget, u.Limit = drawBudget(t, now, maxes)
	return u
}

// TestAgainstModel: answers, pools and rosters are the model's. That is also
// conservation, and that nothing is applied twice.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if err := play(scripts.Draw(t, "script"), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMutants breaks the rules of exactly once, each of which the comparison
// has to notice.
func TestMutants(t *testing.T) {
	each := func(spoil func(*node, *Batch)) mutant {
		return func(l *Ledger, e *Entry) {
			for i := range e.Batches {
				if n := l.nodes[e.Batches[i].Member.Node]; n != nil {
					spoil(n, &e.Batches[i])
				}
			}
		}
	}
	for name, spoil := range map[string]mutant{
		"a repeated batch is applied again": each(func(n *node, b *Batch) {
			if n.session == b.Session && n.seq == b.Seq && n.seq > 0 {
				n.seq--
			}
		}),
		"an older batch is applied again": each(func(n *node, b *Batch) {
			if n.session == b.Session && n.seq > b.Seq && b.Seq > 0 {
				n.seq = b.Seq - 1
			}
		}),
		"an old session begins again": each(func(n *node, b *Batch) { n.session = min(n.session, b.Session-1) }),
		"a void incarnation joins again": func(l *Ledger, _ *Entry) {
			for _, n := range l.nodes {
				n.void = nil
			}
		},
		"a repeated top-up is carried out again": func(l *Ledger, _ *Entry) {
			for _, w := range l.windows {
				for k, b := range w.bonuses {
					w.bonuses[k] = bonus{added: b.added}
				}
			}
		},
		"the rosters' past is forgotten": func(l *Ledger, _ *Entry) {
			l.rosters = &Rosters{History: l.rosters.History[max(0, len(l.rosters.History)-1):]}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range 2000 {
				if err := play(scripts.Example(seed), spoil); err != nil {
					t.Logf("caught in run %d", seed)
					return
				}
			}
			t.Fatal("the model did not notice")
		})
	}
}
