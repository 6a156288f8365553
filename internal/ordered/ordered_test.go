package ordered

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// pair is ordered by its key alone: what it carries tells one put from another.
type pair struct {
	key  uint16
	from int
}

func (p pair) Compare(o pair) int { return cmp.Compare(p.key, o.key) }

// model is what a set should be: all its pairs by their keys.
type model map[uint16]pair

func (m model) sorted() []pair {
	return slices.SortedFunc(maps.Values(m), pair.Compare)
}

// check compares everything a set says with its model.
func check(t *rapid.T, s Set[pair], m model) {
	want := m.sorted()
	if got := slices.Collect(s.All()); !slices.Equal(got, want) {
		t.Fatalf("all: got %v, want %v", got, want)
	}
	if s.Len() != len(m) {
		t.Fatalf("len %d, want %d", s.Len(), len(m))
	}
	for range 4 {
		from := pair{key: rapid.Uint16Max(4000).Draw(t, "seek")}
		i, _ := slices.BinarySearchFunc(want, from, pair.Compare)
		if got := slices.Collect(s.From(from)); !slices.Equal(got, want[i:]) {
			t.Fatalf("from %d: got %v, want %v", from.key, got, want[i:])
		}
		got, ok := s.Seek(from)
		if ok != (i < len(want)) || ok && got != want[i] {
			t.Fatalf("seek %d: got %v %v, want one of %v", from.key, got, ok, want[i:])
		}
	}
	if fault := faultOf(s); fault != "" {
		t.Fatal(fault)
	}
}

// faultOf says what of the shape is not as it should be.
func faultOf(s Set[pair]) string {
	if s.root == nil {
		return ""
	}
	depth := -1
	var visit func(n *node[pair], level int) string
	visit = func(n *node[pair], level int) string {
		switch {
		case len(n.items) == 0 || len(n.items) > maxItems:
			return fmt.Sprintf("a node of %d items", len(n.items))
		case n.children == nil && depth >= 0 && depth != level:
			return fmt.Sprintf("leaves at %d and %d", depth, level)
		case n.children == nil:
			depth = level
			return ""
		case len(n.children) != len(n.items):
			return fmt.Sprintf("%d children and %d items", len(n.children), len(n.items))
		}
		for i, child := range n.children {
			if fault := visit(child, level+1); fault != "" {
				return fault
			}
			if child.items[0] != n.items[i] {
				return fmt.Sprintf("the first of a child is %v and not %v", child.items[0], n.items[i])
			}
		}
		return ""
	}
	return visit(s.root, 0)
}

// TestAgainstModel does everything that can be done to a set and to a map, and keeps
// what the set was at some moments: that must never change.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edit, now := Set[pair]{}.Edit(), model{}
		type moment struct {
			set  Set[pair]
			want model
		}
		var kept []moment
		step := 0
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { check(t, edit.Peek(), now) },
			"put": func(t *rapid.T) {
				first, n := rapid.Uint16Max(3000).Draw(t, "first"), rapid.Uint16Range(1, 400).Draw(t, "n")
				down := rapid.Bool().Draw(t, "down")
				for i := range n {
					p := pair{first + i, step}
					if down {
						p.key = first + n - i
					}
					step++
					old, replaced := edit.Put(p)
					was, had := now[p.key]
					if replaced != had || old != was {
						t.Fatalf("put %v: replaced %v %v, want %v %v", p, old, replaced, was, had)
					}
					now[p.key] = p
				}
			},
			"delete": func(t *rapid.T) {
				first, n := rapid.Uint16Max(3000).Draw(t, "first"), rapid.Uint16Range(1, 900).Draw(t, "n")
				for i := range n {
					p := pair{key: first + i}
					old, deleted := edit.Delete(p)
					was, had := now[p.key]
					if deleted != had || old != was {
						t.Fatalf("delete %v: %v %v, want %v %v", p, old, deleted, was, had)
					}
					delete(now, p.key)
				}
			},
			"pack": func(t *rapid.T) {
				s := edit.Set().Packed()
				if s.root != nil {
					expectNodes(t, s, s.Len()/packedItems*2+1)
				}
				edit = s.Edit()
			},
			"keep": func(t *rapid.T) {
				kept = append(kept, moment{edit.Set(), maps.Clone(now)})
			},
			"go back": func(t *rapid.T) {
				if len(kept) == 0 {
					t.Skip("nothing is kept")
				}
				m := kept[rapid.IntRange(0, len(kept)-1).Draw(t, "moment")]
				edit, now = m.set.Edit(), maps.Clone(m.want)
			},
			"look back": func(t *rapid.T) {
				for _, m := range kept {
					check(t, m.set, m.want)
				}
			},
		})
		for _, m := range kept {
			check(t, m.set, m.want)
		}
	})
}

// TestStopsWalking: a walk ends where its reader does, at every place.
func TestStopsWalking(t *testing.T) {
	edit := Set[pair]{}.Edit()
	for i := range uint16(200) {
		edit.Put(pair{key: i})
	}
	s := edit.Set()
	for stop := range uint16(200) {
		for p := range s.All() {
			if p.key > stop {
				t.Fatalf("all went on to %d after %d", p.key, stop)
			}
			if p.key == stop {
				break
			}
		}
		for p := range s.From(pair{key: stop / 2}) {
			if p.key > stop {
				t.Fatalf("from went on to %d after %d", p.key, stop)
			}
			if p.key == stop {
				break
			}
		}
	}
}

