package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
	"github.com/sluicegate/sluice/scripts/chaos/netns"
	"github.com/sluicegate/sluice/scripts/chaos/plan"
)

const progressEvery = 5 * time.Second

// run is one cluster, its clients and its faults, from start to end.
type run struct {
	o     options
	seed  uint64
	dir   string
	out   io.Writer
	plan  []plan.Fault
	wire  *netns.Switch // nil on loopback
	book  *book.Run
	begun time.Time
	first *netns.Space // the one by which it was tried whether there can be any
	up    *service
	// upstream is where the service listens, the same in every namespace.
	upstream string
	// members are the nodes that the cluster begins with.
	members []*node
	load    *load
	faults  *faultLog
	// changing is held while a limit is changed, so that changes have an order.
	changing sync.Mutex
	// saying is held while out is written to: faults overlap.
	saying sync.Mutex

	mu       sync.Mutex
	nodes    []*node // the members, and who has joined later
	spaces   []*netns.Space
	problems []string
	notes    []string
}

// single makes one run and counts it. Whatever happens, its processes and
// namespaces are gone when it returns.
func single(ctx context.Context, o options, seed uint64, dir string, out io.Writer) (s summary, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return s, err
	}
	// Nodes of another run's directory would be another cluster's.
	if err := os.Mkdir(dir, 0o755); err != nil {
		return s, fmt.Errorf("every run has a new directory: %w", err)
	}
	r := &run{o: o, seed: seed, dir: dir, out: out, book: &book.Run{Seed: seed}, up: newService()}
	if err := r.carryOut(ctx); err != nil {
		return s, err
	}
	s = summary{seed: seed, problems: r.problems, notes: r.notes}
	if s.result, err = check.Check(dir); err == nil && s.result.Admitted == 0 {
		s.problems = append(s.problems, "no client was admitted, so nothing was shown")
	}
	return s, err
}

func (r *run) carryOut(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.close()) }()
	steps := []func(context.Context) error{r.openNetwork, r.openNodes, r.configure, r.rage, r.end}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
	}
	return nil
}

// openNetwork makes the namespaces and the switch, or does without.
func (r *run) openNetwork(context.Context) error {
	kinds := r.o.kinds
	first := netip.AddrFrom4([4]byte{10, 77, 0, 1})
	if !r.o.plain {
		s, err := netns.New(first)
		if err == nil {
			r.wire, r.first = netns.NewSwitch(r.seed), s
			r.spaces = append(r.spaces, s)
			r.book.Network = "a namespace for each node, and a switch between them"
		} else {
			r.say("no namespaces (%v): the nodes are on loopback addresses, and nothing is done to the network", err)
		}
	}
	if r.wire == nil {
		r.book.Network = "loopback, nothing was done to it"
		kinds = slices.DeleteFunc(slices.Clone(kinds), plan.Kind.Network)
	}
	if r.plan = r.o.faults; r.plan == nil {
		r.plan = plan.Make(r.seed, r.o.duration, kinds)
	}
	return nil
}

// space gives the i-th namespace, from 1, with the service in it. mu is held.
func (r *run) space(i int) (s *netns.Space, err error) {
	switch {
	case r.wire == nil:
		// So many that another run has others.
		s = netns.Here(netip.AddrFrom4([4]byte{127, 77, byte(os.Getpid()), byte(os.Getpid()>>8&7<<5 | i)}))
		r.spaces = append(r.spaces, s)
		if i > 1 {
			return s, nil
		}
	case i == 1:
		s = r.first
		r.wire.Connect(s)
	default:
		if s, err = netns.New(netip.AddrFrom4([4]byte{10, 77, 0, byte(i)})); err != nil {
			return nil, err
		}
		r.spaces = append(r.spaces, s)
		r.wire.Connect(s)
	}
	return s, s.Do(func() error {
		at := "127.0.0.1:0"
		if r.upstream != "" {
			at = r.upstream
		}
		ln, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		r.upstream = ln.Addr().String()
		r.up.serve(ln)
		return nil
	})
}

// newNode makes a node that is not running yet.
func (r *run) newNode() (*node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.nodes) + 1
	s, err := r.space(i)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("node%d", i)
	n := &node{name: name, space: s, dir: filepath.Join(r.dir, name), binary: r.o.binary, problem: r.problem, note: r.note}
	r.nodes = append(r.nodes, n)
	return n, nil
}

