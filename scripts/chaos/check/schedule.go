package check

import (
	"cmp"
	"slices"
	"sort"
)

// Can admissions, of each of which it is known that it was not before one time and
// not after another, have come of a token bucket? Times are counted in what comes
// back: unit of it is a token.
//
// A bucket of burst tokens lets through what a queue would that has a server which
// takes a unit for each, and is never more than burst long: an admission at t is
// served from t to t + burst units. (Any span [a, b] has at most burst + b - a
// admissions if and only if they can be served so.) So the question is whether
// equal jobs, each with a release and a deadline, can be done by one machine, and
// that is answered exactly, for any number of times that overlap in any way, by
// Garey, Johnson, Simons and Tarjan, "Scheduling unit-time tasks with arbitrary
// release times and deadlines" (SIAM J. Comput. 10, 1981), with forbidden regions.

// job is an admission between lo and hi, when is the same in microseconds.
type job struct {
	lo, hi int64
	when   instant
	void   bool // is part of a violation that has been told
}

// together is how many admissions in a row are judged together, and half of it how
// many are at least: a bucket that lets one too many through in more than so many is
// not found.
const together = 4096

// overdraft is some jobs that no bucket can have let through, none of them before
// from or after to, in microseconds; or not together with others around.
type overdraft struct {
	from, to int64
	jobs     int
}

// overdrafts finds what cannot have come of a bucket, each job in one at most, and
// looks at so many together. It sorts the jobs and marks those that it has found.
func overdrafts(jobs []job, burst, unit int64, together int) (found []overdraft) {
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi)) })
	for end := len(jobs); end > 0; end -= together / 2 {
		found = append(found, newMachine(jobs[max(0, end-together):end], burst, unit).run()...)
		if end <= together {
			break
		}
	}
	return found
}

// machine is the first half of the algorithm, which answers the question: the
// second one makes the schedule.
type machine struct {
	jobs        []job
	burst, unit int64
	deadlines   []int64 // of all jobs, in order
	// latest is, for each deadline, when the jobs that must be done by then and were
	// looked at so far must begin, and of how many these are.
	latest []int64
	of     []int
	// forbidden are times in which no job may begin, the latest first, without
	// their ends.
	forbidden []span
}

func newMachine(jobs []job, burst, unit int64) *machine {
	m := &machine{jobs: jobs, burst: burst, unit: unit}
	for i := range jobs {
		m.deadlines = append(m.deadlines, m.deadline(&jobs[i]))
	}
	slices.Sort(m.deadlines)
	m.deadlines = slices.Compact(m.deadlines)
	m.reset()
	return m
}

func (m *machine) deadline(j *job) int64 { return j.hi + m.burst*m.unit }

func (m *machine) reset() {
	m.latest, m.of = slices.Clone(m.deadlines), make([]int, len(m.deadlines))
	m.forbidden = m.forbidden[:0]
}

// run goes through the jobs from the last release to the first. After something
// was found it begins anew with the jobs before that.
func (m *machine) run() (found []overdraft) {
	for i, done := len(m.jobs)-1, len(m.jobs); i >= 0; i-- {
		j := &m.jobs[i]
		if j.void {
			continue
		}
		at := m.add(j)
		switch first := m.latest[at]; {
		case first < j.lo:
			found = append(found, m.tell(m.jobs[i:done], at))
			done = i
			m.reset()
		case first < j.lo+m.unit && (i == 0 || m.jobs[i-1].lo < j.lo):
			m.forbid(first-m.unit, j.lo)
		}
	}
	return found
}

// tell describes the jobs that cannot all be done by a deadline, and has the others
// that were looked at with them be looked at no more.
func (m *machine) tell(jobs []job, at int) overdraft {
	o := overdraft{from: jobs[0].when.lo, jobs: m.of[at]}
	for k := range jobs {
		if j := &jobs[k]; m.deadline(j) <= m.deadlines[at] && !j.void {
			o.to = max(o.to, j.when.hi)
		}
		jobs[k].void = true
	}
	return o
}

// add has a job be done as late as possible, with the others, for every deadline
// that is not before its own. It returns the deadline that leaves least time,
// or too little.
func (m *machine) add(j *job) (least int) {
	first, _ := slices.BinarySearch(m.deadlines, m.deadline(j))
	least = first
	for at := first; at < len(m.deadlines); at++ {
		m.latest[at] = m.allowed(m.latest[at] - m.unit)
		m.of[at]++
		if m.latest[at] < m.latest[least] || m.latest[at] < j.lo {
			least = at // the last of those that leave too little
		}
	}
	return least
}

// allowed is the last time, not after t, that is not forbidden.
func (m *machine) allowed(t int64) int64 {
	i := sort.Search(len(m.forbidden), func(i int) bool { return m.forbidden[i].from < t })
	if i < len(m.forbidden) && t < m.forbidden[i].to {
		return m.forbidden[i].from
	}
	return t
}

// forbid adds times before all others, which they may overlap.
func (m *machine) forbid(from, to int64) {
	n := len(m.forbidden)
	if n > 0 && to > m.forbidden[n-1].from {
		m.forbidden[n-1].from = min(m.forbidden[n-1].from, from)
		return
	}
	m.forbidden = append(m.forbidden, span{from, to})
}
