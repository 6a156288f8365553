package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// bench is one run of the program.
type bench struct {
	opts      options
	tools     tools
	self      string // this binary
	dir       string // temporary, of everything
	cert      cert
	starter   *machine.Starter
	coreCount int
	cores     []int // all that there are for us
	progress  io.Writer

	// Of the work that is being measured.
	loadCores []int
	service   *machine.Process
	stdin     io.Closer // of service: its end ends it
}

// result is one work, measured.
type result struct {
	work    work
	names   []string    // of the contestants
	samples [][]*sample // by contestant and round
	skipped string      // why it was not measured
	heads   map[string]string
}

// compare measures the chosen works and writes the tables.
func compare(ctx context.Context, opts options, stdout, stderr io.Writer) (err error) {
	list, err := chosen(works(), opts.only)
	if err != nil {
		return err
	}
	b := &bench{opts: opts, progress: stderr}
	if b.tools, err = findTools(); err != nil {
		return err
	}
	if _, err := os.Stat(opts.sluice); err != nil {
		return fmt.Errorf("%w: make build makes it", err)
	}
	if b.cores, err = machine.Cores(); err != nil {
		return err
	}
	if b.coreCount = len(b.cores); b.coreCount < 2 {
		return errors.New("two cores are needed: one for the proxy, one for the load")
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.cert, err = makeCert(b.dir); err != nil {
		return err
	}
	b.starter = machine.NewStarter()
	defer b.starter.Close()
	began := time.Now()
	var results []result
	for _, w := range list {
		r, err := b.measure(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		results = append(results, r)
		b.tell("%s", oneLine(&r))
	}
	report := b.report(results, began)
	if _, err := io.WriteString(stdout, report); err != nil {
		return err
	}
	return b.keep(report, results)
}

func (b *bench) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, format+"\n", args...)
}

// layout gives the proxy its cores; the load has others, as far as there are.
func (b *bench) layout(w *work) (proxy []int) {
	proxy = b.cores[:w.cores]
	b.loadCores = b.cores[w.cores:min(w.cores+w.cores, len(b.cores))]
	if len(b.loadCores) < w.cores {
		b.loadCores = b.cores // two for two on a machine of two: all share
	}
	return proxy
}

func (b *bench) paths(w *work, t *target) []string { return routePaths(t.routeCount) }

// measure runs the rounds of one work.
func (b *bench) measure(ctx context.Context, w work) (result, error) {
	entrants := w.entrants(b.tools)
	r := result{work: w, heads: map[string]string{}, samples: make([][]*sample, len(entrants))}
	for _, e := range entrants {
		r.names = append(r.names, e.name)
	}
	if w.needs == "h2load" && b.tools.h2load == "" {
		r.skipped = "h2load is not installed (apt-get install nghttp2-client)"
		return r, nil
	}
	b.tell("%s: %s", w.name, w.title)
	s := setup{Cores: b.layout(&w), AccessLog: w.accessLog, plugins: w.plugins}
	if err := b.startService(&s); err != nil {
		return r, err
	}
	defer b.stopService()
	targets := make([]*target, len(entrants))
	stop := func() {
		for i, t := range targets {
			if t != nil && !entrants[i].shared {
				t.process.Stop()
			}
			targets[i] = nil
		}
	}
	defer stop()
	rounds := b.opts.rounds
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	repeats := rounds * len(entrants) // of disturbed samples, in all
	for round := range rounds {
		for i := range entrants {
			// The order rotates: who comes first has a cold machine.
			k := (i + round) % len(entrants)
			if err := b.ready(ctx, &w, entrants, targets, k, s); err != nil {
				return r, err
			}
			sample, err := b.sampleOf(ctx, &w, &entrants[k], targets[k], &repeats)
			if err != nil {
				return r, fmt.Errorf("%s: %w", entrants[k].name, err)
			}
			r.heads[entrants[k].name] = targets[k].head
			r.samples[k] = append(r.samples[k], sample)
			b.tell("  round %d %-12s %s", round+1, entrants[k].name, sample)
			if w.fresh {
				stop()
			}
		}
	}
	return r, nil
}

// ready starts contestant k if it does not run.
func (b *bench) ready(ctx context.Context, w *work, entrants []contestant, targets []*target, k int, s setup) (err error) {
	if targets[k] != nil {
		return nil
	}
	if entrants[k].shared {
		if err := b.ready(ctx, w, entrants, targets, 0, s); err != nil {
			return err
		}
		targets[k] = targets[0]
		return nil
	}
	count := fewRoutes
	for _, n := range []int{w.routes, entrants[k].routes} {
		if n > 0 {
			count = n
		}
	}
	s.Routes = routePaths(count)
	if targets[k], err = entrants[k].start(ctx, b, s); err == nil {
		targets[k].routeCount = count
	}
	return err
}

// sampleOf repeats a disturbed sample at most twice, and keeps the quietest.
func (b *bench) sampleOf(ctx context.Context, w *work, e *contestant, t *target, repeats *int) (best *sample, err error) {
	take := w.sample
	if e.sample != nil {
		take = e.sample
	}
	for try := 0; ; try++ {
		s, err := take(ctx, b, w, t)
		if err != nil {
			return nil, err
		}
		if s.Failed > 0 && w.name != "swap" {
			return nil, fmt.Errorf("%d requests failed: %s", s.Failed, s.Fault)
		}
		if best == nil || s.Failed > best.Failed || s.Failed == best.Failed && s.Others < best.Others {
			best = s // one that failed is never thrown away for a quieter one
		}
		if !s.disturbed() || w.fresh || try == 2 || *repeats == 0 {
			return best, nil
		}
		*repeats--
		b.tell("    again: others used %.0f %% of the machine", 100*s.Others)
	}
}

// startService starts the service behind the proxies.
func (b *bench) startService(s *setup) error {
	cmd := exec.Command(b.self, "serve")
	cmd.Env = childEnv()
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, w, err := os.Pipe() // not StdoutPipe: that one ends with Wait
	if err != nil {
		return err
	}
	defer func() { _ = stdout.Close() }()
	cmd.Stdout = w
	b.service, err = b.starter.Start("service", cmd, b.loadCores, syscall.SIGKILL)
	_ = w.Close()
	if err != nil {
		return err
	}
	b.stdin = stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the service does not start: %w", err)
	}
	s.Service = strings.TrimSpace(line)
	return nil
}

func (b *bench) stopService() {
	_ = b.stdin.Close()
	select {
	case <-b.service.Ended():
	case <-time.After(5 * time.Second):
	}
	b.service.Stop()
}
