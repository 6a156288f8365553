package fsm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// kindsOf gives the definitions of a view, in their order.
func kindsOf(v *View) []*Definition {
	return slices.SortedFunc(maps.Values(v.defs), func(a, b *Definition) int { return a.number - b.number })
}

// dump is all entities of a view, as text.
func dump(v *View) string {
	var b bytes.Buffer
	for _, def := range kindsOf(v) {
		for e := range v.All(def.Kind) {
			fmt.Fprintf(&b, "%s %s %d %d %d\n", e.Kind, e.Raw, e.CreateIndex, e.ModifyIndex, e.ExpiresAt)
		}
	}
	return b.String()
}

// content is a dump without the indexes.
func content(v *View) string {
	var b bytes.Buffer
	for _, def := range kindsOf(v) {
		for e := range v.All(def.Kind) {
			fmt.Fprintf(&b, "%s %s %d\n", e.Kind, e.Raw, e.ExpiresAt)
		}
	}
	return b.String()
}

// scribble does something at random to services, routes, consumers and keys.
func scribble(r *rand.Rand) []Op {
	id := func(kind, n int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", kind, n) }
	service, route, consumer, key := id(1, r.IntN(4)), id(2, r.IntN(6)), id(3, r.IntN(3)), id(4, r.IntN(5))
	name := fmt.Sprintf(`,"name":"n%d"`, r.IntN(5))
	switch r.IntN(9) {
	case 0, 1:
		return []Op{op(Put, "services", service, name+`,"host":"h"`)}
	case 2, 3:
		return []Op{op(Put, "routes", route, name+`,"paths":["/"],"service":{"id":"`+service+`"}`)}
	case 4:
		return []Op{op(Put, "consumers", consumer, fmt.Sprintf(`,"username":"u%d"`, r.IntN(3)))}
	case 5:
		expiring := op(Put, "keyauth_credentials", key, fmt.Sprintf(`,"key":"k%d","consumer":{"id":"%s"}`, r.IntN(4), consumer))
		expiring.ExpiresAt = int64(r.IntN(3)) * 50
		return []Op{expiring}
	case 6:
		return []Op{op(Delete, "consumers", consumer, "")} // and its keys
	case 7:
		return []Op{op(Delete, "routes", route, ""), op(Delete, "services", service, "")}
	}
	return append(scribble(r), scribble(r)...)
}

// TestAsOf: whatever was written, the state of every remembered index is what it was,
// and the change back to it restores it, byte for byte.
func TestAsOf(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := newLog(t)
		keep := Keep{Changes: 5 + r.IntN(60), Bytes: int64(4000 + r.IntN(60_000))}
		was, contents, times := []string{dump(l.m.View())}, []string{""}, []int64{0}
		for range 80 {
			c := NewWrite("", int64(l.index), scribble(r)...)
			c.Write.Keep, c.Write.Origin = keep, Origin{Who: "w", Action: fmt.Sprint("step ", l.index)}
			l.apply(c)
			was, contents, times = append(was, dump(l.m.View())), append(contents, content(l.m.View())), append(times, c.Write.Now)
		}
		v := l.m.View()
		if n := len(v.History()); n > keep.Changes || v.history.bytes > keep.Bytes && n > 1 {
			t.Errorf("seed %d: %d changes and %d bytes are kept, of %+v", seed, n, v.history.bytes, keep)
		}
		if n, last, err := v.VerifyHistory(); err != nil || n != len(v.History()) || last != v.history.last() {
			t.Fatalf("seed %d: verify: %d, %v", seed, n, err)
		}
		since, _ := v.HistoryBase()
		for index := range was {
			then, err := v.AsOf(uint64(index))
			if uint64(index) < since {
				if !errors.Is(err, ErrHistoryGone) {
					t.Fatalf("seed %d: index %d of before %d: %v", seed, index, since, err)
				}
				continue
			}
			if err != nil || dump(then) != was[index] {
				t.Fatalf("seed %d, index %d: %v\n%s\nwas\n%s", seed, index, err, dump(then), was[index])
			}
			if _, _, err := then.VerifyHistory(); err != nil {
				t.Errorf("seed %d, as of %d: %v", seed, index, err)
			}
		}
		if _, err := v.AsOf(l.index + 1); !errors.Is(err, ErrHistoryGone) {
			t.Errorf("the future: %v", err)
		}
		// Roll back and forth.
		for range 5 {
			index := int(since) + r.IntN(len(was)-int(since))
			then, err := l.m.View().AsOf(uint64(index))
			if errors.Is(err, ErrHistoryGone) {
				continue
			}
			back := l.m.Difference(l.m.View(), then, 0)
			back.Keep = keep
			if res := l.apply(&Command{Version: CommandVersion, Type: CommandWrite, Write: back}); res.Err != nil {
				t.Fatalf("seed %d, back to %d: %v", seed, index, res.Err)
			}
			if got := content(l.m.View()); got != contents[index] {
				t.Fatalf("seed %d, back to %d:\n%s\nwas\n%s", seed, index, got, contents[index])
			}
			if d := l.m.Difference(l.m.View(), then, 0); len(d.Ops) != 0 {
				t.Errorf("seed %d: still different by %v", seed, d.Ops)
			}
		}
		if then, err := v.AsOfTime(int64(len(was) - 5)); err != nil || dump(then) != was[len(was)-4] {
			t.Errorf("seed %d, as of a time: %v", seed, err)
		}
		sameRestored(t, l.m)
	}
}

