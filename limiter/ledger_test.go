package limiter

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const noon = int64(1781524800) // 2026-06-15 12:00:00 UTC

// model is the ledger of one never-ending window, written the slow and obvious
// way: every token is an element of a list.
type model struct {
	pool, spent, lost []int
	held              map[string][]int // by node
	spentBy           map[string]int   // by node, of its present process
	process           map[string]string
	seq               map[string]uint64
	starts            int // of processes
}

func newModel(max int) *model {
	m := &model{held: map[string][]int{}, spentBy: map[string]int{}, process: map[string]string{}, seq: map[string]uint64{}}
	for i := range max {
		m.pool = append(m.pool, i)
	}
	return m
}

func move(n int, from, to *[]int) {
	*to = append(*to, (*from)[:n]...)
	*from = (*from)[n:]
}

// apply carries out a batch of one item; granted is what the ledger granted.
func (m *model) apply(b Batch, granted int) {
	it := b.Items[0]
	if m.process[b.Node] != b.Incarnation {
		h := m.held[b.Node]
		move(len(h), &h, &m.lost)
		m.held[b.Node], m.spentBy[b.Node], m.process[b.Node], m.seq[b.Node] = nil, 0, b.Incarnation, 0
	}
	m.seq[b.Node] = b.Seq
	h := m.held[b.Node]
	if news := int(it.Spent) - m.spentBy[b.Node]; news > 0 {
		move(news, &h, &m.spent)
		m.spentBy[b.Node] = int(it.Spent)
	}
	move(min(int(it.Return), len(h)), &h, &m.pool)
	move(granted, &m.pool, &h)
	m.held[b.Node] = h
}

// TestLedgerAgainstModel plays random batches of well-behaved nodes, some of
// them twice or late, and compares the ledger with the model token by token.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 200).Draw(t, "max")
		l, m := NewLedger(), newModel(most)
		var sent []Batch
		var answers []BatchResult
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(sent) > 0 && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
				i := rapid.IntRange(0, len(sent)-1).Draw(t, "which")
				// The first batch of a process more than maxRetired before the
				// present one would count as that of a new one.
				b := sent[i]
				if b.Seq > 1 || b.Incarnation == m.process[b.Node] || l.members[b.Node].isRetired(b.Incarnation) {
					checkRepeated(t, l, m, b, answers[i])
				}
				continue
			}
			b := drawBatch(t, m, int64(most))
			r := l.Apply(Entry{Stamp: noon * second, Batches: []Batch{b}}).Results[0]
			if r.Stale || r.Results[0].Refused != "" {
				t.Fatalf("%+v refused: %+v", b, r)
			}
			sent, answers = append(sent, b), append(answers, r)
			m.apply(b, int(r.Results[0].Granted))
			checkView(t, l, m, most, r.Results[0], b.Node)
		}
	})
}

// drawBatch makes a batch a well-behaved node could send.
func drawBatch(t *rapid.T, m *model, most int64) Batch {
	node := rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "node")
	process := m.process[node]
	if process == "" || rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
		m.starts++
		process = fmt.Sprint(node, ".", m.starts)
	}
	it := Item{Limit: "l", Version: 1, Max: most, Key: "k", Period: Hour, Start: noon}
	if process == m.process[node] {
		spend := rapid.IntRange(0, len(m.held[node])).Draw(t, "spend")
		it.Spent = int64(m.spentBy[node] + spend)
		it.Return = rapid.Int64Range(0, int64(len(m.held[node])-spend)+1).Draw(t, "return")
	}
	it.Want = rapid.Int64Range(0, most).Draw(t, "want")
	it.Waiting = rapid.Int64Range(0, it.Want).Draw(t, "waiting")
	seq := uint64(1)
	if process == m.process[node] { // gaps are no fault
		seq = m.seq[node] + 1 + uint64(rapid.IntRange(0, 2).Draw(t, "skipped"))
	}
	return Batch{Node: node, Incarnation: process, Seq: seq, Items: []Item{it}}
}

// checkRepeated applies a batch that was applied before: nothing may change.
func checkRepeated(t *rapid.T, l *Ledger, m *model, b Batch, answer BatchResult) {
	before := l.Cells("", 9)
	r := l.Apply(Entry{Batches: []Batch{b}}).Results[0]
	if b.Incarnation != m.process[b.Node] {
		if !r.Stale {
			t.Fatalf("a batch of an earlier process was answered: %+v", r)
		}
	} else if b.Seq == m.seq[b.Node] {
		if d := cmp.Diff(answer, r); d != "" {
			t.Fatalf("the last batch again is answered differently: %s", d)
		}
	} else if r.Seq != m.seq[b.Node] {
		t.Fatalf("an old batch is answered by %+v, not by the last answer", r)
	}
	if d := cmp.Diff(before, l.Cells("", 9)); d != "" {
		t.Fatalf("a repeated batch changed the ledger: %s", d)
	}
}

