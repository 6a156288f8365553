package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// mix says what the writers do. Each goes through it again and again, with new names, and has one request under
// way. One consumer of two, without its key, is left of each time.
const mix = "of eight writes two POST (a consumer, a key for it), two PATCH (both of these), two PUT (the consumer by its name; another one by its name, which makes it), two DELETE (the key by its id, the other consumer by its name)"

const (
	warmUp = time.Second
	// elections is how often a round may be done anew because the leader changed.
	elections = 3
)

// writer is one client of the mixed writes.
type writer struct {
	c     *client
	name  string
	cycle int
	// since and until are when answers count.
	since, until time.Time
	count, total int // writes that count, and all
	posts        []time.Duration
	// every is how far apart its writes are due, 0: one when the one before is done;
	// due is when the next is.
	every time.Duration
	due   time.Time
}

// turn waits until the next write is due, and tells since when it counts: late is
// who was not done with the one before, not who woke up late.
func (w *writer) turn() time.Time {
	now := time.Now()
	if w.every == 0 {
		return now
	}
	due := w.due
	w.due = due.Add(w.every)
	if !now.Before(due) {
		return due
	}
	time.Sleep(due.Sub(now))
	return time.Now()
}

// done is what all writers did together.
type done struct {
	count, total int
	posts        []time.Duration
}

// run writes until the time is over. An answer that is not the right one ends it.
func (w *writer) run() error {
	for time.Now().Before(w.until) {
		if err := w.once(); err != nil {
			return err
		}
	}
	return nil
}

