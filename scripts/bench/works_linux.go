package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
)

// figure is what a work compares.
type figure struct {
	name string // with unit
	of   func(*sample) float64
	calm bool // a busy machine does not change it
}

var (
	cpuFigure = figure{"CPU µs a request", func(s *sample) float64 { return s.PerRequest }, false}
	p99Figure = figure{"p99 ms", func(s *sample) float64 { return s.P99.Seconds() * 1e3 }, false}
	rssFigure = figure{"RSS MB", func(s *sample) float64 { return float64(s.RSS) / 1e6 }, true}
)

type starter = func(context.Context, *bench, setup) (*target, error)

// contestant is one column of a work.
type contestant struct {
	name   string
	start  starter
	routes int                                                            // in place of the work's, if set
	sample func(context.Context, *bench, *work, *target) (*sample, error) // in place of the work's, if set
	shared bool                                                           // runs in the process of the first contestant
}

// work is one row of the table.
type work struct {
	name, title string
	figure      figure
	limit       float64 // the goal: what the last contestant may reach at most
	absolute    bool    // limit is a figure, and no ratio to the first contestant
	noGoal      bool

	cores       int // 1 or 2 for the proxy
	connections int
	rate        float64 // requests a second; 0: as fast as it goes
	request     string  // load.SmallName and so on
	secure      bool    // TLS 1.3
	accessLog   bool
	plugins     bool
	routes      int                                          // 0: 10
	asked       int                                          // how many of the routes are asked, evenly among them; 0: all
	rounds      int                                          // at most, if set
	sets        int                                          // times the rounds, each time of new processes, if set
	part        int                                          // a round's sample lasts one in so many of the time, if set
	fresh       bool                                         // new processes in every round
	tolerant    bool                                         // failed requests are counted; elsewhere one gives the work up
	needs       string                                       // a program that may be absent
	group       string                                       // -only knows the work by this name too
	rows        []figure                                     // all that the report shows, where that is more than figure
	measure     func(context.Context, *bench, *result) error // in place of rounds of sample, if set
	sample      func(context.Context, *bench, *work, *target) (*sample, error)
	contestants []contestant // nil: nginx, haproxy where installed, Sluice
}

const (
	fewRoutes  = 10
	manyRoutes = 5000
	idleConns  = 10_000
	openConns  = 64 // of works with a rate
)

// works are all there are: nginx and haproxy first, then Sluice with itself, then
// limits.
func works() []work {
	small := func(name, title string, limit float64, change func(*work)) work {
		w := work{name: name, title: title, figure: cpuFigure, limit: limit, cores: 1, connections: 32,
			request: load.SmallName, sample: sampleLoad}
		w.sets, w.part = 4, 4 // what the machine does lasts for seconds, so that a short round has the same for all
		if change != nil {
			change(&w)
		}
		return w
	}
	rate := func(r float64) func(*work) { return func(w *work) { w.rate, w.connections = r, openConns } }
	tail := func(r float64) func(*work) {
		return func(w *work) {
			w.rate, w.connections, w.cores, w.figure = r, openConns, 2, p99Figure
			w.sets, w.part = 3, 2 // a tail is the machine's as much as the proxy's
		}
	}
	slow := func(start starter) func(*work) {
		return func(w *work) {
			tail(4000)(w)
			w.contestants = []contestant{{name: "quiet", start: start}, {name: "slow clients", shared: true, sample: sampleSlowloris}}
		}
	}
	bare := func(w *work) {
		w.noGoal, w.contestants = true, []contestant{{name: "nginx", start: startNginx}, {name: "relay", start: startRelay}}
	}
	return append([]work{
		small("small", "small GET, saturation, 32 connections", 0.85, nil),
		small("small-256", "small GET, saturation, 256 connections", 0.85, func(w *work) { w.connections = 256 }),
		small("small-4000", "small GET, 4,000/s", 0.85, rate(4000)),
		small("logged", "small GET, saturation, access logs of all on", 0, func(w *work) { w.accessLog, w.noGoal = true, true }),
		small("plugins", "small GET, key-auth + rate-limiting + prometheus against bare nginx, saturation", 1, func(w *work) { w.plugins = true }),
		small("plugins-4000", "the same at 4,000/s", 1, func(w *work) { rate(4000)(w); w.plugins = true }),
		small("large", "100 KB answer, saturation", 1, func(w *work) { w.request = load.LargeName }),
		small("post", "10 KB POST, saturation", 0.85, func(w *work) { w.request = load.EchoName }),
		small("p99-8000", "small GET, 8,000/s, two cores", 1.2, tail(8000)),
		small("p99-16000", "small GET, 16,000/s, two cores", 1.2, tail(16000)),
		small("tls", "small GET, HTTP/1.1 over TLS 1.3, saturation", 1, func(w *work) { w.secure = true }),
		small("h2", "small GET, HTTP/2 over TLS 1.3, 32 connections, 4 streams each", 2.5, func(w *work) {
			w.sample, w.needs, w.sets, w.part = sampleH2, "h2load", 0, 0
		}),
		small("idle", "10,000 idle keep-alive connections", 75, func(w *work) {
			w.figure, w.absolute, w.connections, w.sample, w.fresh, w.rounds, w.sets, w.part = rssFigure, true, idleConns, sampleIdle, true, 3, 0, 0
		}),
		small("routes", "small GET, saturation, 5,000 routes against 10, ten of them asked", 1.2, func(w *work) {
			w.contestants, w.asked = routeContestants(), fewRoutes
		}),
		small("routes-all", "the same, all 5,000 asked in turn", 0, func(w *work) {
			w.contestants, w.noGoal = routeContestants(), true
		}),
		small("swap", "small GET, 4,000/s, two cores: two changes a second among 5,000 routes against none", 2, func(w *work) {
			tail(4000)(w)
			w.sets, w.part = 0, 0
			w.routes, w.tolerant = manyRoutes, true
			w.contestants = []contestant{{name: "quiet", start: startSluice, sample: sampleQuiet}, {name: "changing", shared: true, sample: sampleSwap}}
		}),
		small("slowloris", "small GET, 4,000/s, two cores: among 2,000 slow clients against none", 2, slow(startSluice)),
		small("slowloris-nginx", "the same, nginx with itself", 0, func(w *work) { slow(startNginx)(w); w.noGoal = true }),
		small("floor", "small GET, saturation: a relay that only reads and writes, against nginx", 0, bare),
		small("floor-4000", "the same at 4,000/s", 0, func(w *work) { rate(4000)(w); bare(w) }),
		small("floor-post", "10 KB POST, saturation: the relay against nginx", 0, func(w *work) { bare(w); w.request = load.EchoName }),
	}, limitWorks()...)
}

