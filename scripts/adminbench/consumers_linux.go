package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// settle is how long a node gets to give memory back to the system after it has collected its garbage: it waits for
// some 15 s without work first.
const settle = 30 * time.Second

// consumerFigures are those of the measure.
type consumerFigures struct{ took, first, middle, before, after, collected, live *figure }

func (f *consumerFigures) list() []*figure {
	return []*figure{f.took, f.first, f.middle, f.before, f.after, f.collected, f.live}
}

// measureConsumers starts an empty cluster for every round.
func measureConsumers(ctx context.Context, b *bench, rounds int) ([]*figure, error) {
	s, usual := b.opts.sizes, b.opts.sizes.consumers == usualSizes().consumers
	pages := fmt.Sprintf("page of %d of %d consumers", s.page, s.consumers)
	f := &consumerFigures{
		took:      &figure{what: fmt.Sprintf("%d consumers with a key each, imported, wait=all", s.consumers), unit: "s"},
		first:     (&figure{what: "first " + pages + ", p50", unit: "ms"}).withGoal(usual, 5),
		middle:    (&figure{what: "middle " + pages + " (by following next), p50", unit: "ms"}).withGoal(usual, 5),
		before:    &figure{what: "memory (RSS) of the largest node, before the import", unit: "MB"},
		after:     &figure{what: "memory (RSS) of the largest node, right after the import", unit: "MB"},
		collected: (&figure{what: "memory (RSS) of the largest node, when garbage was collected", unit: "MB"}).withGoal(usual && b.opts.patience > 0, 150),
		live:      &figure{what: "Go's live heap then, largest node", unit: "MB"},
	}
	f.collected.note = fmt.Sprintf("there is no request for a collection: it is waited for one that began after the import (go_memstats_last_gc_time_seconds; Go makes one every two minutes when there is little to do), and then %s", settle)
	if b.opts.patience == 0 {
		f.collected.note = "no collection was waited for"
	}
	for round := range rounds {
		if err := b.consumersRound(ctx, f); err != nil {
			return f.list(), err
		}
		b.say("consumers, round %d: %.1f s, first page %.2f ms, middle %.2f ms, RSS %.0f MB", round+1, last(f.took), last(f.first), last(f.middle), last(f.collected))
	}
	return f.list(), nil
}

func (b *bench) consumersRound(ctx context.Context, f *consumerFigures) error {
	c, err := b.startCluster(ctx, "consumers")
	if err != nil {
		return err
	}
	defer c.stop()
	defer b.watch(c)()
	before, toldBefore, err := c.memory()
	if err != nil {
		return err
	}
	n, err := c.follower(ctx)
	if err != nil {
		return err
	}
	done, err := b.bringIn(ctx, n, set{consumers: b.opts.sizes.consumers})
	if err != nil {
		return err
	}
	b.say("consumers: imported in %.1f s by %d requests; now garbage is waited for", done.took.Seconds(), done.requests)
	f.took.add(done.took.Seconds())
	f.took.note = fmt.Sprintf("POST /config?merge=1 through a follower, requests: %d", done.requests)
	after, told, err := c.memory()
	if err != nil {
		return err
	}
	if err := c.collect(ctx); err != nil {
		return err
	}
	collected, toldLater, err := c.memory()
	if err != nil {
		return err
	}
	live, err := c.liveHeap(ctx)
	if err != nil {
		return err
	}
	f.before.add(megabytes(before))
	f.after.add(megabytes(after))
	f.collected.add(megabytes(collected))
	f.live.add(megabytes(live))
	f.before.note, f.after.note = "in the last round "+toldBefore, "in the last round "+told
	f.live.note = "RSS of the nodes at this time, in the last round: " + toldLater
	for _, n := range c.nodes {
		if err := hasKey(ctx, n, b.opts.sizes.consumers-1); err != nil {
			return err
		}
	}
	return b.lists(ctx, n, f)
}

