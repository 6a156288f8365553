package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buildSluice builds the binary under test.
func buildSluice(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice")
	build := exec.Command("go", "build", "-pgo=off", "-o", path, "github.com/sluicegate/sluice/cmd/sluice")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// smallOptions are those of a run of seconds.
func smallOptions(t *testing.T, binary string) options {
	return options{rounds: 1, duration: 2 * time.Second, // a busy machine needs so long for a POST
		sluice: binary, dir: t.TempDir(), out: filepath.Join(t.TempDir(), "docs", "x.md"),
		sizes: sizes{clients: 4, present: 20, consumers: 55, page: 10, routes: 20, batch: 30, snapshot: 20_000, changes: 1, quiet: 20 * time.Millisecond}}
}

// TestRealNodes builds the binary once.
func TestRealNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real nodes for some seconds")
	}
	binary := buildSluice(t)
	t.Run("everything", func(t *testing.T) { everything(t, smallOptions(t, binary)) })
	t.Run("interrupted", func(t *testing.T) { interrupted(t, smallOptions(t, binary)) })
}

// everything is the whole run, in small. How fast anything is depends on the machine, so no time is wanted; every figure
// is there, and nothing of small size has a goal it could meet.
func everything(t *testing.T, o options) {
	var progress, stdout bytes.Buffer
	b, err := newBench(o, &progress)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := b.all(t.Context(), &stdout); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	text := stdout.String()
	kept, err := os.ReadFile(o.out)
	if err != nil || string(kept) != text {
		t.Errorf("the file is not what is printed: %v", err)
	}
	for _, want := range []string{
		"the disk alone", "mixed writes through a follower", "mixed writes through the leader", "GET of a consumer by its id, p50 | us | <= 100",
		"55 consumers with a key each", "middle page of 10 of 55 consumers", "until all three proxies serve the last", "in a snapshot on every disk",
		"of eight writes two POST", "others kept up to",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	for _, not := range []string{"| - (", "NaN", "0 (0 to", "| - | -", "failed", "not measured", ">= 1000"} {
		if strings.Contains(text, not) {
			t.Errorf("the table has %q", not)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	b.close()
	if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}

// interrupted: the end of the context, which Ctrl-C is, ends a load in the middle, writes nothing and leaves nothing.
func interrupted(t *testing.T, o options) {
	o.duration, o.only = time.Hour, []string{"get"}
	ctx, cancel := context.WithCancel(t.Context())
	b, err := newBench(o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	c, err := b.startCluster(ctx, "get")
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	n := c.nodes[0]
	if _, err := b.bringIn(ctx, n, set{consumers: 1}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := b.load(ctx, n, "w", b.opts.sizes.clients, 0); err == nil {
		t.Error("an hour of writes ended without an error")
	}
	if err := b.all(ctx, io.Discard); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	c.stop()
	for _, n := range c.nodes {
		select {
		case <-n.process.Ended():
		default:
			t.Errorf("%s still runs", n.name)
		}
	}
	b.close()
	if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
	if _, err := os.Stat(o.out); !os.IsNotExist(err) {
		t.Errorf("a table was written: %v", err)
	}
}

// TestAFailedStartSaysWhy: the node ends at once, and its words are told.
func TestAFailedStartSaysWhy(t *testing.T) {
	script := filepath.Join(t.TempDir(), "sluice")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := newBench(options{rounds: 1, duration: time.Second, sluice: script, dir: t.TempDir(), only: []string{"routes"}, sizes: usualSizes()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	var stdout bytes.Buffer
	if err := b.all(t.Context(), &stdout); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(stdout.String(), "**failed**") {
		t.Errorf("the table does not say it:\n%s", stdout.String())
	}
}

// answering is a node that gives every request the same answer.
func answering(t *testing.T, status int, header, body string) *client {
	t.Helper()
	address, stop, err := serve(func(w http.ResponseWriter, _ *http.Request) {
		if name, value, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c, err := dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// TestWrongAnswersEndTheWriters: none is passed over.
func TestWrongAnswersEndTheWriters(t *testing.T) {
	for name, test := range map[string]struct {
		status             int
		header, body, want string
	}{
		"status":     {200, "", `{"username":"w-1","id":"x"}`, "200"},
		"field":      {201, "", `{"username":"other","id":"x"}`, `"other"`},
		"no JSON":    {201, "", `username`, "username"},
		"no id":      {201, "", `{"username":"w-1"}`, "no id"},
		"late":       {201, "X-Sluice-Not-Served: node2", `{"username":"w-1","id":"x"}`, "node2"},
		"the second": {201, "", `{"username":"w-1","id":"x"}`, "key is"},
		"closed":     {201, "Connection: close", `{"username":"w-1","id":"x"}`, "kept alive"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &writer{c: answering(t, test.status, test.header, test.body), name: "w", until: time.Now().Add(time.Hour)}
			if err := w.run(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWrongBytesEndTheReaders(t *testing.T) {
	c := answering(t, 200, "", "right")
	b := &bench{}
	if times, err := b.ask(t.Context(), c.host, []item{{"/", []byte("right")}}, 0); err != nil || len(times) != 2 || times[0] <= 0 {
		t.Errorf("%v, %v", times, err)
	}
	if _, err := b.ask(t.Context(), c.host, []item{{"/", []byte("wrong")}}, 0); err == nil {
		t.Error("wrong bytes are passed over")
	}
}

func TestImportAnswers(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"count":2,"changes":[{"action":"create"},{"action":"create"}]}`: true,
		`{"count":1,"changes":[{"action":"create"}]}`:                     false,
		`{"count":2,"changes":[{"action":"create"}]}`:                     false,
		`{"count":2,"changes":[{"action":"create"},{"action":"update"}]}`: false,
		`{}`: false, `x`: false,
	} {
		if err := (&answer{status: 201, header: http.Header{}, body: []byte(body)}).created(2); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
	late := &answer{status: 201, header: http.Header{"X-Sluice-Not-Served": {"node3"}}, body: []byte(`{"count":0}`)}
	if err := late.created(0); err == nil || !strings.Contains(err.Error(), "node3") {
		t.Errorf("a late node is passed over: %v", err)
	}
}

// TestDocumentsAreWhole: none is larger than a batch, and nothing is lost between two.
func TestDocumentsAreWhole(t *testing.T) {
	s := set{first: 7, consumers: 25, batch: 20}
	var names []string
	for _, d := range s.documents() {
		if len(d.Consumers) > 10 || len(d.Services) > 0 {
			t.Errorf("%d consumers, %d services", len(d.Consumers), len(d.Services))
		}
		for _, c := range d.Consumers {
			names = append(names, fmt.Sprint(c["username"]))
		}
	}
	if len(names) != 25 || names[0] != "consumer-000007" || names[24] != "consumer-000031" {
		t.Errorf("%v", names)
	}
	s = set{routes: 3, batch: 1, upstream: "127.0.0.1:1"}
	if list := s.documents(); len(list) != 3 || len(list[2].Services) != 1 || list[2].Services[0]["name"] != "service-00002" {
		t.Errorf("%v", list)
	}
}

func TestSnapshots(t *testing.T) {
	n := &node{name: "node1", dir: t.TempDir()}
	parent := filepath.Join(n.data(), "cluster", "snapshots")
	if dir, err := n.snapshot(1); dir != "" || err != nil {
		t.Errorf("%q, %v", dir, err)
	}
	add := func(name, meta string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(parent, name, "meta.json"), []byte(meta), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	add("2-10-1700000000000", `{"Index":10}`)
	add("2-20-1700000000001.tmp", `{"Index":20}`)
	for index, want := range map[uint64]string{9: "2-10-1700000000000", 10: "2-10-1700000000000", 11: "", 20: ""} {
		if dir, err := n.snapshot(index); err != nil || want == "" && dir != "" || want != "" && filepath.Base(dir) != want {
			t.Errorf("%d: %q, %v", index, dir, err)
		}
	}
	add("2-30-1700000000002", `{"Index":3}`)
	if _, err := n.snapshot(30); err == nil {
		t.Error("the name counts, and not what meta.json says")
	}
}

func TestFiguresAreJudged(t *testing.T) {
	for name, test := range map[string]struct {
		f    figure
		want string
	}{
		"met":         {figure{goal: 5, values: []float64{1, 4, 90}}, "met"},
		"missed":      {figure{goal: 5, values: []float64{1, 6, 7}}, "**missed**"},
		"at least":    {figure{goal: 5, atLeast: true, values: []float64{1, 6, 7}}, "met"},
		"too few":     {figure{goal: 5, atLeast: true, values: []float64{4, 4, 7}}, "**missed**"},
		"even":        {figure{goal: 5, values: []float64{4, 7}}, "**missed**"},
		"no goal":     {figure{values: []float64{1}}, "-"},
		"not reached": {figure{goal: 5}, "**not measured**"},
	} {
		if got := test.f.verdict(false); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	f := figure{goal: 5, values: []float64{1}}
	if got := f.verdict(true); got != "not judged" {
		t.Errorf("in memory: %s", got)
	}
	if got := (&figure{values: []float64{1234.6, 0.01234, 3}}).seen(); got != "3 (0.0123 to 1235)" {
		t.Error(got)
	}
	times := []time.Duration{5, 1, 4, 2, 3}
	if p50, p99 := quantile(times, 0.5), quantile(times, 0.99); p50 != 3 || p99 != 5 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-help"}, io.Discard, &out); err != nil {
		t.Error(err)
	}
	for _, m := range measures() {
		if !strings.Contains(out.String(), m.title) {
			t.Errorf("the help has no %q", m.title)
		}
	}
	// Its own binary is a good enough one to be measured, and makes no profiles.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"x"}, {"-rounds", "0"}, {"-only", "writes,rain"}, {"-sluice", "/nonexistent"}, {"-sluice", self, "-profile", t.TempDir()}, {"-routes", "0"}, {"-batch", "0"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	for _, test := range []struct {
		args []string
		out  string
	}{{nil, "docs/benchmarks-admin.md"}, {[]string{"-only", "get, writes"}, ""}, {[]string{"-consumers", "5"}, ""}, {[]string{"-routes", "5", "-out", "y.md"}, "y.md"}} {
		if o, err := parse(append(test.args, "-sluice", self), io.Discard); err != nil || o.out != test.out {
			t.Errorf("%q: written to %q, %v", test.args, o.out, err)
		}
	}
}