// TestDense: nodes are used well, in whatever order a set is filled and emptied, so
// that its height is what readers count on.
func TestDense(t *testing.T) {
	const n = 20_000
	orders := map[string]func(i int) uint16{
		"up":     func(i int) uint16 { return uint16(i) },
		"down":   func(i int) uint16 { return uint16(n - i) },
		"mixed":  func(i int) uint16 { return uint16(i * 7919 % 20_011) },
		"middle": func(i int) uint16 { return uint16(n/2 + (1-i%2*2)*(n-i)/2) }, // from both ends inwards
	}
	for name, key := range orders {
		t.Run(name, func(t *testing.T) {
			edit := Set[pair]{}.Edit()
			for i := range n {
				edit.Put(pair{key: key(i)})
			}
			if fault := faultOf(edit.Peek()); fault != "" {
				t.Fatal(fault)
			}
			full := edit.Set()
			expectNodes(t, full, full.Len()/(maxItems/2)*2)
			for i := range n {
				if i%10 != 0 {
					edit.Delete(pair{key: key(i)})
				}
			}
			few := edit.Set()
			if fault := faultOf(few); fault != "" {
				t.Fatal(fault)
			}
			expectNodes(t, few, few.Len()/minItems*2)
			for p := range few.All() {
				edit.Delete(p)
			}
			if s := edit.Set(); s.root != nil || s.Len() != 0 {
				t.Fatalf("%d items are left", s.Len())
			}
		})
	}
}

func expectNodes(t rapid.TB, s Set[pair], most int) {
	t.Helper()
	n := 0
	var count func(*node[pair])
	count = func(at *node[pair]) {
		n++
		for _, child := range at.children {
			count(child)
		}
	}
	count(s.root)
	if n > most {
		t.Errorf("%d nodes for %d items, at most %d are good", n, s.Len(), most)
	}
}

// TestLetsGo: what is deleted is in no node any more, not even beyond its length.
func TestLetsGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edit, there := Set[pair]{}.Edit(), model{}
		for step := range rapid.IntRange(1, 400).Draw(t, "steps") {
			p := pair{rapid.Uint16Max(120).Draw(t, "key"), step + 1}
			if rapid.Bool().Draw(t, "put") {
				edit.Put(p)
				there[p.key] = p
			} else {
				edit.Delete(p)
				delete(there, p.key)
			}
		}
		var visit func(n *node[pair])
		visit = func(n *node[pair]) {
			for _, p := range n.items[:cap(n.items)] {
				if p != (pair{}) && there[p.key] != p {
					t.Fatalf("%v is still held", p)
				}
			}
			for _, child := range n.children[:cap(n.children)] {
				if child != nil {
					visit(child)
				}
			}
		}
		if s := edit.Set(); s.root != nil {
			visit(s.root)
		}
	})
}

// FuzzSet does what bytes say: two for each step.
func FuzzSet(f *testing.F) {
	f.Add([]byte("aAbBcCdD"))
	f.Add(slices.Repeat([]byte{0, 1, 1, 2, 2, 3, 3, 9}, 40))
	f.Fuzz(func(t *testing.T, steps []byte) {
		edit, now := Set[pair]{}.Edit(), model{}
		var kept Set[pair]
		var was []pair
		for i := 0; i+1 < len(steps); i += 2 {
			p := pair{uint16(steps[i]) | uint16(steps[i+1]&3)<<8, i}
			switch steps[i+1] >> 6 {
			case 0, 1:
				edit.Put(p)
				now[p.key] = p
			case 2:
				edit.Delete(p)
				delete(now, p.key)
			case 3:
				kept, was = edit.Set(), now.sorted()
				if steps[i+1]&4 != 0 {
					edit = kept.Packed().Edit()
				}
			}
		}
		if got := slices.Collect(edit.Peek().All()); !slices.Equal(got, now.sorted()) {
			t.Fatalf("got %v, want %v", got, now.sorted())
		}
		if got := slices.Collect(kept.All()); !slices.Equal(got, was) {
			t.Fatalf("what was kept became %v, and was %v", got, was)
		}
		if fault := faultOf(edit.Peek()); fault != "" {
			t.Fatal(fault)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	const n = 60_000
	edit := Set[pair]{}.Edit()
	for i := range n {
		edit.Put(pair{key: uint16(i * 7919)})
	}
	s := edit.Set()
	b.Run("seek", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Seek(pair{key: uint16(i * 4099)})
		}
	})
	b.Run("put one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			edit.Put(pair{uint16(i * 4099), i})
			edit.Set()
		}
	})
	b.Run("put many", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			edit.Put(pair{uint16(i * 4099), i})
		}
	})
	b.Run("walk 1000", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			n := 0
			for range s.From(pair{key: uint16(i*4099) / 2}) {
				if n++; n == 1000 {
					break
				}
			}
		}
	})
}
