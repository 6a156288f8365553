package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
	"github.com/sluicegate/sluice/scripts/chaos/netns"
	"github.com/sluicegate/sluice/scripts/chaos/plan"
)

const (
	joinPatience  = 15 * time.Second
	leavePatience = 20 * time.Second
	// restorePatience is for how long a changed limit is tried to be changed back.
	restorePatience = 20 * time.Second
)

// injector carries out one fault.
type injector struct {
	run    *run
	fault  plan.Fault
	random *rand.Rand
}

// do begins the fault, waits, and ends it. When ctx ends, all of the cluster does,
// and nothing is mended any more.
func (in *injector) do(ctx context.Context) {
	rec := &book.Fault{Kind: string(in.fault.Kind), From: monotonic()}
	begin := map[plan.Kind]func(context.Context, *book.Fault) (end func()){
		plan.Cut: in.cut, plan.OneWay: in.oneWay, plan.Lossy: in.lossy, plan.Slow: in.slow,
		plan.Stop: in.stop, plan.Kill: in.kill, plan.Lose: in.kill, plan.All: in.all, plan.Term: in.term,
		plan.Join: in.join, plan.Clock: in.clock, plan.Limits: in.limits,
	}[in.fault.Kind]
	end := begin(ctx, rec)
	if end == nil {
		return // there was nothing to do it to
	}
	in.run.say("%s: %s", rec.Kind, rec.Text)
	if !sleep(ctx, in.fault.For) {
		return
	}
	end()
	rec.To = monotonic()
	in.run.faults.add(rec)
}

// target chooses one of the first nodes: the leader, or any.
func (in *injector) target(ctx context.Context) *node {
	members := in.run.members
	if in.fault.Leader {
		name := leaderOf(ctx, members)
		for _, n := range members {
			if n.name == name {
				return n
			}
		}
	}
	return members[in.fault.Pick%len(members)]
}

// describe fills in what is done, and to whom.
func (in *injector) describe(rec *book.Fault, text string, ns ...*node) {
	for _, n := range ns {
		rec.Nodes = append(rec.Nodes, n.name)
	}
	who := strings.Join(rec.Nodes, ", ")
	if in.fault.Leader && len(ns) == 1 {
		who += " (the leader, if there was one)"
	}
	rec.Text = fmt.Sprintf("%s %s, for %.1f s", who, text, in.fault.For.Seconds())
}

// cut cuts a minority off from the others: one node, and of five or more maybe
// others with it, which it can go on speaking with.
func (in *injector) cut(ctx context.Context, rec *book.Fault) func() {
	members := in.run.members
	first := slices.Index(members, in.target(ctx))
	var group []*node
	for i := range 1 + int(in.fault.Part*float64((len(members)-1)/2)) {
		group = append(group, members[(first+i)%len(members)])
	}
	rec.Isolates = true
	in.describe(rec, "cut off", group...)
	return in.link(group, netns.Link{Cut: true}, netns.Link{Cut: true})
}

// oneWay cuts a node off in one direction.
func (in *injector) oneWay(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	rec.Isolates = true
	if in.fault.Flag {
		in.describe(rec, "is not heard", t)
		return in.link([]*node{t}, netns.Link{Cut: true}, netns.Link{})
	}
	in.describe(rec, "hears nothing", t)
	return in.link([]*node{t}, netns.Link{}, netns.Link{Cut: true})
}

func (in *injector) lossy(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	rec.Isolates = true // with much loss
	l := netns.Link{Loss: 0.02 + 0.28*in.fault.Part*in.fault.Part, Double: 0.05 * in.random.Float64()}
	in.describe(rec, fmt.Sprintf("loses %.0f %% of its packets and doubles %.0f %%", 100*l.Loss, 100*l.Double), t)
	return in.link([]*node{t}, l, l)
}

func (in *injector) slow(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	l := netns.Link{Delay: time.Duration(in.fault.Part * in.fault.Part * float64(80*time.Millisecond))}
	if in.fault.Flag {
		l.Jitter = l.Delay
	}
	in.describe(rec, fmt.Sprintf("is %.1f to %.1f ms away", l.Delay.Seconds()*1000, (l.Delay+l.Jitter).Seconds()*1000), t)
	return in.link([]*node{t}, l, l)
}

// link sets what happens to packets from some nodes to the others, and from those
// to them, and gives the way back.
func (in *injector) link(group []*node, from, to netns.Link) func() {
	set := func(from, to netns.Link) {
		for _, other := range in.run.others(group) {
			for _, n := range group {
				in.run.wire.Set(n.space, other, from)
				in.run.wire.Set(other, n.space, to)
			}
		}
	}
	set(from, to)
	return func() { set(netns.Link{}, netns.Link{}) }
}

// others gives the namespaces of all nodes that are not in the group.
func (r *run) others(group []*node) (ss []*netns.Space) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		if !slices.Contains(group, n) {
			ss = append(ss, n.space)
		}
	}
	return ss
}

func (in *injector) stop(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	if !t.serves() {
		return nil
	}
	t.pause()
	in.describe(rec, "stopped (SIGSTOP)", t)
	return t.resume
}

