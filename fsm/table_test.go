package fsm

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// indexFaults compares every index of a view with one made anew of all its entities.
func indexFaults(v *View) (faults []string) {
	for _, def := range v.defs {
		want := make([][]entry, len(v.tables[def.number].indexes))
		for e := range v.All(def.Kind) {
			want[byID] = append(want[byID], entry{e.ID, e})
			for _, at := range def.places(nil, e) {
				want[at.index] = append(want[at.index], entry{at.key, e})
			}
		}
		for number, entries := range want {
			slices.SortFunc(entries, entry.Compare)
			entries = slices.Compact(entries) // a tag may be there twice
			got := v.read(def, number)
			if !slices.Equal(slices.Collect(got.All()), entries) || got.Len() != len(entries) {
				faults = append(faults, fmt.Sprintf("index %d of %s has %d entries, want %d", number, def.Kind, got.Len(), len(entries)))
			}
		}
	}
	return faults
}

// scrawl does something at random to what scribble leaves alone: lists of references,
// tags, keys of several fields.
func scrawl(r *rand.Rand) []Op {
	id := func(kind, n int) string { return fmt.Sprintf("%08d-1111-4111-8111-%012d", kind, n) }
	tags := []string{"null", `["a"]`, `["a","b"]`, `["b","b"]`, `[]`}[r.IntN(5)]
	authority := func() string { return `"` + id(1, r.IntN(4)) + `"` }
	switch r.IntN(7) {
	case 0:
		n := r.IntN(4)
		return []Op{op(Put, "ca_certificates", id(1, n), fmt.Sprintf(`,"cert_digest":"d%d","tags":%s`, n, tags))}
	case 1:
		return []Op{op(Put, "services", id(2, r.IntN(4)), `,"host":"h","tags":`+tags+`,"ca_certificates":[`+authority()+`,`+authority()+`]`)}
	case 2:
		return []Op{op(Put, "consumers", id(3, r.IntN(3)), fmt.Sprintf(`,"username":"c%d","custom_id":"c%d","tags":%s`, r.IntN(3), r.IntN(3), tags))}
	case 3:
		return []Op{op(Put, "acls", id(4, r.IntN(9)), fmt.Sprintf(`,"group":"g%d","consumer":{"id":%q}`, r.IntN(3), id(3, r.IntN(3))))}
	case 4:
		return []Op{op(Delete, "consumers", id(3, r.IntN(3)), "")}
	case 5:
		return []Op{op(Delete, "services", id(2, r.IntN(4)), ""), op(Delete, "ca_certificates", id(1, r.IntN(4)), "")}
	}
	return append(scrawl(r), scribble(r)...)
}

// TestIndexes: after any writes, of one operation or whole, done or refused, every index
// is what it would be if it were made anew, in views of every moment, in drafts, of the
// past, and after a restore.
func TestIndexes(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := newLog(t)
		var views []*View
		var was []string
		check := func(what string, v *View) {
			t.Helper()
			if faults := indexFaults(v); len(faults) > 0 {
				t.Fatalf("seed %d, %s: %q", seed, what, faults)
			}
		}
		for step := range 80 {
			c := NewWrite("", int64(l.index), slices.Concat(scrawl(r), scribble(r))...)
			c.Write.Whole = r.IntN(3) == 0
			l.apply(c)
			check(fmt.Sprint("step ", step), l.m.View())
			views, was = append(views, l.m.View()), append(was, dump(l.m.View()))
		}
		for i, v := range views {
			check(fmt.Sprint("kept ", i), v)
			if dump(v) != was[i] {
				t.Fatalf("seed %d: view %d changed", seed, i)
			}
		}
		newest := l.m.View()
		d := l.m.Draft(newest, 0)
		for range 10 {
			if _, err := d.Do(scrawl(r)...); err != nil {
				break
			}
			check("draft", d.View())
		}
		if dump(l.m.View()) != was[len(was)-1] {
			t.Fatalf("seed %d: a draft shows", seed)
		}
		then, err := newest.AsOf(40)
		if err != nil {
			t.Fatal(err)
		}
		check("past", then)
		sameRestored(t, l.m)
	}
}

// TestHistoryIsAsEver: the chain of hashes of a script is what it was before there were
// indexes of our own: what a write did is told in the same order.
func TestHistoryIsAsEver(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := newLog(t)
	for range 400 {
		c := NewWrite("", int64(l.index), slices.Concat(scrawl(r), scribble(r), scribble(r))...)
		c.Write.Whole = r.IntN(3) == 0
		l.apply(c)
	}
	_, hash, err := l.m.View().VerifyHistory()
	if err != nil {
		t.Fatal(err)
	}
	const want = "bf49238849f330d513b9a7c53319e85a33b72fa2803f1282d121b9ed85bfd5a7"
	if got := hex.EncodeToString(hash[:]); got != want {
		t.Errorf("the newest hash is %s, and was %s", got, want)
	}
}
