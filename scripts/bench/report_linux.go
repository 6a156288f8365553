package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/stats"
)

// row is one work as the table shows it.
type row struct {
	names   []string
	figures []spread // by contestant
	ratio   []spread // by contestant, to the first
	rounds  int      // that count
	noise   int      // disturbed rounds, of those measured
	met     bool
	failed  int64
	fault   string
}

// evaluate leaves disturbed rounds out if three others remain.
func evaluate(r *result) row {
	rounds := len(r.samples[0])
	var quiet, all []int
	for i := range rounds {
		all = append(all, i)
		if r.work.figure.calm || !slices.ContainsFunc(r.samples, func(s []*sample) bool { return s[i].disturbed() }) {
			quiet = append(quiet, i)
		}
	}
	use := quiet
	if len(quiet) < min(3, rounds) {
		use = all
	}
	out := row{names: r.names, rounds: len(use), noise: rounds - len(quiet)}
	pick := func(k int) (values []float64) {
		for _, i := range use {
			values = append(values, r.work.figure.of(r.samples[k][i]))
		}
		return values
	}
	base := pick(0)
	for k := range r.samples {
		out.figures = append(out.figures, spreadOf(pick(k)))
		out.ratio = append(out.ratio, spreadOf(ratios(pick(k), base)))
		for _, s := range r.samples[k] {
			if out.failed += s.Failed; out.fault == "" {
				out.fault = s.Fault
			}
		}
	}
	last := len(r.samples) - 1
	reached := out.ratio[last].median
	if r.work.absolute {
		reached = out.figures[last].median
	}
	out.met = out.failed == 0 && reached <= r.work.limit // NaN is not met
	return out
}

func (w *work) goal() string {
	switch {
	case w.noGoal:
		return "-"
	case w.absolute:
		return fmt.Sprintf("<= %g", w.limit)
	}
	return fmt.Sprintf("<= %g x", w.limit)
}

func (o *row) verdict(w *work) string {
	switch {
	case o.failed > 0:
		return fmt.Sprintf("**missed**: %d requests failed (%s)", o.failed, o.fault)
	case w.noGoal:
		return "-"
	case o.met:
		return "met"
	}
	return "**missed**"
}

func (s *sample) String() string {
	text := fmt.Sprintf("%6.1f us/request %7.0f/s  core %3.0f %%  rss %.1f MB", s.PerRequest, s.PerSecond, 100*s.Share, float64(s.RSS)/1e6)
	if s.P99 > 0 {
		text += fmt.Sprintf("  p50 %s p99 %s", short(s.P50), short(s.P99))
	}
	if s.Late > 0 {
		text += "  sent late by " + short(s.Late)
	}
	if s.Apart > 0 {
		text += fmt.Sprintf("  cores %d ns apart", s.Apart.Nanoseconds())
	}
	if s.Changes > 0 {
		text += fmt.Sprintf("  %d changes", s.Changes)
	}
	if s.Failed > 0 {
		text += fmt.Sprintf("  %d FAILED: %s", s.Failed, s.Fault)
	}
	if s.Ended {
		text += "  (threads ended: time to 10 ms)"
	}
	if s.disturbed() {
		text += fmt.Sprintf("  DISTURBED: others %.0f %%, stolen %.0f %%", 100*s.Others, 100*s.Steal)
	}
	return text
}

// short has three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func number(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.3g", v)
}

// oneLine is the end of a work's progress.
func oneLine(r *result) string {
	if text := r.absent(); text != "" {
		return fmt.Sprintf("%s: %s", r.work.name, text)
	}
	o := evaluate(r)
	var parts []string
	for k, name := range r.names {
		text := cell(&o, k)
		if r.work.group == limitGroup {
			text = rangeText(o.figures[k])
		}
		parts = append(parts, name+" "+text)
	}
	return fmt.Sprintf("  = %s: %s; goal %s: %s", r.work.figure.name, strings.Join(parts, ", "), r.work.goal(), o.verdict(&r.work))
}

// absent says why a work has no figures; empty if it has.
func (r *result) absent() string {
	switch {
	case r.skipped != "":
		return "not measured: " + r.skipped
	case r.fault != nil:
		return "**failed**: " + strings.Join(strings.Fields(r.fault.Error()), " ")
	}
	return ""
}

// cell is a figure and, but for the first, its ratio.
func cell(o *row, k int) string {
	text := number(o.figures[k].median)
	if q := o.ratio[k]; k > 0 && !math.IsNaN(q.median) {
		sure := ""
		if q.err > 0 {
			sure = fmt.Sprintf(" ± %.3f", q.err)
		}
		text += fmt.Sprintf(" (%.2f%s x, %.2f to %.2f)", q.median, sure, q.min, q.max)
	}
	return text
}

