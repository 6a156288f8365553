package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
)

// TestConfigurationsAreTaken asks nginx and haproxy themselves.
func TestConfigurationsAreTaken(t *testing.T) {
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	b := &bench{dir: t.TempDir(), tools: tools}
	if b.cert, err = makeCert(b.dir); err != nil {
		t.Fatal(err)
	}
	for _, s := range []setup{
		{Cores: []int{0}, Service: "127.0.0.1:1", Routes: routePaths(fewRoutes)},
		{Cores: []int{0, 1}, Service: "127.0.0.1:1", Routes: routePaths(1), AccessLog: true},
	} {
		target, err := b.newTarget("test", s)
		if err != nil {
			t.Fatal(err)
		}
		conf := filepath.Join(target.dir, "conf")
		if err := b.render(nginxConf, conf, target, s); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tools.nginx, "-t", "-p", target.dir, "-c", conf).CombinedOutput(); err != nil || bytes.Contains(out, []byte("warn")) {
			t.Errorf("nginx: %v\n%s", err, out)
		}
		if tools.haproxy == "" {
			continue
		}
		if err := b.render(haproxyConf, conf, target, s); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tools.haproxy, "-c", "-f", conf).CombinedOutput(); err != nil || bytes.Contains(out, []byte("WARNING")) {
			t.Errorf("haproxy: %v\n%s", err, out)
		}
	}
}

func TestWorksAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range works() {
		if seen[w.name] || w.name == "" || w.title == "" || w.sample == nil && w.measure == nil || w.figure.of == nil || w.cores < 1 || w.cores > 2 {
			t.Errorf("%+v", w)
		}
		seen[w.name] = true
		if w.limit <= 0 != w.noGoal {
			t.Errorf("%s: a goal, or none", w.name)
		}
		if n := len(w.entrants(tools{haproxy: "x"})); n < 2 {
			t.Errorf("%s compares %d", w.name, n)
		}
	}
	if _, err := chosen(works(), []string{"small", "nothing"}); err == nil {
		t.Error("a work that is not there was chosen")
	}
	if list, err := chosen(works(), []string{"limits"}); err != nil || len(list) != len(limitWorks()) {
		t.Error("the works of limits are not chosen by their group", err)
	}
	if list, err := chosen(works(), []string{"tls", "small"}); err != nil || len(list) != 2 || list[0].name != "tls" {
		t.Error(list, err)
	}
}

