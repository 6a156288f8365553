package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/internal/config"
)

func TestDemoUpstream(t *testing.T) {
	up, err := startDemoUpstream(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := up.close(); err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + up.addr.String()
	resp, err := client.Post(base+"/a%2Fb?x=1&x=2", "text/plain", strings.NewReader("<hello>"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var echo struct {
		Method, Path, Body string
		Query, Headers     map[string][]string
	}
	if err := json.NewDecoder(resp.Body).Decode(&echo); err != nil {
		t.Fatal(err)
	}
	if echo.Method != "POST" || echo.Path != "/a%2Fb" || echo.Body != "<hello>" || len(echo.Query["x"]) != 2 || echo.Headers["Content-Type"][0] != "text/plain" {
		t.Errorf("echo: %+v", echo)
	}
	large, err := client.Post(base, "text/plain", strings.NewReader(strings.Repeat("x", maxEcho+1)))
	if err != nil {
		t.Fatal(err)
	}
	large.Body.Close()
	if large.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body above the bound: %d", large.StatusCode)
	}
	students, err := client.Get(base + "/students")
	if err != nil {
		t.Fatal(err)
	}
	defer students.Body.Close()
	var list struct{ Students []student }
	if err := json.NewDecoder(students.Body).Decode(&list); err != nil || len(list.Students) != 3 {
		t.Errorf("students: %+v, %v", list, err)
	}
}

// TestDevSettings: what dev writes is what start reads, also in a directory
// whose name has a comment sign.
func TestDevSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a #1 place")
	nodes, err := devNodes(devOptions{nodes: 3, dir: dir, offset: 7})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{File: nodes[1].conf()})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir() != filepath.Join(dir, "node2") || cfg.NodeName() != "node2" || cfg.Expect() != 3 || cfg.ClusterListen() != "127.0.0.1:18012" {
		t.Errorf("data_dir %q, node_name %q, expect %d, cluster_listen %q", cfg.DataDir(), cfg.NodeName(), cfg.Expect(), cfg.ClusterListen())
	}
	if diff := cmp.Diff([]string{"127.0.0.1:8012", "127.0.0.1:18012", "127.0.0.1:28012"}, cfg.Join()); diff != "" {
		t.Error(diff)
	}
	one, err := devNodes(devOptions{nodes: 1, dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err := config.Load(config.Sources{File: one[0].conf()}); err != nil || cfg.Join() != nil || cfg.Expect() != 0 {
		t.Errorf("a single node joins %v, expects %d: %v", cfg.Join(), cfg.Expect(), err)
	}
}

func TestDevEnvironment(t *testing.T) {
	t.Setenv("KONG_PROXY_LISTEN", "0.0.0.0:80")
	t.Setenv("SLUICE_DATA_DIR", "/data")
	t.Setenv("KONG_PROXY_ERROR_LOG", "/dev/stderr")
	t.Setenv("KONG_LOG_LEVEL", "debug")
	kept := map[string]bool{}
	for _, entry := range new(devNode).environ() {
		name, _, _ := strings.Cut(entry, "=")
		kept[name] = true
	}
	if kept["KONG_PROXY_LISTEN"] || kept["SLUICE_DATA_DIR"] || kept["KONG_PROXY_ERROR_LOG"] || !kept["KONG_LOG_LEVEL"] || !kept["PATH"] {
		t.Errorf("variables of a node: %v", kept)
	}
}

func TestDevOptions(t *testing.T) {
	mixed := t.TempDir()
	for _, name := range []string{"node1", "node2"} {
		if err := os.Mkdir(filepath.Join(mixed, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		options devOptions
		want    string
	}{
		{devOptions{nodes: 1, dir: t.TempDir()}, ""},
		{devOptions{nodes: maxNodes, dir: t.TempDir()}, ""},
		{devOptions{nodes: 2, dir: mixed}, ""},
		{devOptions{nodes: 0}, "--nodes must be from 1 to 5"},
		{devOptions{nodes: maxNodes + 1}, "--nodes must be from 1 to 5"},
		{devOptions{nodes: 3, offset: -1}, "--port-offset -1 takes ports outside"},
		{devOptions{nodes: 5, offset: 20000}, "--port-offset 20000 takes ports outside"},
		{devOptions{nodes: 3, dir: mixed}, "holds a cluster of 2 nodes: use --nodes 2"},
	}
	for _, tt := range tests {
		err := tt.options.check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.options, err, tt.want)
		}
	}
}

// TestDevLock: a second dev in a directory is told so.
func TestDevLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	release, err := lockDevDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDevDir(dir); err == nil || !strings.Contains(err.Error(), "another sluice dev runs in "+dir) {
		t.Errorf("a second one: %v", err)
	}
	release()
	release, err = lockDevDir(dir)
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	release()
}

// TestDevForeignPorts: where the nodes of another cluster answer on a node's
// ports, that node is still not up.
func TestDevForeignPorts(t *testing.T) {
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, clusterStatus{Leader: "x", Quorum: true, Nodes: []nodeStatus{{State: "alive"}}})
	}))
	defer foreign.Close()
	n := &devNode{name: "node1", stderr: &tail{}, httpURL: foreign.URL, adminURL: foreign.URL}
	if missing := whatIsMissing(t.Context(), foreign.Client(), []*devNode{n}); missing != "node1 to start" {
		t.Errorf("before the node has told that it is up: missing is %q", missing)
	}
	g := &gateway{cfg: devConfig(t)}
	fmt.Fprintln(n.stderr, g.summary())
	if missing := whatIsMissing(t.Context(), foreign.Client(), []*devNode{n}); missing != "" {
		t.Errorf("after %q: missing is %q", g.summary(), missing)
	}
	fmt.Fprintln(n.stderr, "sluice: the disk is full")
	if got := n.lastWords(); got != "the disk is full" || !n.up() {
		t.Errorf("last words %q, up: %t", got, n.up())
	}
}