// report is the whole text in markdown.
func (b *bench) report(results []result, began time.Time) string {
	var t strings.Builder
	add := func(format string, args ...any) { _, _ = fmt.Fprintf(&t, format+"\n", args...) }
	add("# Benchmarks\n\nMade by `make bench` on %s, in %s; %d paired rounds of %s.\n", began.UTC().Format("2006-01-02 15:04 UTC"),
		time.Since(began).Round(time.Minute), b.opts.rounds, b.opts.duration)
	add("%s\n", b.machineText())
	if !onlyLimits(results) {
		add("| work | figure | nginx | haproxy | Sluice | goal | |\n|---|---|---|---|---|---|---|")
	}
	var own []*result
	for i := range results {
		r := &results[i]
		switch {
		case r.work.group == limitGroup: // tables of their own
		case r.absent() != "":
			add("| %s | %s | | | | %s | %s |", r.work.title, r.work.figure.name, r.work.goal(), r.absent())
		case r.work.contestants != nil:
			own = append(own, r)
		default:
			o := evaluate(r)
			haproxy := "not installed"
			if len(r.names) == 3 {
				haproxy = cell(&o, 1)
			}
			add("| %s | %s | %s | %s | %s | %s | %s%s |", r.work.title, r.work.figure.name, cell(&o, 0), haproxy, cell(&o, len(r.names)-1),
				r.work.goal(), o.verdict(&r.work), noiseText(&o, len(r.samples[0]))+apartText(r))
		}
	}
	if len(own) > 0 {
		add("\n| two at a time | figure | first | second | goal | |\n|---|---|---|---|---|---|")
	}
	for _, r := range own {
		o := evaluate(r)
		add("| %s | %s | %s %s | %s %s | %s | %s%s |", r.work.title, r.work.figure.name, r.names[0], cell(&o, 0), r.names[1], cell(&o, 1),
			r.work.goal(), o.verdict(&r.work), noiseText(&o, len(r.samples[0]))+apartText(r))
	}
	if !onlyLimits(results) {
		add("\nA figure is the median of the rounds; in brackets the median ratio to the first column in the same round, its standard error where there are rounds enough, and the least and the greatest.\n")
	}
	if !onlyLimits(results) {
		b.details(add, results)
	}
	limitTables(add, results)
	if !onlyLimits(results) {
		add("%s", method)
	}
	return t.String()
}

func noiseText(o *row, rounds int) string {
	switch {
	case o.noise == 0:
		return ""
	case o.rounds == rounds:
		return fmt.Sprintf("; **the machine was disturbed** in %d of %d rounds, which count", o.noise, rounds)
	}
	return fmt.Sprintf("; %d of %d rounds were disturbed and are left out", o.noise, rounds)
}

// details is everything of every contestant, and the heads of the answers.
func (b *bench) details(add func(string, ...any), results []result) {
	add("## All figures\n\n| work | | CPU us a request | requests/s | p50 | p99 | sent late, p99 | its cores busy | RSS MB | PSS MB |\n|---|---|---|---|---|---|---|---|---|---|")
	var heads map[string]string
	for i := range results {
		r := &results[i]
		if heads == nil && r.heads["sluice"] != "" {
			heads = r.heads
		}
		for k, list := range r.samples {
			if len(list) == 0 || r.work.group == limitGroup {
				continue
			}
			mid := func(of func(*sample) float64) float64 {
				var values []float64
				for _, s := range list {
					values = append(values, of(s))
				}
				return stats.Median(values)
			}
			span := func(of func(*sample) time.Duration) string {
				d := time.Duration(mid(func(s *sample) float64 { return float64(of(s)) }))
				if d == 0 {
					return "-"
				}
				return short(d)
			}
			add("| %s | %s | %.1f | %.0f | %s | %s | %s | %.0f %% | %.1f | %.1f |", r.work.name, r.names[k],
				mid(func(s *sample) float64 { return s.PerRequest }), mid(func(s *sample) float64 { return s.PerSecond }),
				span(func(s *sample) time.Duration { return s.P50 }), span(func(s *sample) time.Duration { return s.P99 }),
				span(func(s *sample) time.Duration { return s.Late }), mid(func(s *sample) float64 { return 100 * s.Share }),
				mid(func(s *sample) float64 { return float64(s.RSS) / 1e6 }), mid(func(s *sample) float64 { return float64(s.PSS) / 1e6 }))
		}
	}
	if heads != nil {
		add("\nWhat they answer to the small GET:\n")
		for _, name := range []string{"nginx", "haproxy", "sluice"} {
			if heads[name] != "" {
				add("```\n%s: %s```", name, heads[name])
			}
		}
	}
	add("")
}

// keep writes the report and its plot, if a file is named.
func (b *bench) keep(report string, results []result) error {
	if b.opts.out == "" {
		return nil
	}
	plotFile := strings.TrimSuffix(b.opts.out, filepath.Ext(b.opts.out)) + ".svg"
	if err := os.MkdirAll(filepath.Dir(b.opts.out), 0o755); err != nil {
		return err
	}
	report = strings.Replace(report, "\n## All figures", fmt.Sprintf("\n![ratios](%s)\n\n## All figures", filepath.Base(plotFile)), 1)
	if err := os.WriteFile(b.opts.out, []byte(report), 0o644); err != nil {
		return err
	}
	return os.WriteFile(plotFile, []byte(plot(results)), 0o644)
}
