package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	args := append([]string{"build", "-ldflags", "-X main.version=test", "-o", binary}, buildFlags...)
	build := exec.Command("go", append(args, ".")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	// The settings of whoever runs the tests are not what is tested.
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "KONG_") || strings.HasPrefix(name, "SLUICE_") {
			os.Unsetenv(name)
		}
	}
	return m.Run()
}

// patience is how long anything may take that should take a moment: long
// enough for a machine that is busy with other things.
const patience = 30 * time.Second

// waitFor polls until cond gives nil, and fails the test with its last error.
func waitFor(t testing.TB, what string, cond func() error) {
	t.Helper()
	if err := poll(patience, cond); err != nil {
		t.Fatalf("waited %s for %s: %v", patience, what, err)
	}
}

// poll calls cond every 20 ms until it gives nil or the time is over.
func poll(limit time.Duration, cond func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		}
	}
}

// ports hands out ports below the range that the system picks from, so that
// nothing else takes one between its choice and its use.
var ports = struct {
	sync.Mutex
	next int
}{next: 20_000 + os.Getpid()%700*10}

func freePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := ports.next
		if ports.next++; ports.next >= 28_000 {
			ports.next = 20_000
		}
		if portIsFree(port) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// portIsFree tries TCP and UDP.
func portIsFree(port int) bool {
	addr := "127.0.0.1:" + strconv.Itoa(port)
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return pc.Close() == nil
}

// testCluster is nodes that are processes of the binary. Everything is stopped
// and reaped when the test ends; after a failure their logs are shown.
type testCluster struct {
	t     testing.TB
	nodes []*testNode
}

// testNode is one of them. Its directory stays when the process ends.
type testNode struct {
	t       testing.TB
	cluster *testCluster
	name    string
	dir     string
	args    []string // further flags, for the next start
	stdout  *os.File // nil: nowhere

	adminPort, adminTLSPort, proxyPort, proxyTLSPort, statusPort, clusterPort int

	cmd    *exec.Cmd
	stderr bytes.Buffer // of the running or last process, to be read once ended
	ended  chan struct{}
}

// newCluster starts n nodes and waits until all of them know a leader, each
// other, and serve.
func newCluster(t testing.TB, n int) *testCluster {
	t.Helper()
	c := idleCluster(t, n)
	for _, node := range c.nodes {
		node.start()
	}
	c.waitReady()
	return c
}

// idleCluster is newCluster without starting anything.
func idleCluster(t testing.TB, n int) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	root := t.TempDir()
	for i := range n {
		node := &testNode{t: t, cluster: c, name: fmt.Sprintf("node%d", i+1)}
		node.dir = filepath.Join(root, node.name)
		node.takePorts()
		c.nodes = append(c.nodes, node)
	}
	t.Cleanup(c.cleanup)
	return c
}

func (c *testCluster) cleanup() {
	for _, n := range c.nodes {
		n.kill()
		if strings.Contains(n.stderr.String(), "DATA RACE") {
			c.t.Errorf("%s has a data race", n.name)
		}
		if c.t.Failed() {
			c.t.Logf("%s stderr:\n%s", n.name, n.stderr.String())
			if log, err := os.ReadFile(filepath.Join(n.dir, "logs", "error.log")); err == nil {
				c.t.Logf("%s error.log, its end:\n%s", n.name, log[max(0, len(log)-8000):])
			}
		}
	}
}

// waitReady waits until every running node sees every running one alive, has a
// leader, and is ready for requests.
func (c *testCluster) waitReady() {
	c.t.Helper()
	waitFor(c.t, "a cluster", func() error {
		running := 0
		for _, n := range c.nodes {
			if n.running() {
				running++
			}
		}
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			status, err := n.status()
			if err != nil {
				return err
			}
			alive := 0
			for _, m := range status.Nodes {
				if m.State == "alive" {
					alive++
				}
			}
			if alive != running || status.Leader == "" || !status.Quorum {
				return fmt.Errorf("%s sees %d of %d alive, leader %q", n.name, alive, running, status.Leader)
			}
			if a, err := n.try("GET", n.statusURL("/status/ready"), nil, ""); err != nil || a.status != 200 {
				return fmt.Errorf("%s is not ready: %d %s %v", n.name, a.status, a.body, err)
			}
		}
		return nil
	})
}

// leader gives the node that leads.
func (c *testCluster) leader() *testNode {
	c.t.Helper()
	var leader *testNode
	waitFor(c.t, "a leader", func() error {
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			status, err := n.status()
			if err != nil {
				return err
			}
			for _, m := range status.Nodes {
				if m.Leader && m.State == "alive" {
					if leader = c.byName(m.Name); leader != nil && leader.running() {
						return nil
					}
				}
			}
		}
		return errors.New("no node names one that runs")
	})
	return leader
}

func (c *testCluster) byName(name string) *testNode {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// join is the --join list of the nodes as they are now.
func (c *testCluster) join() string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = fmt.Sprintf("127.0.0.1:%d", n.clusterPort)
	}
	return strings.Join(addrs, ",")
}