// repeated is how many rounds there are, of those asked for.
func (w *work) repeated(rounds int) int {
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	return rounds * max(1, w.sets)
}

// lasting is how long one sample takes, of the time asked for.
func (w *work) lasting(d time.Duration) time.Duration {
	return max(d/time.Duration(max(1, w.part)), shortest)
}

func routeContestants() []contestant {
	return []contestant{{name: "10 routes", start: startSluice}, {name: "5,000 routes", start: startSluice, routes: manyRoutes}}
}

// paths are the routes that are asked, of those that t has.
func (w *work) paths(t *target) []string {
	all := routePaths(t.routeCount)
	if w.asked == 0 || w.asked >= len(all) {
		return all
	}
	var list []string
	for i := range w.asked {
		list = append(list, all[i*len(all)/w.asked])
	}
	return list
}

// job is the generator's.
func (w *work) job(t *target, paths []string, duration time.Duration) load.Job {
	j := load.Job{Address: t.plain, Connections: w.connections, Status: 200, Rate: w.rate, Warm: 300 * time.Millisecond, Duration: duration}
	body := []byte(nil)
	method := "GET"
	switch w.request {
	case load.LargeName:
		j.Body = load.LargeBody()
	case load.EchoName:
		j.Body, body, method = load.EchoAnswer(), load.EchoBody(), "POST"
	default:
		j.Body = load.SmallBody()
	}
	for _, path := range paths {
		j.Requests = append(j.Requests, requestText(method, path+w.request, body, w.plugins))
	}
	if w.secure {
		j.Address, j.ServerName = t.tls, serverName
	}
	return j
}

// requestText is the same for every proxy.
func requestText(method, target string, body []byte, key bool) []byte {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n", method, target, serverName)
	if key {
		_, _ = fmt.Fprintf(&b, "apikey: %s\r\n", apiKey)
	}
	if body != nil {
		_, _ = fmt.Fprintf(&b, "Content-Type: text/plain\r\nContent-Length: %d\r\n", len(body))
	}
	return slices.Concat([]byte(b.String()), []byte("\r\n"), body)
}

// entrants are the contestants of a work on this machine.
func (w *work) entrants(t tools) []contestant {
	if w.contestants != nil {
		return w.contestants
	}
	list := []contestant{{name: "nginx", start: startNginx}}
	if t.haproxy != "" {
		list = append(list, contestant{name: "haproxy", start: startHaproxy})
	}
	return append(list, contestant{name: "sluice", start: startSluice})
}
