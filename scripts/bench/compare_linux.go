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
	fault   error       // why it was given up
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
		// A work that fails is a row that says so; the others are still worth it.
		r, fault := b.measure(ctx, w)
		if ctx.Err() != nil {
			return errors.New("stopped; nothing is written")
		}
		if r.fault = fault; fault != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", w.name, fault))
		}
		results = append(results, r)
		b.tell("%s", oneLine(&r))
	}
	report := b.report(results, began)
	_, fault := io.WriteString(stdout, report)
	return errors.Join(err, fault, b.keep(report, results))
}

func (b *bench) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, format+"\n", args...)
}

// layout gives the proxy its cores; the load has others, as far as there are.
func (b *bench) layout(w *work) (proxy []int) {
	proxy = b.cores[:w.cores]
	b.loadCores = b.cores[w.cores:min(w.cores+w.cores, len(b.cores))]
	if len(b.cores) < 2*w.cores {
		b.loadCores = b.cores // two for two on a machine of two: all share
	}
	return proxy
}

// field is the contestants of one work.
type field struct {
	entrants []contestant
	targets  []*target // by entrant; nil where none runs
	setup    setup
	repeats  int // of disturbed samples that are left
}

// stop ends all that run.
func (f *field) stop() {
	for i, t := range f.targets {
		if t != nil && !f.entrants[i].shared {
			t.process.Stop()
		}
		f.targets[i] = nil
	}
}

// measure runs the rounds of one work.
func (b *bench) measure(ctx context.Context, w work) (result, error) {
	r := result{work: w, heads: map[string]string{}}
	if r.skipped = b.tools.lack(w.needs); r.skipped != "" {
		return r, nil
	}
	b.tell("%s: %s", w.name, w.title)
	rounds := w.repeated(b.opts.rounds)
	f := &field{entrants: w.entrants(b.tools)}
	f.targets, f.repeats = make([]*target, len(f.entrants)), rounds*len(f.entrants)
	r.samples = make([][]*sample, len(f.entrants))
	for _, e := range f.entrants {
		r.names = append(r.names, e.name)
	}
	if w.measure != nil {
		err := w.measure(ctx, b, &r)
		return r, err
	}
	f.setup = setup{Cores: b.layout(&w), AccessLog: w.accessLog, plugins: w.plugins}
	for first := 0; first < rounds; first += rounds / max(1, w.sets) {
		if err := b.set(ctx, &r, f, first, first+rounds/max(1, w.sets)); err != nil {
			return r, err
		}
	}
	return r, nil
}

// set runs rounds of processes that are started for them.
func (b *bench) set(ctx context.Context, r *result, f *field, first, end int) error {
	if err := b.startService(&f.setup); err != nil {
		return err
	}
	defer b.stopService()
	defer f.stop()
	for round := first; round < end; round++ {
		if err := b.round(ctx, r, f, round); err != nil {
			return err
		}
	}
	return nil
}

// round takes one sample of each. The order rotates: who comes first has a
// cold machine.
func (b *bench) round(ctx context.Context, r *result, f *field, round int) error {
	for i := range f.entrants {
		k := (i + round) % len(f.entrants)
		name := f.entrants[k].name
		if err := b.ready(ctx, &r.work, f, k); err != nil {
			return err
		}
		sample, err := b.sampleOf(ctx, &r.work, f, k)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.heads[name] = f.targets[k].head
		r.samples[k] = append(r.samples[k], sample)
		b.tell("  round %d %-12s %s", round+1, name, sample)
		if r.work.fresh {
			f.stop()
		}
	}
	return nil
}

// ready starts contestant k if it does not run.
func (b *bench) ready(ctx context.Context, w *work, f *field, k int) (err error) {
	if f.targets[k] != nil {
		return nil
	}
	if f.entrants[k].shared {
		err = b.ready(ctx, w, f, 0)
		f.targets[k] = f.targets[0]
		return err
	}
	count := fewRoutes
	for _, n := range []int{w.routes, f.entrants[k].routes} {
		if n > 0 {
			count = n
		}
	}
	s := f.setup
	s.Routes = routePaths(count)
	t, err := f.entrants[k].start(ctx, b, s)
	if err != nil {
		return err
	}
	t.routeCount, f.targets[k] = count, t
	return nil
}

// sampleOf repeats a disturbed sample at most twice, and keeps the quietest.
func (b *bench) sampleOf(ctx context.Context, w *work, f *field, k int) (best *sample, err error) {
	take := w.sample
	if own := f.entrants[k].sample; own != nil {
		take = own
	}
	for try := 0; ; try++ {
		before := b.apart(f.setup.Cores)
		s, err := take(ctx, b, w, f.targets[k])
		if err != nil {
			return nil, err
		}
		s.Apart = max(before, b.apart(f.setup.Cores))
		if s.Failed > 0 && !w.tolerant {
			return nil, fmt.Errorf("%d requests failed: %s", s.Failed, s.Fault)
		}
		if best == nil || s.Failed > best.Failed || s.Failed == best.Failed && s.Others < best.Others {
			best = s // one that failed is never thrown away for a quieter one
		}
		if !s.disturbed() || w.figure.calm || try == 2 || f.repeats == 0 {
			return best, nil
		}
		f.repeats--
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