// openNodes starts the cluster and waits for it.
func (r *run) openNodes(ctx context.Context) error {
	for range r.o.nodes {
		n, err := r.newNode()
		if err != nil {
			return err
		}
		r.members = append(r.members, n)
	}
	for _, n := range r.members {
		n.args = r.joinArgs()
		if err := n.start(); err != nil {
			return err
		}
	}
	var err error
	r.book.ClusterID, err = awaitCluster(ctx, r.members)
	return err
}

// joinArgs are the flags by which a node finds the first ones.
func (r *run) joinArgs() []string {
	var seeds []string
	for _, n := range r.members {
		seeds = append(seeds, n.addr(clusterPort))
	}
	return []string{"--join", strings.Join(seeds, ","), "--expect", fmt.Sprint(r.o.nodes)}
}

func (r *run) configure(ctx context.Context) (err error) {
	all := demands()
	if r.book.Limits, err = configure(ctx, r.members[0], r.upstream, all); err != nil {
		return err
	}
	r.load, err = newLoad(r.dir, all, r.o.load, r.serving)
	return err
}

// serving gives the nodes that may be expected to answer.
func (r *run) serving() (ns []*node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		if n.serves() {
			ns = append(ns, n)
		}
	}
	return ns
}

// rage is the time with load and faults.
func (r *run) rage(ctx context.Context) error {
	var err error
	if r.faults, err = newFaultLog(r.dir); err != nil {
		return err
	}
	r.begun, r.book.Begun = time.Now(), monotonic()
	loading, stopLoad := context.WithTimeout(ctx, r.o.duration)
	defer stopLoad()
	var all sync.WaitGroup
	var loadErr error
	all.Go(func() { loadErr = r.load.run(loading, r.seed) })
	all.Go(func() { r.report(loading) })
	picks := rand.New(rand.NewPCG(r.seed, 3))
	for _, f := range r.plan {
		in := &injector{run: r, fault: f, random: rand.New(rand.NewPCG(picks.Uint64(), 4))}
		all.Go(func() {
			if sleep(loading, time.Until(r.begun.Add(f.At))) {
				in.do(ctx)
			}
		})
	}
	all.Wait()
	r.book.Ended = monotonic()
	return errors.Join(loadErr, r.faults.close())
}

// sleep waits, and says whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// report tells how it goes.
func (r *run) report(ctx context.Context) {
	for sleep(ctx, progressEvery) {
		var states []string
		r.mu.Lock()
		for _, n := range r.nodes {
			state := "up"
			if !n.serves() {
				state = "down"
			}
			states = append(states, n.name+" "+state)
		}
		r.mu.Unlock()
		r.say("%s; admitted %d, refused %d, failed %d", strings.Join(states, ", "), r.load.admitted.Load(), r.load.refused.Load(), r.load.failed.Load())
	}
}

// end waits for the cluster to be whole again, stops the nodes as an operator
// would, and writes the book.
func (r *run) end(ctx context.Context) error {
	if _, err := awaitCluster(ctx, r.members); err != nil && ctx.Err() == nil {
		r.problem("when all faults were over: %v", err)
	}
	var all sync.WaitGroup
	for _, n := range r.nodes {
		n.resume()
		all.Go(n.term)
	}
	all.Wait()
	return book.WriteRun(r.dir, r.book)
}

// close ends what is left.
func (r *run) close() error {
	for _, n := range r.nodes {
		n.kill()
		n.reaping.Wait()
	}
	r.up.close()
	var errs []error
	for _, s := range r.spaces {
		errs = append(errs, s.Close())
	}
	if r.wire != nil {
		r.wire.Close()
	}
	return errors.Join(errs...)
}

// say tells a line of progress.
func (r *run) say(format string, args ...any) {
	at := ""
	if !r.begun.IsZero() {
		at = fmt.Sprintf("%5.1fs ", time.Since(r.begun).Seconds())
	}
	r.saying.Lock()
	defer r.saying.Unlock()
	_, _ = fmt.Fprintf(r.out, "  %s%s\n", at, fmt.Sprintf(format, args...))
}

// note takes note of something that should be told.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
	r.mu.Unlock()
	r.say("note: "+format, args...)
}

// problem takes note of something that should not have happened, besides what the
// checker counts.
func (r *run) problem(format string, args ...any) {
	r.mu.Lock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
	r.mu.Unlock()
	r.say("PROBLEM: "+format, args...)
}