// kill is kill -9 and a restart, with the file of tokens or without.
func (in *injector) kill(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	t.kill()
	text := "killed"
	if in.fault.Kind == plan.Lose {
		in.lose(t)
		rec.Lost = monotonic()
		text = "killed, and its cells lost"
	}
	in.describe(rec, text, t)
	return func() { in.start(t) }
}

// all kills all nodes at once.
func (in *injector) all(_ context.Context, rec *book.Fault) func() {
	members := in.run.members
	for _, n := range members {
		n.kill()
	}
	text := "killed"
	if in.fault.Part < 0.3 {
		for _, n := range members {
			in.lose(n)
		}
		rec.Lost = monotonic()
		text = "killed, and their cells lost"
	}
	in.describe(rec, text, members...)
	return func() {
		for _, n := range members {
			in.start(n)
		}
	}
}

func (in *injector) term(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	t.term()
	in.describe(rec, "restarted (SIGTERM)", t)
	return func() { in.start(t) }
}

func (in *injector) lose(n *node) {
	if err := os.Remove(filepath.Join(n.data(), "limits.cells")); err != nil && !errors.Is(err, os.ErrNotExist) {
		in.run.problem("%v", err)
	}
}

func (in *injector) start(n *node) {
	if err := n.start(); err != nil {
		in.run.problem("%v", err)
	}
}

// clock sets a node's wall clock, by milliseconds or by hours; the setting stays
// for good in half of the cases.
func (in *injector) clock(ctx context.Context, rec *book.Fault) func() {
	t := in.target(ctx)
	most := []time.Duration{20 * time.Millisecond, 2 * time.Second, time.Minute, 2 * time.Hour, 40 * 24 * time.Hour}
	offset := time.Duration((2*in.random.Float64() - 1) * float64(most[in.random.IntN(len(most))]))
	in.setClock(t, offset)
	in.describe(rec, fmt.Sprintf("has its clock set by %s", offset), t)
	if in.fault.Flag {
		return func() {}
	}
	return func() { in.setClock(t, 0) }
}

// setClock writes the file that a build for chaos reads; whole or not at all.
func (in *injector) setClock(n *node, offset time.Duration) {
	path := filepath.Join(n.data(), "clock-offset")
	err := os.WriteFile(path+".new", []byte(offset.String()), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		in.run.problem("%v", err)
	}
}

// join has a further node come, and leave.
func (in *injector) join(ctx context.Context, rec *book.Fault) func() {
	r := in.run
	n, err := r.newNode()
	if err == nil {
		n.args = r.joinArgs()
		err = n.start()
	}
	if err != nil {
		r.problem("a further node: %v", err)
		return nil
	}
	in.describe(rec, "joins", n)
	return func() { in.leave(n) }
}

func (in *injector) leave(n *node) {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	n.expectEnd()
	err := poll(ctx, leavePatience, n.name+" to leave", func() error {
		_, err := n.admin(ctx, http.MethodPost, "/cluster/leave", nil, nil)
		return err
	})
	if err != nil {
		in.run.say("%s cannot leave (%v), and is killed", n.name, err)
		n.kill()
		return
	}
	n.awaitEnd("leaving")
}

// limits changes a limit to half or twice as much, and back.
func (in *injector) limits(ctx context.Context, rec *book.Fault) func() {
	r := in.run
	i := in.fault.Pick % len(r.book.Limits)
	l := r.book.Limits[i]
	d := &demands()[i]
	original := d.windows
	changed := make([]book.Window, len(original))
	part := func(n int64) int64 { return max(1, int64(float64(n)*(0.5+1.5*in.fault.Part))) }
	for j, w := range original {
		w.Max = part(w.Max)
		if w.Burst > 0 && in.fault.Flag {
			w.Burst = part(w.Burst)
		}
		changed[j] = w
	}
	if !in.setLimit(ctx, d, l, changed) {
		rec.Text = "(not confirmed) "
	}
	rec.Text += fmt.Sprintf("%s changed to %v, for %.1f s", l.Name, changed, in.fault.For.Seconds())
	return func() {
		end := time.Now().Add(restorePatience)
		for !in.setLimit(context.Background(), d, l, original) && time.Now().Before(end) {
			time.Sleep(pollEvery)
		}
	}
}

// setLimit asks any node to change a limit, and says whether it was confirmed.
func (in *injector) setLimit(ctx context.Context, d *demand, l *book.Limit, to []book.Window) bool {
	in.run.changing.Lock()
	defer in.run.changing.Unlock()
	nodes := in.run.serving()
	if len(nodes) == 0 {
		return false
	}
	n := nodes[in.random.IntN(len(nodes))]
	terms := book.Terms{Asked: monotonic(), Windows: to}
	status, err := n.admin(ctx, http.MethodPatch, "/plugins/"+l.Plugin, form(d.budget(to)...), nil)
	if err == nil {
		terms.Confirmed = monotonic()
	}
	if status == 0 || err == nil || status >= 500 {
		l.Terms = append(l.Terms, terms)
	}
	return err == nil
}
