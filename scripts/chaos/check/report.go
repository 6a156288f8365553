package check

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write tells the result of one run, for people.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "requests    %d: %d admitted, %d refused, %d let through undecided, %d other answers, %d without an answer\n",
		r.Requests, r.Admitted, r.Refused, r.Undecided, r.Others, r.Silent)
	fmt.Fprintf(&b, "records     %d by %d processes in %d files; %d of admissions that no client heard of; %d torn\n",
		r.Records, r.Processes, r.Files, r.Unheard, r.Torn)
	fmt.Fprintf(&b, "windows     %d; in %d a node decided by terms that had been replaced; in %d a tolerant limit was exceeded while a node was cut off (%.2f of it at most)\n",
		r.Windows, r.Stale, r.Tolerated, r.TooMuch)
	fmt.Fprintf(&b, "clocks      nodes contradicted each other by %d us at most\n", r.ClockGap)
	fmt.Fprintf(&b, "violations  %d\n", r.Violations)
	for _, line := range r.Told {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if n := r.Violations - len(r.Told); n > 0 {
		fmt.Fprintf(&b, "  and %d more\n", n)
	}
	b.WriteString("\n")
	if err := WriteGroups(&b, r.Groups); err != nil {
		return err
	}
	b.WriteString("\nHow much was admitted, in windows with demand for all of the limit, or where there are no windows of what one ideal limiter would have:\n\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "limit\tno fault near: windows\tused\tworst\tat\tall: windows\tused\tworst\tat\texceeded in\t")
	for i := range r.Usages {
		u := &r.Usages[i]
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t\n", u.Limit,
			u.Quiet.Windows, percent(&u.Quiet, u.Quiet.Of()), u.Quiet.worst(), u.Quiet.worstAt(),
			u.All.Windows, percent(&u.All, u.All.Of()), u.All.worst(), u.All.worstAt(), u.Over)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteGroups is the table of the sorts of limits.
func WriteGroups(w io.Writer, gs []Group) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "limits\tadmissions\tviolations\tused, no fault near\tused, all\t")
	for i := range gs {
		g := &gs[i]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t\n", g.Name, g.Admissions, g.Violations, g.Quiet.Percent(), g.All.Percent())
	}
	return t.Flush()
}

// Merge adds up the sorts of limits of several runs.
func Merge(sum, gs []Group) []Group {
	for i := range gs {
		if i == len(sum) {
			sum = append(sum, Group{Name: gs[i].Name})
		}
		s, g := &sum[i], &gs[i]
		s.Admissions += g.Admissions
		s.Violations += g.Violations
		s.Quiet.merge(&g.Quiet)
		s.All.merge(&g.All)
	}
	return sum
}

// merge adds up tokens, so that large limits count for more.
func (s *Share) merge(o *Share) {
	if o.Windows == 0 {
		return
	}
	if o.Whole > 0 && (s.Whole == 0 || o.Worst < s.Worst) {
		s.Worst, s.WorstAt = o.Worst, o.WorstAt
	}
	s.Whole += o.Whole
	s.Windows += o.Windows
	s.Admitted += o.Admitted
	s.Possible += o.Possible
}

// Percent is a share for people.
func (s *Share) Percent() string { return percent(s, s.Of()) }

// worstAt is where the worst window was, if it was not like all others.
func (s *Share) worstAt() string {
	if s.Whole == 0 || s.Worst >= 1 {
		return "-"
	}
	return fmt.Sprintf("%.1fs", float64(s.WorstAt)/float64(second))
}

func (s *Share) worst() string {
	if s.Whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*s.Worst)
}

func percent(s *Share, part float64) string {
	if s.Windows == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*part)
}
