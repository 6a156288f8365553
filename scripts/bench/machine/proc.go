// Package machine is what the benchmark knows of the machine: how much
// processor time processes took, what else was busy, and how a process is
// started on given cores so that it ends with the benchmark. Parsing works
// anywhere, the rest on Linux. Safe for concurrent use unless it says otherwise.
package machine

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tick is the kernel's unit of time in /proc/stat and /proc/PID/stat (USER_HZ).
const tick = 10 * time.Millisecond

var errFormat = errors.New("not in the kernel's form")

// parseSchedstat reads /proc/PID/task/TID/schedstat: time on a processor, time
// waiting for one, both in ns, and the number of turns.
func parseSchedstat(text []byte) (onCPU time.Duration, err error) {
	fields := bytes.Fields(text)
	if len(fields) != 3 {
		return 0, fmt.Errorf("schedstat %q: %w", text, errFormat)
	}
	ns, err := strconv.ParseUint(string(fields[0]), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("schedstat %q: %w", text, errFormat)
	}
	return time.Duration(ns), nil
}

// stat is what we want of /proc/PID/stat.
type stat struct {
	group int           // process group
	cpu   time.Duration // user and system, of all threads that are or were
}

// parseStat counts fields from the last parenthesis: a name may hold anything.
func parseStat(text []byte) (stat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("stat %q: %w", text, errFormat)
	}
	group, err1 := strconv.Atoi(string(fields[2]))
	user, err2 := strconv.ParseUint(string(fields[11]), 10, 40)
	system, err3 := strconv.ParseUint(string(fields[12]), 10, 40)
	if err := errors.Join(err1, err2, err3); err != nil {
		return stat{}, fmt.Errorf("stat %q: %w", text, errFormat)
	}
	return stat{group: group, cpu: time.Duration(user+system) * tick}, nil
}

// parseBusy reads /proc/stat: the time that all processors together were not
// idle, and the part that the hypervisor gave to others.
func parseBusy(text []byte) (busy, steal time.Duration, err error) {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat %q: %w", line, errFormat)
	}
	// user nice system idle iowait irq softirq steal; guest time is in user.
	for i, field := range fields[1:9] {
		n, err := strconv.ParseUint(field, 10, 40)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat %q: %w", line, errFormat)
		}
		switch i {
		case 3, 4:
		case 7:
			steal = time.Duration(n) * tick
			fallthrough
		default:
			busy += time.Duration(n) * tick
		}
	}
	return busy, steal, nil
}

// parseRollup reads Rss and Pss of /proc/PID/smaps_rollup, in bytes.
func parseRollup(text []byte) (rss, pss int64, err error) {
	rss, pss = -1, -1
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" || fields[0] != "Rss:" && fields[0] != "Pss:" {
			continue
		}
		kB, err := strconv.ParseInt(fields[1], 10, 40)
		if err != nil {
			return 0, 0, fmt.Errorf("smaps_rollup %q: %w", line, errFormat)
		}
		if fields[0] == "Rss:" {
			rss = kB << 10
		} else {
			pss = kB << 10
		}
	}
	if rss < 0 || pss < 0 {
		return 0, 0, fmt.Errorf("smaps_rollup: %w", errFormat)
	}
	return rss, pss, nil
}
