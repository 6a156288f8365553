package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/internal/config"
)

// devNode is one node of sluice dev: a directory with its settings and data,
// and the process that runs it.
type devNode struct {
	name                string
	dir                 string
	ports               devPorts
	cmd                 *exec.Cmd
	stderr              *tail
	ended               chan struct{} // closed once the process is reaped
	self                string
	httpURL, adminURL   string
	httpsURL, adminsURL string
}

type devPorts struct{ proxy, proxyTLS, admin, adminTLS, status, cluster int }

func portsOf(i, offset int) devPorts {
	base := offset + i*portStep
	return devPorts{proxy: 8000 + base, proxyTLS: 8443 + base, admin: 8001 + base, adminTLS: 8444 + base, status: 8007 + base, cluster: 8005 + base}
}

// devNodes writes the nodes' settings files.
func devNodes(o devOptions) ([]*devNode, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var join []string
	for i := range o.nodes {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", portsOf(i, o.offset).cluster))
	}
	nodes := make([]*devNode, o.nodes)
	for i := range nodes {
		p := portsOf(i, o.offset)
		n := &devNode{name: fmt.Sprintf("node%d", i+1), ports: p, self: self, stderr: &tail{}, ended: make(chan struct{}),
			httpURL: fmt.Sprintf("http://localhost:%d", p.proxy), httpsURL: fmt.Sprintf("https://localhost:%d", p.proxyTLS),
			adminURL: fmt.Sprintf("http://localhost:%d", p.admin), adminsURL: fmt.Sprintf("https://localhost:%d", p.adminTLS)}
		n.dir = filepath.Join(o.dir, n.name)
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(n.conf(), []byte(n.settings(join)), 0o644); err != nil {
			return nil, err
		}
		nodes[i] = n
	}
	return nodes, nil
}

func (n *devNode) conf() string { return filepath.Join(n.dir, "sluice.conf") }

// settings gives the text of the node's settings file. A single node has
// nobody to join.
func (n *devNode) settings(join []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written anew by every \"sluice dev\".\nnode_name = %s\ndata_dir = %s\n", n.name, strings.ReplaceAll(n.dir, "#", `\#`))
	fmt.Fprintf(&b, "proxy_listen = 127.0.0.1:%d, 127.0.0.1:%d http2 ssl\n", n.ports.proxy, n.ports.proxyTLS)
	fmt.Fprintf(&b, "admin_listen = 127.0.0.1:%d, 127.0.0.1:%d http2 ssl\n", n.ports.admin, n.ports.adminTLS)
	fmt.Fprintf(&b, "status_listen = 127.0.0.1:%d\n", n.ports.status)
	fmt.Fprintf(&b, "cluster_listen = 127.0.0.1:%d\n", n.ports.cluster)
	if len(join) > 1 {
		fmt.Fprintf(&b, "join = %s\nexpect = %d\n", strings.Join(join, ", "), len(join))
	}
	return b.String()
}

// startLine is what starts the node again by hand.
func (n *devNode) startLine() string {
	return fmt.Sprintf("%s start --conf %s", n.program(), shorten(n.conf()))
}

// program is this binary as a shell takes it: a bare name would be looked for
// in PATH.
func (n *devNode) program() string {
	path := shorten(n.self)
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	return path
}

// shorten makes a path relative to the working directory if that is shorter.
func shorten(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
			return rel
		}
	}
	return path
}

// environ is this process's without the settings that differ between the nodes:
// KONG_PROXY_LISTEN, say, would put all of them on one port. Their logs are files
// in their directories. admin_auth is left out because what is on the screen has no
// token; all of it is on loopback.
func (n *devNode) environ() []string {
	own := []string{"SLUICE_CONF"}
	for _, name := range []string{"node_name", "data_dir", "proxy_listen", "admin_listen", "admin_auth", "status_listen", "cluster_listen", "cluster_advertise", "join", "expect",
		"proxy_access_log", "proxy_error_log", "admin_access_log", "admin_error_log"} {
		own = append(own, config.Find(name).Variables()...)
	}
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(own, name)
	})
}

// up says whether the node has told that it listens on all of its ports.
func (n *devNode) up() bool { return n.stderr.contains(upMark(n.name)) }

// lastWords is why a node ended, as far as it could tell.
func (n *devNode) lastWords() string {
	if line := n.stderr.last(); line != "" && !strings.Contains(line, upMark(n.name)) {
		return strings.TrimPrefix(line, "sluice: ")
	}
	return n.outcome()
}

// outcome is how the process ended; valid once ended is closed.
func (n *devNode) outcome() string { return n.cmd.ProcessState.String() }

// family is the running child processes.
type family struct {
	nodes []*devNode
	ended chan *devNode // each node once, when it has ended
	gone  sync.WaitGroup
}

// startFamily starts every node, or none.
func startFamily(nodes []*devNode) (*family, error) {
	f := &family{ended: make(chan *devNode, len(nodes))}
	started := make(chan error)
	release := make(chan struct{})
	// A child dies with the thread that started it, not with the process, so
	// that thread must live as long as the children.
	go func() {
		runtime.LockOSThread()
		for _, n := range nodes {
			if err := n.start(); err != nil {
				started <- fmt.Errorf("start %s: %w", n.name, err)
				break
			}
			f.nodes = append(f.nodes, n)
		}
		close(started)
		<-release
	}()
	err := <-started
	for _, n := range f.nodes {
		f.gone.Go(func() {
			_ = n.cmd.Wait() // its outcome is in ProcessState
			close(n.ended)
			f.ended <- n
		})
	}
	go func() { f.gone.Wait(); close(release) }()
	if err != nil {
		f.stop(0, nil)
		return nil, err
	}
	return f, nil
}

func (n *devNode) start() error {
	n.cmd = exec.Command(n.self, "start", "--conf", n.conf())
	n.cmd.Env = n.environ()
	n.cmd.Stderr = n.stderr
	// A group of its own: Ctrl-C reaches this process alone, which stops the
	// nodes in order.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(n.cmd.SysProcAttr)
	return n.cmd.Start()
}

// stop ends every child and waits for it: first asked, then, after the patience
// or another signal, killed.
func (f *family) stop(patience time.Duration, again <-chan os.Signal) {
	all := make(chan struct{})
	go func() { f.gone.Wait(); close(all) }()
	f.signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-all:
		return
	case <-timer.C:
	case <-again:
	}
	f.signal(syscall.SIGKILL)
	<-all
}

func (f *family) signal(sig syscall.Signal) {
	for _, n := range f.nodes {
		select {
		case <-n.ended:
		default:
			_ = n.cmd.Process.Signal(sig) // it may have just ended
		}
	}
}

// tail keeps the last bytes written to it. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if len(t.data) > tailBytes {
		t.data = append([]byte(nil), t.data[len(t.data)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) contains(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.data, []byte(text))
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.data), []byte("\n"))
	return string(lines[len(lines)-1])
}
