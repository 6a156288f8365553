package check

import (
	"testing"

	"pgregory.net/rapid"
)

// possible tries all times that admissions can have had, and says whether with any
// of them no span has more than the burst and what comes back in it.
func possible(jobs []job, burst, unit int64, times []int64) bool {
	for _, t := range times {
		for _, u := range times {
			n := int64(0)
			for _, v := range times {
				if t <= v && v <= u {
					n++
				}
			}
			if n*unit > burst*unit+u-t && n > 0 {
				return false
			}
		}
	}
	if len(times) == len(jobs) {
		return true
	}
	j := jobs[len(times)]
	for t := j.lo; t <= j.hi; t++ {
		if possible(jobs, burst, unit, append(times, t)) {
			return true
		}
	}
	return false
}

// TestOverdrafts: something is found if and only if no times at all are possible.
func TestOverdrafts(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		burst, unit := rapid.Int64Range(1, 3).Draw(t, "burst"), rapid.Int64Range(1, 6).Draw(t, "unit")
		jobs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) job {
			lo := rapid.Int64Range(0, 12).Draw(t, "lo")
			hi := lo + rapid.Int64Range(0, 6).Draw(t, "doubt")
			return job{lo: lo, hi: hi, when: instant{lo: lo, hi: hi}}
		}), 1, 6).Draw(t, "jobs")
		want := possible(jobs, burst, unit, nil)
		over := overdrafts(jobs, burst, unit, together)
		if want != (len(over) == 0) {
			t.Fatalf("possible: %v, found %+v", want, over)
		}
		for _, o := range over {
			found++
			if o.jobs < 1 || o.jobs > len(jobs) || o.from > o.to {
				t.Fatalf("%+v", o)
			}
		}
	})
	if found == 0 {
		t.Error("nothing is ever found")
	}
}

// TestOverdraftsOfMany: what a bucket lets through that is always empty is possible,
// and one more is found; after very many, as many more as refill it.
func TestOverdraftsOfMany(t *testing.T) {
	const burst, unit, together = 5, 1000, 400
	jobs := func(more int, at int64) (js []job) {
		add := func(at int64) {
			js = append(js, job{lo: at, hi: at + 10, when: instant{lo: at, hi: at + 10}})
		}
		for i := range int64(3 * together) {
			add(max(0, i-burst+1) * unit)
		}
		for range more {
			add(at)
		}
		return js
	}
	for at, more := range map[int64]int{
		0: 0, 1: 1, 100 * unit: 1, (together/2 - burst) * unit: 1, together*unit + 300: burst, 2*together*unit + 300: burst,
	} {
		if over := overdrafts(jobs(more, at), burst, unit, together); len(over) != min(more, 1) {
			t.Errorf("%d more at %d: %+v", more, at, over)
		}
	}
}
