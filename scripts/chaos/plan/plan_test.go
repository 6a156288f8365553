package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSeeds(t *testing.T) {
	const length = 10 * time.Minute
	a := Make(7, length, Kinds())
	if diff := cmp.Diff(a, Make(7, length, Kinds())); diff != "" {
		t.Error("the same seed gives another plan", diff)
	}
	if cmp.Equal(a, Make(8, length, Kinds())) {
		t.Error("another seed gives the same plan")
	}
	seen := map[Kind]bool{}
	long := 0
	for i, f := range a {
		seen[f.Kind] = true
		if f.At < quietStart || f.At+f.For > length-quietEnd {
			t.Errorf("fault %d is from %s to %s", i, f.At, f.At+f.For)
		}
		if i > 0 && f.At-a[i-1].At-a[i-1].For > 6*time.Second {
			long++
		}
	}
	if len(seen) != len(Kinds()) || long < 10 {
		t.Errorf("%d faults in ten minutes are of %d kinds, with %d long quiet times", len(a), len(seen), long)
	}
	if Make(7, length, nil) != nil || Make(7, time.Second, Kinds()) != nil {
		t.Error("faults out of nothing")
	}
}
