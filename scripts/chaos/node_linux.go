package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
	"github.com/sluicegate/sluice/scripts/chaos/netns"
)

const (
	proxyPort, adminPort, clusterPort = 8000, 8001, 8005

	// stopPatience is how long a node may take to end after SIGTERM: it allows
	// itself 25 s.
	stopPatience = 40 * time.Second
	stderrFile   = "stderr.log"
	stderrShown  = 2000
)

// node is one member of the cluster: a directory, a namespace, and a process that
// comes and goes. Safe for concurrent use.
type node struct {
	name   string
	space  *netns.Space
	dir    string
	binary string
	args   []string
	// problem is told what a node did that it should not, note what it may do but
	// somebody should know.
	problem, note func(format string, args ...any)

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	ending  bool // somebody has asked it to end
	paused  bool
	reaping sync.WaitGroup
}

func (n *node) addr(port int) string { return fmt.Sprintf("%s:%d", n.space.Addr, port) }
func (n *node) data() string         { return filepath.Join(n.dir, "data") }

// start runs the process. One that runs already is left alone.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runs() {
		return nil
	}
	if err := os.MkdirAll(n.data(), 0o755); err != nil {
		return err
	}
	stderr, err := os.OpenFile(n.stderrPath(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer stderr.Close()
	args := append([]string{"start", "--node-name", n.name, "--data-dir", n.data(),
		"--proxy-listen", n.addr(proxyPort), "--admin-listen", n.addr(adminPort), "--status-listen", "off",
		"--cluster-listen", n.addr(clusterPort), "--insecure-cluster",
		"--proxy-access-log", "off", "--admin-access-log", "off", "--log-level", "info",
		"--limits-audit", filepath.Join(n.dir, book.AuditDir)}, n.args...)
	cmd := exec.Command(n.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = n.dir, stderr, stderr, append(withoutSettings(os.Environ()), "SLUICE_ADMIN_AUTH=off") // its addresses are nobody's else
	// Whatever ends the runner ends the node: the thread that starts it lives as
	// long as the runner does.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.space.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	ended := make(chan struct{})
	n.cmd, n.ended, n.ending, n.paused = cmd, ended, false, false
	n.reaping.Go(func() { n.reap(cmd, ended) })
	return nil
}

func (n *node) stderrPath() string { return filepath.Join(n.dir, stderrFile) }

// withoutSettings keeps settings of whoever runs this out of it.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "KONG_") && !strings.HasPrefix(e, "SLUICE_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// reap waits for the end of a process.
func (n *node) reap(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	n.mu.Lock()
	asked := n.ending
	n.mu.Unlock()
	if !asked {
		n.problem("%s ended by itself (%v): %s", n.name, err, n.lastWords())
	}
	close(ended)
}

// lastWords is the end of what the node wrote to its standard error.
func (n *node) lastWords() string {
	text, _ := os.ReadFile(n.stderrPath())
	return string(text[max(0, len(text)-stderrShown):])
}

// runs is for who holds mu.
func (n *node) runs() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// serves says whether the node may be expected to answer.
func (n *node) serves() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs() && !n.ending && !n.paused
}

// signal sends one to the running process, and says how to wait for its end.
func (n *node) signal(sig syscall.Signal, ends bool) (ended chan struct{}, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.runs() {
		return nil, false
	}
	n.ending = n.ending || ends
	err := n.cmd.Process.Signal(sig)
	return n.ended, err == nil || errors.Is(err, os.ErrProcessDone)
}

// kill is kill -9, and returns when the process is gone.
func (n *node) kill() {
	if ended, ok := n.signal(syscall.SIGKILL, true); ok {
		<-ended
	}
}

// pause is SIGSTOP, resume SIGCONT.
func (n *node) pause()  { n.setPaused(true, syscall.SIGSTOP) }
func (n *node) resume() { n.setPaused(false, syscall.SIGCONT) }

func (n *node) setPaused(paused bool, sig syscall.Signal) {
	n.mu.Lock()
	n.paused = paused
	n.mu.Unlock()
	n.signal(sig, false)
}

// term is SIGTERM, after which the node has to end by itself, without an error.
func (n *node) term() {
	if _, ok := n.signal(syscall.SIGTERM, true); ok {
		n.awaitEnd("SIGTERM")
	}
}

// expectEnd is for a node that has been asked to end in another way.
func (n *node) expectEnd() {
	n.mu.Lock()
	n.ending = true
	n.mu.Unlock()
}

// awaitEnd waits for the end of a node that has been asked to.
func (n *node) awaitEnd(how string) {
	n.mu.Lock()
	ended, cmd := n.ended, n.cmd
	n.mu.Unlock()
	select {
	case <-ended:
		// Killed by another fault meanwhile is no failure to end.
		if code := cmd.ProcessState.ExitCode(); code > 0 {
			n.note("%s ended with exit code %d after %s: %s", n.name, code, how, n.lastWords())
		}
	case <-time.After(stopPatience):
		n.problem("%s did not end within %s after %s", n.name, stopPatience, how)
		n.kill()
	}
}