func TestFlags(t *testing.T) {
	var help bytes.Buffer
	if err := run([]string{"--help"}, nil, io.Discard, &help); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"apt-get install nginx", "-rounds", "-only", "Ctrl-C", "docs/benchmarks.md"} {
		if !strings.Contains(help.String(), word) {
			t.Errorf("the help does not speak of %s", word)
		}
	}
	for _, args := range [][]string{{"-rounds", "0"}, {"-duration", "1ms"}, {"more"}, {"-what"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if o, err := parse(nil, io.Discard); err != nil || o.out != "docs/benchmarks.md" || o.rounds < 7 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse([]string{"-only", "a,b"}, io.Discard); err != nil || o.out != "" || len(o.only) != 2 {
		t.Errorf("part of the works would overwrite the whole table: %+v, %v", o, err)
	}
	var list bytes.Buffer
	if err := run([]string{"-list"}, nil, &list, io.Discard); err != nil || strings.Count(list.String(), "\n") != len(works()) {
		t.Error(err, list.String())
	}
}

func TestParseH2load(t *testing.T) {
	const good = "starting benchmark...\n\nfinished in 12.34ms, 16233.77 req/s, 1.89MB/s\n" +
		"requests: 200 total, 200 started, 200 done, 200 succeeded, 0 failed, 0 errored, 0 timeout\n" +
		"status codes: 200 2xx, 0 3xx, 0 4xx, 0 5xx\n"
	done, rate, err := parseH2load(good)
	if err != nil || done != 200 || rate != 16233.77 {
		t.Error(done, rate, err)
	}
	for _, change := range [][2]string{{"200 2xx, 0 3xx", "199 2xx, 1 3xx"}, {"0 failed", "1 failed"}, {"finished", "ended"}, {"200 2xx", "100 2xx"}, {good, ""}} {
		if _, _, err := parseH2load(strings.Replace(good, change[0], change[1], 1)); err == nil {
			t.Errorf("%q was taken", change[1])
		}
	}
}

// roundsOf gives CPU figures of two contestants.
func roundsOf(first, second []float64, others float64) *result {
	r := &result{work: works()[0], names: []string{"nginx", "sluice"}, samples: make([][]*sample, 2)}
	for i := range first {
		r.samples[0] = append(r.samples[0], &sample{PerRequest: first[i]})
		r.samples[1] = append(r.samples[1], &sample{PerRequest: second[i]})
	}
	r.samples[1][len(first)-1].Others = others
	return r
}

func TestEvaluate(t *testing.T) {
	fast := []float64{8, 8, 8, 80}
	slow := []float64{10, 10, 20, 10}
	if o := evaluate(roundsOf(slow, fast, 0)); !o.met || o.noise != 0 || o.ratio[1] != (spread{0.8, 0.4, 8, 0}) {
		t.Errorf("%+v", o)
	}
	if o := evaluate(roundsOf(slow, fast, 0.5)); o.rounds != 3 || o.noise != 1 || o.ratio[1].max != 0.8 {
		t.Errorf("a disturbed round counts: %+v", o)
	}
	if o := evaluate(roundsOf(slow[:3], fast[:3], 0.5)); o.rounds != 3 || o.noise != 1 {
		t.Errorf("too few rounds are left: %+v", o)
	}
	if o := evaluate(roundsOf(fast, slow, 0)); o.met {
		t.Errorf("met at %+v", o.ratio[1])
	}
	broken := roundsOf(slow, fast, 0)
	broken.samples[1][0].Failed, broken.samples[1][0].Fault = 1, "status 502"
	if o := evaluate(broken); o.met || !strings.Contains(o.verdict(&broken.work), "502") {
		t.Error("a failed request meets the goal")
	}
}

// TestRoundsWithCoresApart: the table tells of rounds in which a host had moved the
// cores, and both ratios.
func TestRoundsWithCoresApart(t *testing.T) {
	r := roundsOf([]float64{10, 10, 10, 20}, []float64{8, 8, 8, 18}, 0)
	if text := apartText(r); text != "" {
		t.Errorf("nothing is known, but: %s", text)
	}
	for i, d := range []time.Duration{80, 90, 150, 400} {
		r.samples[0][i].Apart, r.samples[1][i].Apart = 80, d
	}
	if text := apartText(r); text != "; in 1 of 4 rounds the cores were 400 ns apart in place of 80: 0.90 x there, 0.80 x in the others" {
		t.Error(text)
	}
	r.samples[1][3].Apart = 100
	if text := apartText(r); text != "" {
		t.Errorf("they were not moved, but: %s", text)
	}
}

func TestReportAndPlot(t *testing.T) {
	two := roundsOf([]float64{10, 11}, []float64{40, 50}, 0.9)
	two.heads = map[string]string{"nginx": "HTTP/1.1 200 OK\nServer: nginx\n", "sluice": "HTTP/1.1 200 OK\nVia: x\n"}
	own := roundsOf([]float64{1}, []float64{1}, 0)
	own.names, own.work = []string{"10 routes", "5,000 routes"}, works()[13]
	skipped := result{work: works()[11], skipped: "h2load is not installed"}
	broken := result{work: works()[10], fault: errors.New("status 502\nand more"), samples: [][]*sample{{{PerRequest: 1}}, nil}, names: []string{"nginx", "sluice"}}
	results := []result{*two, skipped, *own, broken}
	b := &bench{opts: options{rounds: 2, duration: time.Second, out: filepath.Join(t.TempDir(), "docs", "x.md")}}
	text := b.report(results, time.Now())
	for _, want := range []string{"**missed**", "**the machine was disturbed** in 1 of 2", "<= 0.85 x", "not installed", "Via: x", "**failed**: status 502 and more", "| routes | 5,000 routes |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if err := b.keep(text, results); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(b.opts.out)
	if err != nil || !bytes.Contains(kept, []byte("(x.svg)")) {
		t.Error(err, "the report does not show its plot")
	}
	svg, err := os.ReadFile(strings.TrimSuffix(b.opts.out, ".md") + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
}

func TestRequestsAreComplete(t *testing.T) {
	w := works()[7]
	job := w.job(&target{plain: "127.0.0.1:1"}, []string{"/r0/", "/r1/"}, time.Second)
	if len(job.Requests) != 2 || !bytes.HasPrefix(job.Requests[1], []byte("POST /r1/echo HTTP/1.1\r\n")) || !bytes.HasSuffix(job.Requests[1], load.EchoBody()) {
		t.Errorf("%.200q", job.Requests)
	}
}

// TestMeasuresNginx is the whole way with the proxy that must be there: this
// test binary is generator and service (TestMain).
func TestMeasuresNginx(t *testing.T) {
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	var progress bytes.Buffer
	b := newTestBench(t, tools, &progress)
	for _, name := range []string{"small", "post", "tls", "p99-8000"} {
		list, err := chosen(works(), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		w := list[0]
		w.rate, w.sets = min(w.rate, 500), 1
		if name == "small" {
			w.sets = 2
		}
		w.contestants = []contestant{{name: "nginx", start: startNginx}}
		r, err := b.measure(context.Background(), w)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, progress.String())
		}
		if n := len(r.samples[0]); n != w.sets {
			t.Errorf("%s: %d samples in %d sets of one round", name, n, w.sets)
		}
		if s := r.samples[0][0]; s.PerRequest <= 0 || s.PerSecond <= 0 || s.P99 <= 0 || s.RSS < 1<<20 {
			t.Errorf("%s: %s", name, s)
		}
	}
	if err := b.service.Wait(); err != nil {
		t.Errorf("the service did not end by itself: %v", err)
	}
}

// TestMeasuresTheRelay: it passes requests on that are short and long, each
// answer of which is checked.
func TestMeasuresTheRelay(t *testing.T) {
	var progress bytes.Buffer
	b := newTestBench(t, tools{}, &progress)
	for _, name := range []string{"floor", "floor-post"} {
		list, err := chosen(works(), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		w := list[0]
		w.contestants, w.sets = w.contestants[1:], 1
		r, err := b.measure(context.Background(), w)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, progress.String())
		}
		if s := r.samples[0][0]; r.names[0] != "relay" || s.PerRequest <= 0 || s.PerSecond <= 0 || s.Failed > 0 {
			t.Errorf("%s: %s", name, s)
		}
	}
}

func TestCancelStopsAtOnce(t *testing.T) {
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	b := newTestBench(t, tools, io.Discard)
	b.opts.duration = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	w := works()[0]
	w.contestants = []contestant{{name: "nginx", start: func(ctx context.Context, b *bench, s setup) (*target, error) {
		defer cancel()
		return startNginx(ctx, b, s)
	}}}
	if _, err := b.measure(ctx, w); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
