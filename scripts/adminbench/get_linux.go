package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// id is an entity's.
func (a *answer) id() (string, error) {
	var e struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(a.body, &e); err != nil || e.ID == "" {
		return "", fmt.Errorf("%s: no id in %s: %w", a.what, a.describe(), err)
	}
	return e.ID, nil
}

// measureGet asks a follower. What it is asked for differs from one request to the next.
func measureGet(ctx context.Context, b *bench, rounds int) ([]*figure, error) {
	name := (&figure{what: "GET of a consumer by its name, p50", unit: "us"}).withGoal(true, 100)
	id := (&figure{what: "GET of a consumer by its id, p50", unit: "us"}).withGoal(true, 100)
	tail := &figure{what: "both, p99 (the worse)", unit: "us"}
	cpu := &figure{what: "CPU of the node for one GET", unit: "us"}
	bare := &figure{what: "the same client and answer, a bare net/http server, p50", unit: "us", note: "what HTTP over loopback costs with nothing behind it; the server is in the benchmark's own process"}
	name.note = "one client, one connection, through a follower; " + strconv.Itoa(b.opts.sizes.present) + " consumers"
	figures := []*figure{name, id, tail, cpu, bare}
	c, err := b.startCluster(ctx, "get")
	if err != nil {
		return nil, err
	}
	defer c.stop()
	n, err := c.follower(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := b.bringIn(ctx, n, set{consumers: b.opts.sizes.present}); err != nil {
		return nil, err
	}
	names, ids, body, err := b.consumersOf(ctx, n)
	if err != nil {
		return nil, err
	}
	for round := range rounds {
		if err := b.getRound(ctx, c, n, names, ids, figures); err != nil {
			return figures, err
		}
		if err := b.bareRound(ctx, body, bare); err != nil {
			return figures, err
		}
		b.say("get, round %d: by name %.0f us, by id %.0f us, bare server %.0f us", round+1, last(name), last(id), last(bare))
	}
	return figures, nil
}

// item is a path and what is to be answered, byte for byte.
type item struct {
	path string
	body []byte
}

// consumersOf gives the paths of all consumers by name and by id, and the answer to one.
func (b *bench) consumersOf(ctx context.Context, n *node) (names, ids []item, body []byte, err error) {
	conn, err := dial(ctx, n.admin)
	if err != nil {
		return nil, nil, nil, err
	}
	defer conn.close()
	for i := range b.opts.sizes.present {
		path := "/consumers/" + consumerName(i)
		a, err := conn.do(http.MethodGet, path, nil)
		if err != nil {
			return nil, nil, nil, err
		}
		id, err := a.id()
		if err := errors.Join(err, a.has(http.StatusOK, "username", quoted(consumerName(i)))); err != nil {
			return nil, nil, nil, err
		}
		body = bytes.Clone(a.body)
		names = append(names, item{path: path, body: body})
		ids = append(ids, item{path: "/consumers/" + id, body: body})
	}
	return names, ids, body, nil
}

func (b *bench) getRound(ctx context.Context, c *cluster, n *node, names, ids []item, figures []*figure) error {
	defer b.watch(c)()
	worst, count := time.Duration(0), 0
	before, err := machine.UsageOf([]int{n.process.PID})
	if err != nil {
		return err
	}
	for i, items := range [][]item{names, ids} {
		times, err := b.ask(ctx, n.admin, items, b.opts.duration)
		if err != nil {
			return err
		}
		count += len(times)
		figures[i].add(microseconds(quantile(times, 0.5)))
		worst = max(worst, quantile(times, 0.99))
	}
	after, err := machine.UsageOf([]int{n.process.PID})
	if err != nil {
		return err
	}
	cpu, _ := after.CPUSince(before)
	figures[2].add(microseconds(worst))
	figures[3].add(microseconds(cpu) / float64(count))
	return nil
}

// ask GETs the items in turn over one connection for some time, and at least twice. All times are given: one
// client that never pauses needs no warming up after its first requests.
func (b *bench) ask(ctx context.Context, address string, items []item, length time.Duration) ([]time.Duration, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	var times []time.Duration
	for end := time.Now().Add(length); len(times) < 2 || time.Now().Before(end); {
		it := &items[len(times)%len(items)]
		a, err := conn.do(http.MethodGet, it.path, nil)
		if err == nil {
			err = a.is(http.StatusOK)
		}
		if err == nil && !bytes.Equal(a.body, it.body) {
			err = fmt.Errorf("%s: %s, and not %.300s", a.what, a.describe(), it.body)
		}
		if err != nil {
			return nil, err
		}
		times = append(times, a.took)
	}
	return times, nil
}

// bareRound asks a server that gives always the same answer.
func (b *bench) bareRound(ctx context.Context, body []byte, f *figure) error {
	address, stop, err := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // the client sees what it lacks
	})
	if err != nil {
		return err
	}
	defer stop()
	times, err := b.ask(ctx, address, []item{{path: "/", body: body}}, min(b.opts.duration, time.Second))
	if err != nil {
		return err
	}
	f.add(microseconds(quantile(times, 0.5)))
	return nil
}

// serve runs a server on loopback in this process until stop.
func serve(handler http.HandlerFunc) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // ends when it is closed
	}()
	return l.Addr().String(), func() { _ = s.Close(); <-ended }, nil
}