// sameRestored checks that a machine that was restored from a snapshot is the same.
func sameRestored(t *testing.T, m *Machine) {
	t.Helper()
	var first, second bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&first); err != nil {
		t.Fatal(err)
	}
	other, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(bytes.NewReader(first.Bytes())); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Snapshot().WriteTo(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("a restored machine writes another snapshot")
	}
	a, b := m.View().history, other.View().history
	if a.bytes != b.bytes || a.last() != b.last() || len(a.changes) != len(b.changes) {
		t.Errorf("history of %d bytes and %d changes, restored %d and %d", a.bytes, len(a.changes), b.bytes, len(b.changes))
	}
}

// TestAlteredHistory: a change that was altered, left out or put in is noticed, in
// memory and in a snapshot.
func TestAlteredHistory(t *testing.T) {
	l := newLog(t)
	for i := range 5 {
		c := NewWrite("", 100, op(Put, "services", idA, fmt.Sprintf(`,"name":"s%d","host":"h"`, i)))
		c.Write.Origin.Who = "ann"
		l.apply(c)
	}
	v := l.m.View()
	for what, alter := range map[string]func(h *history){
		"who":      func(h *history) { c := *h.changes[2]; c.Who = "bob"; h.changes[2] = &c },
		"left out": func(h *history) { h.changes = slices.Delete(h.changes, 2, 3) },
		"order":    func(h *history) { h.changes[1], h.changes[2] = h.changes[2], h.changes[1] },
		"entity": func(h *history) {
			c, e := *h.changes[2], *h.changes[2].Entities[0].After
			e.Raw = json.RawMessage(`{"id":"` + idA + `","name":"xx","host":"h"}`) // as long as it was
			c.Entities = []ChangedEntity{{h.changes[2].Entities[0].Before, &e}}
			h.changes[2] = &c
		},
	} {
		other := *v
		other.history.changes = slices.Clone(v.history.changes)
		alter(&other.history)
		if _, _, err := other.VerifyHistory(); !errors.Is(err, ErrHistoryBroken) {
			t.Errorf("%s: %v", what, err)
		}
		l.m.view.Store(&other)
		var b bytes.Buffer
		if _, err := l.m.Snapshot().WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		m, _ := New(nil)
		if err := m.Restore(&b); !errors.Is(err, ErrHistoryBroken) || !errors.Is(err, ErrCorruptSnapshot) {
			t.Errorf("%s, restored: %v", what, err)
		}
		l.m.view.Store(v)
	}
}

// TestNothingChanged: a write that changes nothing is not in the history.
func TestNothingChanged(t *testing.T) {
	l := newLog(t)
	l.must(op(Delete, "services", idA, ""))
	l.write(op(Update, "services", idA, `,"host":"h"`))
	if n := len(l.m.View().History()); n != 0 {
		t.Errorf("%d changes", n)
	}
}