func checkView(t *rapid.T, l *Ledger, m *model, most int, r Result, node string) {
	cells := l.Cells("l", 9)
	if len(cells) == 0 {
		if len(m.pool) != most {
			t.Fatal("the ledger forgot the window")
		}
		return
	}
	v := cells[0]
	if v.Pool != int64(len(m.pool)) || v.Spent != int64(len(m.spent)) || v.Lost != int64(len(m.lost)) {
		t.Fatalf("ledger %+v, model: pool %d spent %d lost %d", v, len(m.pool), len(m.spent), len(m.lost))
	}
	others := 0
	for n, held := range m.held {
		if n != node {
			others += len(held)
		}
	}
	closed := len(m.pool) == 0 && others == 0 && len(m.held[node]) == 0
	want := Result{Granted: r.Granted, Pool: v.Pool, Spent: v.Spent, Outstanding: int64(others), Closed: closed}
	if d := cmp.Diff(want, r); d != "" {
		t.Fatalf("answer: %s", d)
	}
}

// TestExpiryIsBounded drops a great many windows over several entries.
func TestExpiryIsBounded(t *testing.T) {
	l := NewLedger()
	for n := range 2 {
		b := Batch{Node: "n", Incarnation: "a", Seq: uint64(n + 1)}
		for i := range maxBatchItems {
			b.Items = append(b.Items, Item{
				Limit: "l", Version: 1, Max: 1, Key: fmt.Sprint(n, ".", i), Period: Minute, Start: noon, Want: 1,
			})
		}
		l.Apply(Entry{Stamp: noon * second, Batches: []Batch{b}})
	}
	entries := 0
	for ; l.Len() > 0; entries++ {
		before := l.Len()
		l.Apply(Entry{Stamp: (noon + 64) * second})
		if dropped := before - l.Len(); dropped == 0 || dropped > expireAtLeast {
			t.Fatalf("an entry dropped %d windows", dropped)
		}
	}
	if entries != 8 {
		t.Errorf("2048 windows took %d entries", entries)
	}
}

func TestMembersAreBounded(t *testing.T) {
	l := NewLedger()
	l.maxMembers = 2
	ask := func(node string, stamp int64) string {
		o := l.Apply(Entry{Stamp: stamp, Batches: []Batch{{Node: node, Incarnation: "a", Seq: 1, Items: []Item{
			{Limit: "l", Version: 1, Max: 9, Key: "k", Period: Year, Start: 1767225600, Want: 2, Waiting: 2},
		}}}})
		return o.Results[0].Results[0].Refused
	}
	day := 24 * 3600 * second
	for i, c := range []struct {
		node, why string
		at        int64
	}{
		{"n1", "", 0}, {"n2", "", second}, {"n3", RefusedNodes, day - 1}, {"n3", "", day}, {"n1", RefusedNodes, day + 1},
	} {
		if why := ask(c.node, noon*second+c.at); why != c.why {
			t.Errorf("step %d, %s: %q, want %q", i, c.node, why, c.why)
		}
	}
	v := l.Cells("", 1)[0]
	if v.Lost != 2 || v.Pool != 3 {
		t.Errorf("what the forgotten node held is not lost: %+v", v)
	}
	b, _ := l.MarshalBinary()
	if err := NewLedger().UnmarshalBinary(b); err != nil {
		t.Errorf("snapshot after a node was forgotten: %v", err)
	}
}

func TestMalformedItems(t *testing.T) {
	good := Item{Limit: "l", Version: 1, Max: 5, Key: "k", Period: Minute, Start: noon, Want: 1}
	long := string(make([]byte, maxKey+1))
	for name, spoil := range map[string]func(*Item){
		"period":         func(it *Item) { it.Period = Periods },
		"no limit":       func(it *Item) { it.Limit = "" },
		"long limit":     func(it *Item) { it.Limit = long },
		"long key":       func(it *Item) { it.Key = long },
		"start":          func(it *Item) { it.Start++ },
		"negative start": func(it *Item) { it.Start = -60 },
		"huge start":     func(it *Item) { it.Start = 1 << 62 },
		"negative want":  func(it *Item) { it.Want = -1 },
		"huge want":      func(it *Item) { it.Want = 1 << 60 },
		"negative spent": func(it *Item) { it.Spent = -1 },
		"negative back":  func(it *Item) { it.Return = -1 },
		"negative max":   func(it *Item) { it.Max = -1 },
		"no max":         func(it *Item) { it.Max = 0 },
		"waiting":        func(it *Item) { it.Waiting = -1 },
		"not a rate":     func(it *Item) { it.Rate = nan() },
	} {
		l := NewLedger()
		it := good
		spoil(&it)
		o := l.Apply(Entry{Stamp: noon * second, Batches: []Batch{{Node: "n", Incarnation: "a", Seq: 1, Items: []Item{it}}}})
		if r := o.Results[0].Results[0]; r != (Result{Refused: RefusedMalformed}) || l.Len() != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	l := NewLedger()
	o := l.Apply(Entry{Batches: []Batch{
		{Incarnation: "a", Items: []Item{good}},
		{Node: "n", Incarnation: "a", Items: make([]Item, maxBatchItems+1)},
	}})
	if r := o.Results[0].Results[0].Refused; r != RefusedMalformed {
		t.Errorf("no node: %q", r)
	}
	if len(o.Results[1].Results) > maxBatchItems || len(l.members) != 0 {
		t.Error("a batch of too many items was taken")
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

func TestStampIsBounded(t *testing.T) {
	l := NewLedger()
	l.Apply(Entry{Stamp: 1<<63 - 1})
	if o := l.Apply(Entry{}); o.Stamp < 0 || l.Stamp().Before(time.Unix(maxUnix, 0)) {
		t.Errorf("stamp %d", o.Stamp)
	}
}
