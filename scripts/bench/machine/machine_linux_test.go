package machine

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUsageOfThisProcess(t *testing.T) {
	before, err := UsageOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for deadline := time.Now().Add(10 * time.Second); after.CPU-before.CPU < 20*time.Millisecond; {
		if time.Now().After(deadline) {
			t.Fatal("processor time does not grow")
		}
		if after, err = UsageOf([]int{os.Getpid()}); err != nil {
			t.Fatal(err)
		}
	}
	if cpu, _ := after.CPUSince(before); cpu < 20*time.Millisecond {
		t.Errorf("%v used", cpu)
	}
	rss, pss, err := Memory([]int{os.Getpid()})
	if err != nil || rss < 1<<20 || pss < 1<<20 || pss > rss {
		t.Errorf("rss %d, pss %d, %v", rss, pss, err)
	}
	if busy, _, err := Busy(); err != nil || busy <= 0 {
		t.Error(busy, err)
	}
}

func TestThreadsThatEnded(t *testing.T) {
	before := Usage{CPU: time.Second, Ticks: time.Second}
	if cpu, ended := (Usage{CPU: 2 * time.Second, Ticks: 2050 * time.Millisecond}).CPUSince(before); ended || cpu != time.Second {
		t.Error("a coarse clock counts as a thread that ended", cpu)
	}
	if cpu, ended := (Usage{CPU: 2 * time.Second, Ticks: 3 * time.Second}).CPUSince(before); !ended || cpu != 2*time.Second {
		t.Error("the time of threads that ended is lost", cpu)
	}
}

func TestStartPinsAndStopEndsTheGroup(t *testing.T) {
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	starter := NewStarter()
	defer starter.Close()
	// The shell's child ignores the polite signal, and outlives the shell.
	var out bytes.Buffer
	ready, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `grep Cpus_allowed_list /proc/self/status; (trap "" TERM; echo up >&3; exec sleep 100) & wait`)
	cmd.Stdout, cmd.ExtraFiles = w, []*os.File{w}
	p, err := starter.Start("shell", cmd, cores[:1], syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	for buf := make([]byte, 256); !strings.Contains(out.String(), "up"); {
		n, err := ready.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, out.String())
		}
		out.Write(buf[:n])
	}
	if line, _, _ := strings.Cut(out.String(), "\n"); strings.ContainsAny(line, "-,") {
		t.Errorf("started on one core, allowed on %s", line)
	}
	if pids, err := Group(p.PID); err != nil || len(pids) < 2 {
		t.Errorf("group of %v, %v", pids, err)
	}
	p.Stop()
	p.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		pids, err := Group(p.PID)
		if err != nil {
			t.Fatal(err)
		}
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v still run", pids)
		}
	}
}

func TestStartOfNothing(t *testing.T) {
	starter := NewStarter()
	defer starter.Close()
	if _, err := starter.Start("nothing", exec.Command("/nonexistent"), []int{0}, syscall.SIGKILL); err == nil {
		t.Error("no error")
	}
}

func TestApart(t *testing.T) {
	cores, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	if len(cores) < 2 {
		t.Skip("needs two cores")
	}
	if d := Apart(cores[0], cores[1]); d <= 0 {
		t.Errorf("%d and %d are %v apart", cores[0], cores[1], d)
	}
	if d := Apart(cores[0], 1023); d != 0 {
		t.Errorf("a core that is not there is %v away", d)
	}
}
