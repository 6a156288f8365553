package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Usage is what some processes have used since they began.
type Usage struct {
	CPU   time.Duration // of the threads there are, to the ns (schedstat)
	Ticks time.Duration // also of threads that ended, to 10 ms (stat)
}

// CPUSince is the processor time from before to u. Where threads came to an
// end, their time is missing in CPU; then Ticks is nearer.
func (u Usage) CPUSince(before Usage) (cpu time.Duration, ended bool) {
	cpu, ticks := u.CPU-before.CPU, u.Ticks-before.Ticks
	if ticks > cpu+cpu/10+10*tick {
		return ticks, true
	}
	return cpu, false
}

// UsageOf reads the usage of processes; one that is gone is an error.
func UsageOf(pids []int) (Usage, error) {
	var u Usage
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d", pid)
		text, err := os.ReadFile(dir + "/stat")
		if err != nil {
			return u, err
		}
		s, err := parseStat(text)
		if err != nil {
			return u, err
		}
		u.Ticks += s.cpu
		cpu, err := threads(dir + "/task")
		if err != nil {
			return u, err
		}
		u.CPU += cpu
	}
	return u, nil
}

func threads(dir string) (sum time.Duration, err error) {
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(filepath.Join(dir, task.Name(), "schedstat"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		} else if err != nil {
			return 0, err
		}
		cpu, err := parseSchedstat(text)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// Busy is the time that all processors were busy since the machine's start,
// and the part that was stolen by other machines on the same hardware.
func Busy() (busy, steal time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseBusy(text)
}

// Memory adds up the resident sets of processes, in bytes; pss counts a page
// that several of them share once.
func Memory(pids []int) (rss, pss int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, 0, err
		}
		r, p, err := parseRollup(text)
		if err != nil {
			return 0, 0, err
		}
		rss, pss = rss+r, pss+p
	}
	return rss, pss, nil
}

// Group lists the processes of a process group.
func Group(group int) ([]int, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended meanwhile
		}
		if s, err := parseStat(text); err == nil && s.group == group {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
