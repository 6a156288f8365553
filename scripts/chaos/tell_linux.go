package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/sluicegate/sluice/scripts/chaos/check"
)

// reportFile is where a run's result is kept.
const reportFile = "report.txt"

// summary is a line of the last table.
type summary struct {
	seed     uint64
	result   *check.Result
	problems []string // which fail the run
	notes    []string
}

func (s *summary) failed() bool { return s.result.Violations > 0 || len(s.problems) > 0 }

// tell writes a run's result for people, and into its directory.
func (s *summary) tell(w io.Writer, dir string) error {
	r := s.result
	f, err := os.Create(filepath.Join(dir, reportFile))
	if err != nil {
		return err
	}
	both := io.MultiWriter(w, f)
	_, err = fmt.Fprintf(both, "\nseed        %d: %d faults; %s\n", r.Run.Seed, r.Faults, r.Run.Network)
	if err == nil {
		err = r.Write(both)
	}
	for _, text := range s.problems {
		_, e := fmt.Fprintln(both, "problem:", text)
		err = errors.Join(err, e)
	}
	for _, text := range s.notes {
		_, e := fmt.Fprintln(both, "note:", text)
		err = errors.Join(err, e)
	}
	_, e := fmt.Fprintln(w)
	return errors.Join(err, e, f.Close())
}

// writeSums is the table of all runs.
func writeSums(w io.Writer, sums []summary) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "seed\tfaults\tprocesses\trequests\trecords\tviolations\t")
	var groups []check.Group
	records, violations := 0, 0
	for _, s := range sums {
		_, _ = fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t\n", s.seed, s.result.Faults, s.result.Processes, s.result.Requests, s.result.Records, s.result.Violations)
		groups = check.Merge(groups, s.result.Groups)
		records += s.result.Records
		violations += s.result.Violations
	}
	_ = t.Flush()
	_, _ = fmt.Fprintln(w)
	_ = check.WriteGroups(w, groups)
	_, _ = fmt.Fprintf(w, "%d runs, %d records, %d violations\n", len(sums), records, violations)
}
