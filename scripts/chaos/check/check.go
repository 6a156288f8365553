// Package check counts what the nodes of a chaos run have recorded, and says
// whether any limit was exceeded. It shares no code with the limiter, only the
// format of the files: it has its own calendar, its own hash of keys, and takes
// limits from what was configured and not from what nodes say.
//
// What it can see of the invariants of limiter/DESIGN.md:
//
//   - I1, for every budget: what all processes together admitted under a
//     window's label is at most the largest limit that was configured while the
//     window was open. A node that counts by itself has a budget of its own, and
//     another one after it has lost its cells.
//   - Of a sliding window: no span of its length has more for sure (slide.go). Of
//     a bucket: there are times of the admissions, of those that they can have had,
//     with which no span has more than the burst and what comes back (bucket.go).
//     In flight: at no moment are more for sure (flight.go).
//   - I2: at each admission the cluster's time, as the node knew it, was wholly
//     inside of the label's window; and what nodes knew of it at the same moment
//     of the machine's clock did not contradict each other.
//   - I4, in part: an incarnation is one node's only, and a node's processes do
//     not overlap.
//   - Nothing escaped: every admission that a client heard of has a record of its
//     own, of that node and key, made between question and answer.
//
// I3 (tokens that were not spent) and I5 (by which right a token was minted) do
// not show in records of admissions; a breach of either is seen if it leads to
// more admissions than the limit.
package check

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// maxTold bounds the violations that are told one by one.
const maxTold = 30

// Result is what Check found.
type Result struct {
	Run    *book.Run
	Faults int
	// Files, Processes and Records are what the nodes wrote; Torn records are
	// those that a crash of the machine cut.
	Files, Processes, Records, Torn int
	// What clients were answered: admitted, refused, let through without a
	// decision, another status, and no answer.
	Requests, Admitted, Refused, Undecided, Others, Silent int
	// Unheard is how many admissions no client heard of.
	Unheard int
	Windows int // budgets of which something was admitted
	// Violations is their number, Told the first of them.
	Violations int
	Told       []string
	// Tolerated is in how many windows a tolerant limit was exceeded when a node
	// was cut off for long, as the product says it may be, and TooMuch the most
	// that was admitted then; 1 is the limit.
	Tolerated int
	TooMuch   float64
	// Stale is in how many windows a node decided by terms that others had
	// replaced.
	Stale int
	// ClockGap is the most by which nodes' knowledge of the cluster's time
	// contradicted each other, in microseconds; 0 is not at all.
	ClockGap int64
	Usages   []Usage
	Groups   []Group
}

// Group is what became of all limits of a sort.
type Group struct {
	Name                   string
	Admissions, Violations int
	All, Quiet             Share
}

// groups are the sorts of limits. Those that nodes count by themselves are one,
// whatever their windows.
var groups = []string{"windows", "sliding", "buckets", "in flight", "of each node"}

// group is a limit's.
func (c *counter) group(limit int) *Group {
	l := c.run.Limits[limit]
	n := 0
	switch k := kindOf(l.Terms[0].Windows[0]); {
	case l.Local:
		n = 4
	case k.unit == audit.InFlight:
		n = 3
	case k.unit == audit.Bucket:
		n = 2
	case k.unit == audit.Sliding:
		n = 1
	}
	return &c.result.Groups[n]
}

// violation is one of a limit.
func (c *counter) violation(limit int, format string, args ...any) {
	c.group(limit).Violations++
	c.result.violation(format, args...)
}

// Usage is how much of a limit was admitted in windows in which there was demand
// for it; see counter.usages for what that is.
type Usage struct {
	Limit string
	// All counts the windows with demand of at least the limit; Quiet those in
	// and shortly before which nothing was done to the cluster.
	All, Quiet Share
	// Over is in how many windows more than the limit was admitted.
	Over int
}

// Share is what was admitted of what could have been, in so many windows or times.
type Share struct {
	Windows            int
	Admitted, Possible int64
	Whole              int     // how many of Windows are windows
	Worst              float64 // of one of them, 1 is all
	// WorstAt is where that window begins, counted from the beginning of the load.
	WorstAt int64
}

// Of is the part that was admitted; 1 is all of it.
func (s *Share) Of() float64 {
	if s.Possible == 0 {
		return 0
	}
	return float64(s.Admitted) / float64(s.Possible)
}

func (u *Usage) add(p portion, quiet bool) {
	u.All.add(p)
	if quiet {
		u.Quiet.add(p)
	}
}

func (g *Group) add(p portion, quiet bool) {
	g.All.add(p)
	if quiet {
		g.Quiet.add(p)
	}
}

// portion is what was admitted in one window of what could have been, and where that
// begins. Where there are no windows, it need not be even: more may be admitted in one
// time and less in the next.
type portion struct {
	admitted, possible, at int64
	even                   bool
}

func (s *Share) add(p portion) {
	if p.even {
		p.admitted = min(p.admitted, p.possible)
		if part := float64(p.admitted) / float64(p.possible); s.Whole == 0 || part < s.Worst {
			s.Worst, s.WorstAt = part, p.at
		}
		s.Whole++
	}
	s.Windows++
	s.Admitted += p.admitted
	s.Possible += p.possible
}

// Check reads a run's directory. An error says that it cannot be judged.
func Check(dir string) (*Result, error) {
	run, err := book.ReadRun(dir)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	faults, err := book.ReadFaults(dir)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	c := newCounter(run, faults)
	files, err := filepath.Glob(filepath.Join(dir, "*", book.AuditDir, "*"+audit.Extension))
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	slices.Sort(files)
	for _, path := range files {
		if err := c.file(path); err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
	}
	c.clock.settle()
	if err := book.ReadRequests(dir, c.request); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return c.judge(), nil
}

func (r *Result) violation(format string, args ...any) {
	if r.Violations++; r.Violations <= maxTold {
		r.Told = append(r.Told, fmt.Sprintf(format, args...))
	}
}
