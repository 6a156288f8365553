package ledger

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExactlyOnce tells the life of a node's batches.
func TestExactlyOnce(t *testing.T) {
	l := joined(2)
	const stale = -1
	for i, c := range []struct {
		node         string
		session, seq uint64
		pool         int64 // after it, or stale
	}{
		{"nobody", 1, 1, stale},
		{"n1", 1, 2, stale}, {"n1", 1, 0, stale}, // a session begins with 1
		{"n1", 1, 1, 99}, {"n1", 1, 1, 99}, {"n2", 1, 1, 98}, {"n1", 1, 1, 99},
		{"n1", 1, 2, 97}, {"n1", 1, 1, stale}, {"n1", 1, 2, 97},
		{"n1", 1, 7, 96}, {"n1", 1, 6, stale}, // given up
		{"n1", 2, 2, stale}, {"n1", 2, 1, 95}, {"n1", 1, 8, stale}, {"n1", 1, 1, stale},
		{"n1", 3, 1, 94}, {"n1", 4, 1, 93}, {"n1", 5, 1, 92}, {"n1", 1, 1, stale}, {"n1", 5, 1, 92},
	} {
		a := send(l, batch(c.node, c.session, c.seq, hour(1, 100, 1)))
		want := Answer{Member: Member{c.node, 1}, Session: c.session, Seq: c.seq, Stale: true}
		if c.pool != stale {
			want.Stale, want.Grants = false, []Grant{{Granted: 1, Pool: c.pool}}
		}
		if d := cmp.Diff(want, a); d != "" {
			t.Fatalf("step %d: %s", i, d)
		}
	}
}

// TestChanges tells the life of a node's incarnations.
func TestChanges(t *testing.T) {
	l := New()
	stamp := noon * Second
	for i, c := range []struct {
		changes []Change
		want    []Member // nil: no new roster
	}{
		{[]Change{{Fence, Member{"a", 1}}, {Leave, Member{"a", 1}}}, nil},
		{[]Change{{Join, Member{"b", 1}}, {Join, Member{"a", 1}}}, []Member{{"a", 1}, {"b", 1}}},
		{[]Change{{Join, Member{"a", 1}}}, nil},
		{[]Change{{Fence, Member{"a", 2}}}, nil},
		{[]Change{{Join, Member{"a", 2}}}, []Member{{"a", 2}, {"b", 1}}},
		{[]Change{{Join, Member{"a", 1}}}, nil}, // void
		{[]Change{{Fence, Member{"a", 2}}}, []Member{{"b", 1}}},
		{[]Change{{Join, Member{"a", 2}}}, nil},
		{[]Change{{Join, Member{"a", 3}}, {Leave, Member{"a", 3}}}, nil}, // comes to nothing
		{[]Change{{Join, Member{"a", 3}}}, nil},
		{[]Change{{Leave, Member{"b", 1}}, {Join, Member{"a", 4}}}, []Member{{"a", 4}}},
		{[]Change{{Join, Member{"", 1}}, {Join, Member{string(make([]byte, maxNode+1)), 1}}, {9, Member{"a", 4}}}, nil},
		{[]Change{{Leave, Member{"a", 4}}}, []Member{}},
	} {
		stamp += 2 * Second
		o := l.Apply(&Entry{Stamp: stamp, Changes: c.changes})
		if (o.Rosters != nil) != (c.want != nil) {
			t.Fatalf("step %d: rosters %+v", i, o.Rosters)
		}
		if c.want == nil {
			continue
		}
		h := o.Rosters.History[len(o.Rosters.History)-1]
		if h.Since != stamp || !slices.Equal(h.Members, c.want) {
			t.Fatalf("step %d: %+v, want %v", i, h, c.want)
		}
	}
}

// TestLeft: who leaves is told of, who is fenced is not, nor who was not there.
func TestLeft(t *testing.T) {
	l := New()
	a, b := Member{"a", 1}, Member{"b", 2}
	l.Apply(&Entry{Stamp: noon * Second, Changes: []Change{{Join, a}, {Join, b}}})
	o := l.Apply(&Entry{Stamp: noon*Second + 1, Changes: []Change{{Fence, a}, {Leave, Member{"b", 1}}, {Leave, a}, {Leave, b}}})
	if !slices.Equal(o.Left, []Member{b}) {
		t.Errorf("left: %v", o.Left)
	}
}

// TestVoidIncarnation: a fenced process is not listened to, and its successor's
// sessions are its own.
func TestVoidIncarnation(t *testing.T) {
	l := joined(1)
	send(l, batch("n1", 1, 1, hour(1, 100, 1)))
	l.Apply(&Entry{Changes: []Change{{Join, Member{"n1", 2}}}})
	if a := send(l, batch("n1", 1, 2, hour(1, 100, 1))); !a.Stale {
		t.Errorf("the void incarnation got %+v", a)
	}
	b := batch("n1", 1, 1, hour(1, 100, 1))
	b.Member.Incarnation = 2
	if a := send(l, b); a.Stale || a.Grants[0] != (Grant{Granted: 1, Pool: 98}) {
		t.Errorf("the new one got %+v", a)
	}
}

func TestNodesAreBounded(t *testing.T) {
	l := New()
	l.maxNodes = 3
	at := noon * Second
	apply := func(k ChangeKind, node string, in uint64) bool {
		at += Second
		return l.Apply(&Entry{Stamp: at, Changes: []Change{{k, Member{node, in}}}}).Rosters != nil
	}
	step := func(k ChangeKind, node string, in uint64, want bool) {
		t.Helper()
		if got := apply(k, node, in); got != want {
			t.Fatalf("change %d of %s.%d changed the roster: %v", k, node, in, got)
		}
	}
	step(Join, "a", 1, true)
	step(Join, "b", 1, true)
	step(Join, "c", 1, true)
	step(Join, "d", 1, false) // no room
	step(Leave, "b", 1, true)
	step(Leave, "a", 1, true)
	step(Join, "b", 1, false) // void, but heard
	step(Join, "d", 1, true)  // in the place of a
	step(Join, "b", 1, false)
	step(Join, "a", 1, true) // in the place of b; that a.1 was void is forgotten
	at += silence + Second
	l.maxNodes = 9
	step(Leave, "c", 1, true) // not heard for a day, but of
	step(Join, "e", 1, true)
	step(Join, "c", 1, false)
	at += silence + Second
	step(Join, "f", 1, true)
	if l.nodes["c"] != nil {
		t.Error("a silent node is remembered for ever")
	}
}

func TestManyIncarnations(t *testing.T) {
	l := New()
	for i := range uint64(20) {
		l.Apply(&Entry{Stamp: noon*Second + int64(i), Changes: []Change{{Join, Member{"n", i}}}})
	}
	for i := range uint64(8) {
		if l.Apply(&Entry{Changes: []Change{{Join, Member{"n", 18 - i}}}}).Rosters != nil {
			t.Errorf("incarnation %d joined again", 18-i)
		}
	}
	if n := len(l.nodes["n"].void); n != maxVoid {
		t.Errorf("%d are remembered", n)
	}
}
