package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

const (
	// clients is how many requests a node has at once, queued how many more wait
	// for one of them.
	clients, queued = 96, 96
	// requestPatience is longer than any node is stopped.
	requestPatience = 12 * time.Second
	flushEvery      = time.Second
)

// load is clients that want more than the limits allow, from all nodes.
type load struct {
	demands []demand
	times   float64
	nodes   func() []*node // that may be asked

	mu    sync.Mutex
	lines *bufio.Writer
	file  *os.File
	err   error
	line  []byte

	doors   map[*node]chan order // guarded by mu
	sending sync.WaitGroup       // who makes orders
	working sync.WaitGroup       // who carries them out

	admitted, refused, failed atomic.Int64
}

// order is a request to be made, and for how long the service is to hold it.
type order struct {
	limit, key int
	hold       time.Duration
}

func newLoad(dir string, demands []demand, times float64, nodes func() []*node) (*load, error) {
	f, err := os.Create(filepath.Join(dir, book.RequestsFile))
	if err != nil {
		return nil, err
	}
	return &load{
		demands: demands, times: times, nodes: nodes, file: f,
		lines: bufio.NewWriterSize(f, 1<<16), doors: map[*node]chan order{},
	}, nil
}

// run makes requests until ctx ends, and returns when the last is answered.
func (l *load) run(ctx context.Context, seed uint64) error {
	for i := range l.demands {
		want := l.want
		if l.demands[i].volley > 0 {
			want = l.wantAtOnce
		}
		l.sending.Go(func() { want(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)+100))) })
	}
	l.sending.Go(func() { l.flush(ctx) })
	l.sending.Wait()
	l.mu.Lock()
	for _, c := range l.doors {
		close(c)
	}
	l.mu.Unlock()
	l.working.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range []error{l.err, l.lines.Flush(), l.file.Close()} {
		if err != nil {
			return fmt.Errorf("requests: %w", err)
		}
	}
	return nil
}

// want orders the requests of one limit. For some seconds they go to all nodes,
// then to one only.
func (l *load) want(ctx context.Context, i int, r *rand.Rand) {
	d := &l.demands[i]
	pause := time.Duration(float64(time.Second) / (d.rate * l.times))
	turn := time.NewTimer(0)
	defer turn.Stop()
	var change time.Time
	only := -1
	for next := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		now := time.Now()
		if now.After(change) {
			change, only = now.Add(3*time.Second+time.Duration(r.Int64N(int64(5*time.Second)))), -1
			if r.IntN(2) == 0 {
				only = r.IntN(1 << 10)
			}
		}
		if nodes := l.nodes(); len(nodes) > 0 {
			pick := only
			if pick < 0 {
				pick = r.IntN(len(nodes))
			}
			o := order{limit: i, key: r.IntN(d.keys)}
			if d.hold > 0 {
				o.hold = d.hold/2 + time.Duration(r.Int64N(int64(d.hold)))
			}
			l.order(nodes[pick%len(nodes)], o)
		}
		if next = next.Add(pause); next.Before(now) {
			next = now
		}
		turn.Reset(time.Until(next))
	}
}

// wantAtOnce orders volleys: half of one on a node, which has it ask the others for
// what they have, and a moment later, while that is still good, more than all on all
// nodes. In between, the bucket fills up.
func (l *load) wantAtOnce(ctx context.Context, i int, r *rand.Rand) {
	d := &l.demands[i]
	first, then := d.volley/2, d.volley+d.volley/4
	rest := time.Duration(float64(first+then) / (d.rate * l.times) * float64(time.Second))
	for sleep(ctx, rest*3/4+time.Duration(r.Int64N(int64(rest)/2))) {
		nodes := l.nodes()
		if len(nodes) == 0 {
			continue
		}
		one := nodes[r.IntN(len(nodes))]
		for range first {
			l.order(one, order{limit: i})
		}
		if !sleep(ctx, time.Duration(20+r.IntN(80))*time.Millisecond) {
			return
		}
		for n := range then {
			l.order(nodes[n%len(nodes)], order{limit: i})
		}
	}
}

// order gives a request to a node's clients. If they all wait for the node, it is
// not made.
func (l *load) order(n *node, o order) {
	l.mu.Lock()
	c := l.doors[n]
	if c == nil {
		c = make(chan order, queued)
		l.doors[n] = c
		client := &http.Client{Timeout: requestPatience, Transport: &http.Transport{
			DialContext: n.space.Dial, MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients, IdleConnTimeout: 30 * time.Second,
		}}
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for o := range c {
					l.ask(client, n, o)
				}
			})
		}
		l.working.Go(func() { all.Wait(); client.CloseIdleConnections() })
	}
	l.mu.Unlock()
	select {
	case c <- o:
	default:
	}
}

// ask makes a request and writes down what came of it.
func (l *load) ask(client *http.Client, n *node, o order) {
	q := book.Request{Node: n.name, Limit: o.limit, Key: o.key, Sent: monotonic()}
	req, err := http.NewRequest(http.MethodGet, "http://"+n.addr(proxyPort)+l.demands[o.limit].path(), nil)
	if err != nil {
		l.fail(err)
		return
	}
	req.Header.Set(keyHeader, keyText(o.key))
	if o.hold > 0 {
		req.Header.Set(holdHeader, strconv.FormatInt(o.hold.Milliseconds(), 10))
	}
	resp, err := client.Do(req)
	if err == nil {
		q.Status = resp.StatusCode
		for _, name := range countedBy {
			q.Counted = q.Counted || resp.Header.Get(name) != ""
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
		_ = resp.Body.Close()
	}
	q.Received = monotonic()
	switch q.Status {
	case http.StatusOK:
		l.admitted.Add(1)
	case http.StatusTooManyRequests:
		l.refused.Add(1)
	default:
		l.failed.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = q.AppendLine(l.line[:0])
	if _, err := l.lines.Write(l.line); err != nil && l.err == nil {
		l.err = err
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// flush writes what is there every second, so that a run that is killed leaves
// most of it.
func (l *load) flush(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		if err := l.lines.Flush(); err != nil && l.err == nil {
			l.err = err
		}
		l.mu.Unlock()
	}
}
