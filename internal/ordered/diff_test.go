package ordered

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// difference is what Since says, as text.
func difference(s, old Set[pair]) (found []string) {
	for was, is := range s.Since(old, func(a, b pair) bool { return a == b }) {
		found = append(found, told(was, is))
	}
	return found
}

func told(was, is *pair) string {
	switch {
	case was == nil:
		return fmt.Sprint("+", *is)
	case is == nil:
		return fmt.Sprint("-", *was)
	}
	return fmt.Sprint(*was, "->", *is)
}

// differenceOf is the same of models.
func differenceOf(m, old model) (found []string) {
	all := maps.Clone(old)
	maps.Copy(all, m)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		was, had := old[key]
		is, has := m[key]
		switch {
		case !had:
			found = append(found, told(nil, &is))
		case !has:
			found = append(found, told(&was, nil))
		case was != is:
			found = append(found, told(&was, &is))
		}
	}
	return found
}

// TestSince compares sets with what they were some edits before, with sets that have
// no node in common with them, and with what is packed, with a model.
func TestSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := uint16(rapid.SampledFrom([]int{20, 300, 4000}).Draw(t, "keys"))
		var sets []Set[pair]
		var models []model
		s, m := Set[pair]{}, model{}
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			e := s.Edit()
			for i := range rapid.SampledFrom([]int{0, 1, 3, 50, 1500}).Draw(t, "edits") {
				p := pair{rapid.Uint16Max(most).Draw(t, "key"), 10000*step + i}
				if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
					e.Delete(p)
					delete(m, p.key)
				} else {
					e.Put(p)
					m[p.key] = p
				}
			}
			if s = e.Set(); rapid.IntRange(0, 4).Draw(t, "pack") == 0 {
				s = s.Packed()
			}
			sets, models = append(sets, s), append(models, maps.Clone(m))
		}
		sets, models = append(sets, Set[pair]{}), append(models, model{})
		i, j := rapid.IntRange(0, len(sets)-1).Draw(t, "is"), rapid.IntRange(0, len(sets)-1).Draw(t, "was")
		if got, want := difference(sets[i], sets[j]), differenceOf(models[i], models[j]); !slices.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

// TestSincePassesOver: what was not edited is not looked at.
func TestSincePassesOver(t *testing.T) {
	e := Set[pair]{}.Edit()
	for i := range 20000 {
		e.Put(pair{uint16(i), 0})
	}
	old := e.Set()
	e.Put(pair{7000, 1})
	e.Put(pair{20001, 1})
	e.Delete(pair{key: 12345})
	looked, found := 0, 0
	for range e.Set().Since(old, func(a, b pair) bool { looked++; return a == b }) {
		found++
	}
	if found != 3 || looked > 4*maxItems {
		t.Errorf("%d differences, %d items compared", found, looked)
	}
	for range e.Set().Since(old, func(a, b pair) bool { return a == b }) {
		return // stops at the first
	}
}