// once goes through the mix, to its end also when the time is over: what it leaves is then always the same.
func (w *writer) once() error {
	w.cycle++
	name := fmt.Sprintf("%s-%d", w.name, w.cycle)
	other, key, custom := name+"-other", name+"-key", name+"-custom"
	item, otherItem, keys := "/consumers/"+name, "/consumers/"+other, "/consumers/"+name+"/key-auth"
	var id struct{ consumer, key string }
	steps := []func() error{
		func() error {
			a, err := w.write(http.MethodPost, "/consumers", `{"username":"`+name+`"}`, http.StatusCreated, "username", quoted(name))
			if err == nil {
				id.consumer, err = a.id()
			}
			return err
		},
		func() error {
			a, err := w.write(http.MethodPost, keys, `{"key":"`+key+`"}`, http.StatusCreated, "key", quoted(key))
			if err == nil {
				id.key, err = a.id()
			}
			return err
		},
		func() error {
			_, err := w.write(http.MethodPatch, "/consumers/"+id.consumer, `{"tags":["patched"]}`, http.StatusOK, "tags", `["patched"]`)
			return err
		},
		func() error {
			_, err := w.write(http.MethodPatch, keys+"/"+id.key, `{"tags":["patched"]}`, http.StatusOK, "tags", `["patched"]`)
			return err
		},
		func() error {
			_, err := w.write(http.MethodPut, item, `{"custom_id":"`+custom+`"}`, http.StatusOK, "custom_id", quoted(custom))
			return err
		},
		func() error {
			_, err := w.write(http.MethodPut, otherItem, `{"tags":["put"]}`, http.StatusOK, "username", quoted(other))
			return err
		},
		func() error {
			_, err := w.write(http.MethodDelete, keys+"/"+id.key, "", http.StatusNoContent, "", "")
			return err
		},
		func() error {
			_, err := w.write(http.MethodDelete, otherItem, "", http.StatusNoContent, "", "")
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func quoted(s string) string { return `"` + s + `"` }

// write does one, checks the answer, and counts it if it was asked and answered in the time that counts.
func (w *writer) write(method, path, body string, status int, field, value string) (*answer, error) {
	var content []byte
	if body != "" {
		content = []byte(body)
	}
	start := w.turn()
	a, err := w.c.do(method, path, content)
	if err != nil {
		return nil, err
	}
	w.total++
	if took := time.Since(start); start.After(w.since) && start.Add(took).Before(w.until) {
		w.count++
		if method == http.MethodPost {
			w.posts = append(w.posts, took)
		}
	}
	if err := a.served(); err != nil {
		return nil, err
	}
	if field == "" {
		return a, a.empty(status)
	}
	return a, a.has(status, field, value)
}

// load runs so many writers against one node and adds up what they did. rate is how
// many writes a second are due, 0: as many as go.
func (b *bench) load(ctx context.Context, n *node, name string, clients int, rate float64) (*done, error) {
	writers := make([]*writer, clients)
	errs := make([]error, len(writers))
	since := time.Now().Add(min(warmUp, b.opts.duration))
	for i := range writers {
		c, err := dial(ctx, n.admin)
		if err != nil {
			return nil, err
		}
		defer c.close()
		w := &writer{c: c, name: name + "-" + strconv.Itoa(i), since: since, until: since.Add(b.opts.duration)}
		if writers[i] = w; rate > 0 {
			w.every = time.Duration(float64(clients) / rate * float64(time.Second))
			w.due = time.Now().Add(w.every * time.Duration(i) / time.Duration(clients))
		}
	}
	var all sync.WaitGroup
	for i, w := range writers {
		all.Go(func() { errs[i] = w.run() })
	}
	all.Wait()
	sum := &done{}
	for _, w := range writers {
		sum.count += w.count
		sum.total += w.total
		sum.posts = append(sum.posts, w.posts...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(sum.posts) == 0 {
		return nil, errors.New("not one POST began and ended in the time that counts: -duration is too short")
	}
	return sum, nil
}

// through is what is told of writes through one kind of node.
type through struct {
	leader              bool
	rate, p50, p99, cpu *figure
	paced, lone         *figure // p50 of POST
}

// pace is how many mixed writes a second are due where not as many as go are made.
const pace = 1000

func newThrough(kind string, leader, usual bool) *through {
	rate := &figure{what: "mixed writes through " + kind, unit: "1/s", atLeast: true}
	return &through{
		leader: leader,
		rate:   rate.withGoal(usual, 1000),
		p50:    (&figure{what: "POST among those through " + kind + ", p50", unit: "ms"}).withGoal(usual, 5),
		p99:    &figure{what: "POST among those through " + kind + ", p99", unit: "ms"},
		paced:  (&figure{what: fmt.Sprintf("POST among %d a second through %s, p50", pace, kind), unit: "ms"}).withGoal(usual, 5),
		lone:   (&figure{what: "POST of one client alone through " + kind + ", p50", unit: "ms"}).withGoal(usual, 5),
		cpu:    &figure{what: "CPU of the three nodes together for one write through " + kind, unit: "us"},
	}
}

// measureWrites alternates between a follower and the leader on one cluster, which grows meanwhile.
func measureWrites(ctx context.Context, b *bench, rounds int) ([]*figure, error) {
	usual := b.opts.sizes.clients == usualSizes().clients
	kinds := []*through{newThrough("a follower", false, usual), newThrough("the leader", true, usual)}
	disk := newDiskFigures()
	kinds[0].rate.note = fmt.Sprintf("%d clients, each of which writes again when it is answered; %s", b.opts.sizes.clients, mix)
	kinds[0].paced.note = fmt.Sprintf("the same %d clients and the same mix; counted from when the write was due, if its client was not free then", b.opts.sizes.clients)
	figures := disk.list()
	for _, k := range kinds {
		figures = append(figures, k.rate, k.p50, k.p99, k.cpu, k.paced, k.lone)
	}
	c, err := b.startCluster(ctx, "writes")
	if err != nil {
		return nil, err
	}
	defer c.stop()
	if _, err := b.bringIn(ctx, c.nodes[0], set{consumers: b.opts.sizes.present}); err != nil {
		return nil, err
	}
	again := 0
	for round := range rounds {
		// Snapshots of what was written before are on the disk then, and leave it alone.
		if err := pause(ctx, b.opts.sizes.quiet); err != nil {
			return figures, err
		}
		if err := b.measureDisk(ctx, disk); err != nil {
			return figures, err
		}
		for _, k := range kinds {
			for {
				same, err := b.writeRound(ctx, c, k, b.name("w"))
				if err != nil {
					return figures, err
				}
				if same {
					break
				}
				if again++; again > elections {
					return figures, fmt.Errorf("the leader changed %d times while nothing but writes was done", again)
				}
				k.rate.note += " (a round was done anew: the leader changed)"
			}
			b.say("writes, round %d, %s: %.0f/s, POST p50 %.2f ms, at %d/s %.2f, alone %.2f", round+1, k.rate.what,
				last(k.rate), last(k.p50), pace, last(k.paced), last(k.lone))
		}
	}
	return figures, nil
}

func last(f *figure) float64 { return f.values[len(f.values)-1] }

// writeRound is one load on one node. It gives false, and adds nothing, if the leader was another one afterwards.
func (b *bench) writeRound(ctx context.Context, c *cluster, k *through, name string) (same bool, err error) {
	leader, err := c.leader(ctx)
	if err != nil {
		return false, err
	}
	n := leader
	if !k.leader {
		if n, err = c.follower(ctx); err != nil {
			return false, err
		}
	}
	defer b.watch(c)()
	before, err := machine.UsageOf(c.pids())
	if err != nil {
		return false, err
	}
	did, err := b.load(ctx, n, name, b.opts.sizes.clients, 0)
	if err != nil {
		return false, fmt.Errorf("%s: %w", n.name, err)
	}
	after, err := machine.UsageOf(c.pids())
	if err != nil {
		return false, err
	}
	paced, err := b.load(ctx, n, name+"-paced", b.opts.sizes.clients, pace)
	if err != nil {
		return false, fmt.Errorf("%s: %w", n.name, err)
	}
	lone, err := b.load(ctx, n, name+"-lone", 1, 0)
	if err != nil {
		return false, fmt.Errorf("%s: %w", n.name, err)
	}
	if now, err := c.leader(ctx); err != nil || now != leader {
		return false, err
	}
	cpu, _ := after.CPUSince(before)
	k.rate.add(float64(did.count) / b.opts.duration.Seconds())
	k.p50.add(milliseconds(quantile(did.posts, 0.5)))
	k.p99.add(milliseconds(quantile(did.posts, 0.99)))
	k.paced.add(milliseconds(quantile(paced.posts, 0.5)))
	k.lone.add(milliseconds(quantile(lone.posts, 0.5)))
	k.cpu.add(microseconds(cpu) / float64(did.total))
	return true, nil
}