// memory is the resident set of the node with the largest, in bytes, and what each has, in words.
func (c *cluster) memory() (largest float64, told string, err error) {
	var each []string
	for _, n := range c.nodes {
		rss, _, err := machine.Memory([]int{n.process.PID})
		if err != nil {
			return 0, "", err
		}
		largest = max(largest, float64(rss))
		each = append(each, fmt.Sprintf("%s %.0f", n.name, megabytes(float64(rss))))
	}
	return largest, strings.Join(each, ", "), nil
}

// collect waits until every node has collected its garbage and had time to give it back.
func (c *cluster) collect(ctx context.Context) error {
	patience := c.b.opts.patience
	if patience == 0 {
		return nil
	}
	since := float64(time.Now().UnixNano()) / 1e9
	limited, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no collection of garbage within -gc-wait"))
	defer cancel()
	for _, n := range c.nodes {
		// Each look makes a little garbage, which is no reason to look often.
		for last := 0.0; last <= since; {
			if err := pause(limited, time.Second); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			var err error
			if last, err = n.metric(limited, "go_memstats_last_gc_time_seconds"); err != nil {
				return err
			}
		}
	}
	return pause(ctx, settle)
}

// pause waits; an error is the end of the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// liveHeap is that of the node with the largest, in bytes.
func (c *cluster) liveHeap(ctx context.Context) (largest float64, err error) {
	for _, n := range c.nodes {
		heap, err := n.metric(ctx, "go_memstats_heap_alloc_bytes")
		if err != nil {
			return 0, err
		}
		largest = max(largest, heap)
	}
	return largest, nil
}

// metric reads one without labels from a node.
func (n *node) metric(ctx context.Context, name string) (float64, error) {
	c, err := dial(ctx, n.admin)
	if err != nil {
		return 0, err
	}
	defer c.close()
	a, err := c.do(http.MethodGet, "/metrics", nil)
	if err == nil {
		err = a.is(http.StatusOK)
	}
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(a.body) {
		if value, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, fmt.Errorf("%s: GET /metrics has no %s", n.name, name)
}

// hasKey wants a node to have the key of the i-th consumer.
func hasKey(ctx context.Context, n *node, i int) error {
	c, err := dial(ctx, n.admin)
	if err != nil {
		return err
	}
	defer c.close()
	a, err := c.do(http.MethodGet, "/consumers/"+consumerName(i)+"/key-auth/"+consumerKey(i), nil)
	if err == nil {
		err = a.has(http.StatusOK, "key", quoted(consumerKey(i)))
	}
	return err
}

// lists goes through all pages once, and then asks for the first and for the middle one again and again.
func (b *bench) lists(ctx context.Context, n *node, f *consumerFigures) error {
	pages, err := b.pages(ctx, n.admin)
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	for _, m := range []struct {
		f  *figure
		it item
	}{{f.first, pages[0]}, {f.middle, pages[len(pages)/2]}} {
		times, err := b.ask(ctx, n.admin, []item{m.it}, b.opts.duration)
		if err != nil {
			return err
		}
		m.f.add(milliseconds(quantile(times, 0.5)))
	}
	return nil
}

// pages follows next from the first page to the last, and finds every consumer once.
func (b *bench) pages(ctx context.Context, address string) ([]item, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var pages []item
	seen := map[string]bool{}
	for path := fmt.Sprintf("/consumers?size=%d", b.opts.sizes.page); path != ""; {
		a, err := c.do(http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Data []struct{ Username string }
			Next string
		}
		if err := errors.Join(a.is(http.StatusOK), json.Unmarshal(a.body, &page)); err != nil {
			return nil, err
		}
		if page.Next != "" && len(page.Data) != b.opts.sizes.page {
			return nil, fmt.Errorf("%s: %d consumers, and there are more", a.what, len(page.Data))
		}
		for _, e := range page.Data {
			if seen[e.Username] {
				return nil, fmt.Errorf("%s: %s was on a page before", a.what, e.Username)
			}
			seen[e.Username] = true
		}
		pages = append(pages, item{path: path, body: bytes.Clone(a.body)})
		path = page.Next
	}
	if len(seen) != b.opts.sizes.consumers {
		return nil, fmt.Errorf("the pages have %d consumers of %d", len(seen), b.opts.sizes.consumers)
	}
	return pages, nil
}
