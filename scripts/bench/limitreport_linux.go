package main

import (
	"fmt"
	"slices"
	"strings"
)

// limitText is a sample's line of progress.
func limitText(s *sample) string {
	text := fmt.Sprintf("%7.0f/s  p50 %s p99 %s  admitted %d of %d, %d beyond the limit", s.PerSecond, short(s.P50), short(s.P99), s.Admitted, s.Due, s.Over)
	if s.P999 > 0 {
		text += " p99.9 " + short(s.P999)
	}
	if s.Undecided > 0 || s.Pause > 0 {
		text += fmt.Sprintf("  %d without an answer (%s)  no decision for %s", s.Undecided, s.Fault, short(s.Pause))
	}
	if s.disturbed() {
		text += fmt.Sprintf("  DISTURBED: others %.0f %%", 100*s.Others)
	}
	return text
}

// limitTables has a table for each set of contestants.
func limitTables(add func(string, ...any), results []result) {
	var names []string
	said := false
	for i := range results {
		r := &results[i]
		if r.work.group != limitGroup {
			continue
		}
		if !said {
			add("## Limits, beside a counter in Redis")
			said = true
		}
		if text := r.absent(); text != "" {
			add("\n%s: %s", r.work.title, text)
			names = nil
			continue
		}
		if !slices.Equal(names, r.names) {
			names = r.names
			add("\n| work | figure | %s |\n|---|---|%s", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
		}
		o := evaluate(r)
		title := r.work.title + noiseText(&o, len(r.samples[0]))
		for _, f := range r.work.rows {
			var cells []string
			for _, q := range limitRow(r, f) {
				cells = append(cells, rangeText(q))
			}
			add("| %s | %s | %s |", title, f.name, strings.Join(cells, " | "))
			title = ""
		}
	}
	if said {
		add("\nA figure is the median of the rounds; in brackets the least and the greatest.")
		add("%s", limitMethod)
	}
}

// onlyLimits says that nothing is compared with nginx.
func onlyLimits(results []result) bool {
	return !slices.ContainsFunc(results, func(r result) bool { return r.work.group != limitGroup })
}

// limitRow is one figure of all contestants, without the disturbed rounds that
// can be spared.
func limitRow(r *result, f figure) []spread {
	shown := *r
	shown.work.figure = f
	return evaluate(&shown).figures
}

// rangeText leaves the range out where all rounds gave the same.
func rangeText(q spread) string {
	if q.min == q.max {
		return whole(q.median)
	}
	return fmt.Sprintf("%s (%s to %s)", whole(q.median), whole(q.min), whole(q.max))
}

// whole has three digits, but all of a number above a thousand.
func whole(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return number(v)
}

const limitMethod = `
- redis, call: a decision is one INCR in one round trip on a connection that each worker keeps, admitted if the answer is within the limit; the EXPIRE of a new counter goes out with the connection's next INCR. That is less than the scripts and pipelines of the usual limiters do for one request; one that gathers the requests of several workers in one write would decide more of them, each later. sluice, Go API: Limiter.Take on three nodes in one process, around a ledger in memory: the decision without HTTP, without a disk and without a network.
- sluice: three nodes, each a process, joined by gossip, asked through their proxy ports, with the plugin rate-limiting by a header; its log is on disk. redis behind sluice: the same three nodes and the same requests on a route without the plugin, to the same service, which asks Redis before it answers (200 or 429). So these two columns have the same HTTP in them and differ in who decides, and the first two have none.
- 32 workers at saturation; 64 at a fixed rate, where latency counts from when a decision was due if no worker was free then, else from when one woke up. Load and service are in the benchmark's process, and everything shares the machine's cores. CPU is of all processes, the load's too. Every round has new keys, and no minute turns while a limit is being counted. Limits of a minute are measured in minutes of which the nodes have shares, which are all but the one in which the cluster was formed: then, and with limits of an hour and longer, every token comes from the log. Counts are the client's: an answer that was lost is none.
- Killed: the server is started again at once, without persistence (an empty store) or with appendonly yes and appendfsync everysec, which loses little or nothing with a process, for the kernel has what was written, and a second or more with the machine. The client is the limiter's and asks Redis without a gateway. Of Sluice the node that leads is killed and started again; clients that lose their node go on with the next one. The plugin's settings are the defaults: fault_tolerant is on.
`