// devConfig is the settings of a first node.
func devConfig(t *testing.T) *config.Config {
	t.Helper()
	nodes, err := devNodes(devOptions{nodes: 1, dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{File: nodes[0].conf()})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestWriteErrors: what the Admin API is told of a write that the cluster did
// not take, and of one that it may have taken.
func TestWriteErrors(t *testing.T) {
	tests := []struct {
		err                error
		later, unsure, big bool
	}{
		{err: &cluster.NoQuorumError{Reachable: 1, Voters: 3}, later: true},
		{err: &cluster.NoQuorumError{Reachable: 1, Voters: 3, Sent: true}, later: true, unsure: true},
		{err: fmt.Errorf("the leader did not answer: %w", cluster.ErrNotLeader), later: true},
		{err: fmt.Errorf("the leader did not answer: %w", cluster.ErrNoLeader), later: true},
		{err: fmt.Errorf("%w: %w", cluster.ErrNotLeader, cluster.ErrOutcomeUnknown), unsure: true},
		{err: cluster.ErrBusy, later: true},
		{err: cluster.ErrClosed, later: true},
		{err: cluster.ErrCommandTooLarge, big: true},
		{err: errors.New("disk")},
	}
	for _, tt := range tests {
		got := writeError(tt.err)
		var later interface{ RetryAfter() time.Duration }
		if errors.As(got, &later) != tt.later || errors.Is(got, api.ErrUnconfirmed) != tt.unsure || errors.Is(got, api.ErrTooLarge) != tt.big || !errors.Is(got, tt.err) {
			t.Errorf("%v became %v", tt.err, got)
		}
	}
	if writeError(nil) != nil {
		t.Error("a success became an error")
	}
}

func TestTail(t *testing.T) {
	var tl tail
	if got := tl.last(); got != "" {
		t.Errorf("last line of nothing: %q", got)
	}
	for i := range 1000 {
		fmt.Fprintf(&tl, "line %d\n", i)
	}
	if got := tl.last(); got != "line 999" || len(tl.data) > tailBytes {
		t.Errorf("last line %q, %d bytes kept", got, len(tl.data))
	}
}

func TestOperationStatus(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{fmt.Errorf("x: %w", cluster.ErrUnknownNode), 404},
		{cluster.ErrLastVoter, 409}, {cluster.ErrAlive, 409}, {errLeaving, 409},
		{errNoLeader, 503}, {cluster.ErrNoLeader, 503}, {fmt.Errorf("x: %w", &cluster.NoQuorumError{Voters: 3}), 503},
		{errors.New("disk"), 500},
	}
	for _, tt := range tests {
		if got := operationStatus(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestServedIndex(t *testing.T) {
	s := newServedIndex()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ended, 1); !errors.Is(err, context.Canceled) || s.Index() != 0 {
		t.Errorf("without a data plane: %v, index %d", err, s.Index())
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), 7) }()
	s.set(planeAt(7))
	if err := <-waited; err != nil || s.Index() != 7 {
		t.Errorf("with one: %v, index %d", err, s.Index())
	}
}

// planeAt is a data plane at an index.
type planeAt uint64

func (p planeAt) Index() uint64 { return uint64(p) }
func (p planeAt) Wait(_ context.Context, index uint64) error {
	if index > uint64(p) {
		return errors.New("not yet")
	}
	return nil
}

func TestAPIListeners(t *testing.T) {
	ls, err := config.ParseListen("0.0.0.0:8443 http2 ssl reuseport backlog=16384, [::1]:80 deferred bind")
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Listener{
		{Listener: "0.0.0.0:8443 ssl http2 reuseport backlog=16384", IP: "0.0.0.0", Port: 8443, SSL: true, HTTP2: true, Reuseport: true, Backlog: true},
		{Listener: "[::1]:80 deferred bind", IP: "::1", Port: 80, Deferred: true, Bind: true},
	}
	if diff := cmp.Diff(want, apiListeners(ls)); diff != "" {
		t.Error(diff)
	}
}
