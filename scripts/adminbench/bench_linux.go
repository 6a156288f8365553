package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// bench is one run of the program.
type bench struct {
	opts     options
	dir      string // temporary, of all nodes
	starter  *machine.Starter
	cores    []int
	progress io.Writer
	clusters int     // how many were started
	names    int     // how many were given
	others   float64 // greatest share of the machine that others had in a round of this measure
}

// newBench makes the directory of a run. A bench that is no longer used must be closed.
func newBench(opts options, progress io.Writer) (*bench, error) {
	cores, err := machine.Cores()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(opts.dir, "adminbench")
	if err != nil {
		return nil, err
	}
	return &bench{opts: opts, dir: dir, starter: machine.NewStarter(), cores: cores, progress: progress}, nil
}

// close ends all processes and removes their data.
func (b *bench) close() {
	b.starter.Close()
	if err := os.RemoveAll(b.dir); err != nil {
		b.say("%v", err)
	}
}

// say is a line of progress.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// outcome is what a measure gave. Where it failed there may be figures of the rounds before.
type outcome struct {
	measure measure
	figures []*figure
	others  float64
	err     error
}

// all measures, prints and keeps. A measure that fails does not keep the others from being done, but the run
// from being a success.
func (b *bench) all(ctx context.Context, stdout io.Writer) error {
	list, err := chosen(b.opts.only)
	if err != nil {
		return err
	}
	start := time.Now()
	var results []outcome
	var failed []error
	for _, m := range list {
		b.others = 0
		b.say("%s: %s", m.name, m.title)
		rounds := b.opts.rounds
		if m.most > 0 {
			rounds = min(rounds, m.most)
		}
		figures, err := m.run(ctx, b, rounds)
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing is written")
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
			b.say("%s failed: %v", m.name, err)
		}
		results = append(results, outcome{m, figures, b.others, err})
	}
	text := b.report(results, start)
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if b.opts.out != "" {
		if err := errors.Join(os.MkdirAll(filepath.Dir(b.opts.out), 0o755), os.WriteFile(b.opts.out, []byte(text), 0o644)); err != nil {
			return err
		}
		b.say("the table is in %s", b.opts.out)
	}
	return errors.Join(failed...)
}

// name gives one that nothing has yet.
func (b *bench) name(prefix string) string {
	b.names++
	return fmt.Sprintf("%s%d", prefix, b.names)
}

// watch begins to look how busy others keep the machine while a cluster is measured; the function that it gives
// ends that. Others are whoever is neither a node nor this process, and time that the hypervisor took.
func (b *bench) watch(c *cluster) func() {
	pids := append(c.pids(), os.Getpid())
	read := func() (at time.Time, busy time.Duration, own machine.Usage, err error) {
		at = time.Now()
		own, err = machine.UsageOf(pids)
		if err == nil {
			busy, _, err = machine.Busy()
		}
		return at, busy, own, err
	}
	start, busyBefore, ownBefore, err := read()
	return func() {
		end, busy, own, err2 := read()
		if err != nil || err2 != nil {
			b.say("how busy the machine was is not known: %v", errors.Join(err, err2))
			return
		}
		used, _ := own.CPUSince(ownBefore)
		whole := end.Sub(start) * time.Duration(runtime.NumCPU())
		b.others = max(b.others, 100*float64(busy-busyBefore-used)/float64(whole))
	}
}
