package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/stats"
)

// report is the table, with what it was made on.
func (b *bench) report(results []outcome, start time.Time) string {
	var t strings.Builder
	model, kernel := processor()
	disk, volatile := fileSystem(b.dir)
	fmt.Fprintf(&t, "# Benchmarks of the Admin API\n\nMade by `make bench-admin` on %s, in %s; %d rounds (consumers: at most 3) with loads of %s.\n\n",
		start.UTC().Format("2006-01-02 15:04 UTC"), time.Since(start).Round(time.Second), b.opts.rounds, b.opts.duration)
	fmt.Fprintf(&t, "%s, %d cores, Linux %s; the nodes' data is on %s; %s; %s.\n\n", model, runtime.NumCPU(), kernel, disk, diskRate(results), b.version())
	if volatile {
		t.WriteString("**The data is in memory, where fsync costs nothing: no goal is judged.** -dir names another place.\n\n")
	}
	t.WriteString("| what | unit | goal | seen: median (range) | |\n|---|---|---|---|---|\n")
	for _, r := range results {
		for _, f := range r.figures {
			fmt.Fprintf(&t, "| %s | %s | %s | %s | %s |\n", f.what, f.unit, f.goalText(), f.seen(), f.verdict(volatile))
		}
		if r.err != nil {
			fmt.Fprintf(&t, "| %s | | | | **failed**: %s |\n", r.measure.title, oneLine(r.err))
		}
	}
	t.WriteString("\n" + method + "\n")
	for _, r := range results {
		fmt.Fprintf(&t, "- %s: others kept up to %.0f %% of the machine busy in a round.\n", r.measure.name, r.others)
		for _, f := range r.figures {
			if f.note != "" {
				fmt.Fprintf(&t, "- %s: %s.\n", f.what, f.note)
			}
		}
	}
	return t.String()
}

// method tells a reader what the figures are.
const method = `## How it was measured

- Three nodes of one cluster on loopback, with their own data directories on one disk, fsync as it always is, access logs off and only errors in the error log, all else as it comes. They and the clients share the machine's processors.
- A client is one connection that is kept alive and has one request under way. A time is from before the first byte is sent until the last one is read; the check of the answer comes after it.
- Every answer is checked: status and a field (writes), every byte (GET, pages), the changes that were made (imports), the service that a proxy led to. One wrong answer fails the measure.
- A figure is the median of the rounds, in brackets the least and the greatest. Goals are judged by the median. What has no goal is told to judge by.
`

func (f *figure) goalText() string {
	switch {
	case f.goal == 0:
		return "-"
	case f.atLeast:
		return ">= " + short(f.goal)
	}
	return "<= " + short(f.goal)
}

func (f *figure) seen() string {
	if len(f.values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", short(stats.Median(f.values)), short(slices.Min(f.values)), short(slices.Max(f.values)))
}

func (f *figure) verdict(volatile bool) string {
	switch {
	case f.goal == 0:
		return "-"
	case len(f.values) == 0:
		return "**not measured**"
	case volatile:
		return "not judged"
	case f.met():
		return "met"
	}
	return "**missed**"
}

// short is a number with three digits, or more before the point.
func short(v float64) string {
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// diskRate tells how often the disk syncs, if that was measured.
func diskRate(results []outcome) string {
	for _, r := range results {
		if r.measure.name == "writes" && len(r.figures) > 0 && len(r.figures[0].values) > 0 {
			return fmt.Sprintf("it takes %s fdatasyncs of 4 KiB a second", short(stats.Median(r.figures[0].values)))
		}
	}
	return "its rate of fsync was not measured (it is by writes)"
}

// version is what the binary says of itself; make build puts the commit there.
func (b *bench) version() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.opts.sluice, "version").Output()
	if err != nil {
		return "a binary that does not tell its version"
	}
	return strings.TrimSpace(string(out))
}

func oneLine(err error) string {
	return strings.NewReplacer("\n", " ", "|", `\|`).Replace(err.Error())
}