// takePorts gives the node new ports, for its next start.
func (n *testNode) takePorts() {
	n.t.Helper()
	for _, p := range []*int{&n.adminPort, &n.adminTLSPort, &n.proxyPort, &n.proxyTLSPort, &n.statusPort, &n.clusterPort} {
		*p = freePort(n.t)
	}
}

// start runs the node. It does not wait for anything.
func (n *testNode) start() {
	n.t.Helper()
	if n.running() {
		n.t.Fatalf("%s is running already", n.name)
	}
	args := []string{"start", "--node-name", n.name, "--data-dir", n.dir,
		"--proxy-listen", fmt.Sprintf("127.0.0.1:%d, 127.0.0.1:%d http2 ssl", n.proxyPort, n.proxyTLSPort),
		"--admin-listen", fmt.Sprintf("127.0.0.1:%d, 127.0.0.1:%d http2 ssl", n.adminPort, n.adminTLSPort),
		"--status-listen", fmt.Sprintf("127.0.0.1:%d", n.statusPort), "--cluster-listen", fmt.Sprintf("127.0.0.1:%d", n.clusterPort)}
	if len(n.cluster.nodes) > 1 {
		args = append(args, "--join", n.cluster.join(), "--expect", strconv.Itoa(len(n.cluster.nodes)))
	}
	n.stderr.Reset()
	n.cmd = exec.Command(binary, append(args, n.args...)...)
	n.cmd.Stderr = &n.stderr
	if n.stdout != nil {
		n.cmd.Stdout = n.stdout
	}
	n.cmd.Dir = n.t.TempDir()
	n.cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(n.cmd.SysProcAttr) // a test binary that is killed leaves nothing
	if err := n.cmd.Start(); err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(n.cmd, n.ended)
}

func (n *testNode) running() bool {
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

// kill is kill -9, and waits until the process is gone.
func (n *testNode) kill() {
	if n.running() {
		_ = n.cmd.Process.Kill() // it may just have ended
		<-n.ended
	}
}

// stop is SIGTERM: a clean stop, which must give exit code 0.
func (n *testNode) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	if code := n.wait(); code != 0 {
		n.t.Errorf("%s ended with exit code %d after SIGTERM: %s", n.name, code, n.stderr.String())
	}
}

func (n *testNode) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("signal %s to %s: %v", sig, n.name, err)
	}
}

// wait waits for the end of the process and gives its exit code.
func (n *testNode) wait() int {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.t.Fatalf("%s did not end within %s", n.name, patience)
	}
	return n.cmd.ProcessState.ExitCode()
}

func (n *testNode) adminURL(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", n.adminPort, path)
}

func (n *testNode) proxyURL(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", n.proxyPort, path)
}

func (n *testNode) statusURL(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", n.statusPort, path)
}

// answer is a whole HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// json decodes the body as an object.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(a.body, &object); err != nil {
		t.Fatalf("answer %d is no object: %v\n%s", a.status, err, a.body)
	}
	return object
}

// admin asks the node's Admin API; form may be nil. A node that is starting opens
// it last, after its proxy: a port that is not open yet is waited for.
func (n *testNode) admin(method, path string, form url.Values) answer {
	n.t.Helper()
	a, err := n.tryAdmin(method, path, form)
	for end := time.Now().Add(patience); errors.Is(err, syscall.ECONNREFUSED) && n.running() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		a, err = n.tryAdmin(method, path, form)
	}
	if err != nil {
		n.t.Fatalf("%s: %s %s: %v", n.name, method, path, err)
	}
	return a
}

// tryAdmin is admin for a node that may not answer.
func (n *testNode) tryAdmin(method, path string, form url.Values) (answer, error) {
	header := http.Header{}
	if form != nil {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return n.try(method, n.adminURL(path), header, form.Encode())
}

// get asks the node's proxy, with headers as name, value, ...
func (n *testNode) get(path string, headers ...string) answer {
	n.t.Helper()
	header := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	a, err := n.try("GET", n.proxyURL(path), header, "")
	if err != nil {
		n.t.Fatalf("%s: GET %s: %v", n.name, path, err)
	}
	return a
}

// client never keeps a connection for longer than a request, so that a killed
// node leaves no dead ones.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func (n *testNode) try(method, target string, header http.Header, body string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: data}, err
}

// status asks GET /cluster.
func (n *testNode) status() (clusterStatus, error) {
	var status clusterStatus
	a, err := n.tryAdmin("GET", "/cluster", nil)
	if err != nil {
		return status, err
	}
	if a.status != http.StatusOK {
		return status, fmt.Errorf("GET /cluster: %d %s", a.status, a.body)
	}
	return status, json.Unmarshal(a.body, &status)
}

// create posts a form and wants 201.
func (n *testNode) create(path string, fields ...string) map[string]any {
	n.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	a := n.admin("POST", path, form)
	if a.status != http.StatusCreated {
		n.t.Fatalf("%s: POST %s: %d %s", n.name, path, a.status, a.body)
	}
	return a.json(n.t)
}

// sluice runs a command of the binary to its end.
func sluice(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("sluice %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
