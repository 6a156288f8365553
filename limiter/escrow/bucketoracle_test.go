package escrow

import (
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// bucketLog is what was admitted of a bucket: in no span of the world's time it is
// more than the burst and what comes back in that. Spans in which several versions
// of a limit were in use may have the largest burst, and what comes back by all.
type bucketLog struct {
	times         []int64
	used, retired int // versions
	since         []*spans
}

// spans checks those that begin at a time or later: it is one large bucket.
type spans struct {
	from                int64
	length, rate, burst int64
	full                int64 // when it is, in microseconds times rate, from the first admission on
}

// admit spends a token at a time after the first admission. False: there is none.
func (s *spans) admit(t int64) bool {
	s.full = max(s.full, t*s.rate) + s.length
	return s.full <= t*s.rate+s.burst*s.length
}

// versionGrace is how long after a version of a limit was given up something may
// be spent under it: what was lent, and by requests that have waited since before,
// which they do for five seconds if the log says nothing.
const versionGrace = 6 * second

func (o *oracle) spend(n *simNode, b ledger.Budget, limit string) {
	l := o.buckets[b]
	if l == nil {
		l = &bucketLog{}
		o.buckets[b] = l
	}
	l.times = append(l.times, o.w.now)
	versions, retired := o.versions[limit], 0
	for _, u := range versions {
		if len(u.users) == 0 {
			retired++
		}
	}
	if l.since == nil || l.used != len(versions) || l.retired != retired {
		l.used, l.retired = len(versions), retired
		l.begin(versions, b.Period)
		for _, t := range l.times[:len(l.times)-1] {
			l.admit(t)
		}
	}
	if s := l.admit(o.w.now); s != nil {
		o.fail("bucket: %d admissions, the last on %s at %d, are more than %d and %d in %v %v", len(l.times), n.id, o.w.now, s.burst, s.rate, b.Period, b)
	}
}

// begin makes the spans to check: those from the beginning on, and those from when
// a version is out of use.
func (l *bucketLog) begin(versions []*usage, p window.Period) {
	froms := []int64{0}
	for _, u := range versions {
		if len(u.users) == 0 {
			froms = append(froms, u.until+versionGrace)
		}
	}
	l.since = nil
	for _, from := range froms {
		s := &spans{from: from, length: p.Seconds() * second}
		for _, u := range versions {
			if len(u.users) == 0 && u.until+versionGrace <= from {
				continue
			}
			for i, r := range u.lim.Rates {
				if r.Period == p {
					one := u.lim.one(i)
					s.rate, s.burst = s.rate+one.Max, max(s.burst, one.Burst)
				}
			}
		}
		l.since = append(l.since, s)
	}
}

// admit returns the first spans in which there is one too many.
func (l *bucketLog) admit(t int64) (broken *spans) {
	for _, s := range l.since {
		if t >= s.from && !s.admit(t-l.times[0]) && broken == nil {
			broken = s
		}
	}
	return broken
}
