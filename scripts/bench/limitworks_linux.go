package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/scripts/bench/load/limits"
)

const (
	limitWorkers = 32    // at saturation
	hotRate      = 2_000 // decisions a second, of openConns workers
	zipfRate     = 500
	addedRate    = 2_000
	addedFor     = 4                      // times as long as others: one in a thousand is looked for
	exactFor     = 500 * time.Millisecond // much more is asked than is admitted
	limitWarm    = 300 * time.Millisecond
	zipfKeys     = 20_000

	killRate  = 4_000 // decisions a second
	killAfter = time.Second
	killFor   = 5 * time.Second
)

// rival is a contestant of the works of limits.
type rival struct {
	name string
	// open gives a worker its decider.
	open  func(rv *rivals, worker int, g budget) limits.Decider
	limit *budget // where they differ in it
	// strike kills what the decisions need and starts it again; set for the
	// work that measures that.
	strike func(context.Context, *rivals) error
}

func openRedis(i int) func(*rivals, int, budget) limits.Decider {
	return func(rv *rivals, _ int, g budget) limits.Decider {
		return &limits.Redis{Address: rv.redis[i].address, Limit: g.max}
	}
}

func openMemory(rv *rivals, worker int, g budget) limits.Decider {
	period := map[string]limiter.Period{"minute": limiter.Minute, "hour": limiter.Hour}[g.period]
	lim := &limiter.Limit{ID: g.name, Version: 1, Rates: []limiter.Rate{{Period: period, Max: g.max}}}
	return rv.memory.Decider(worker, lim)
}

// openGateway spreads the workers over the nodes.
func openGateway(path func(g budget) string) func(*rivals, int, budget) limits.Decider {
	return func(rv *rivals, worker int, g budget) limits.Decider {
		d := &limits.Gateway{First: worker, Path: path(g)}
		for _, n := range rv.nodes {
			d.Addresses = append(d.Addresses, n.plain)
		}
		return d
	}
}

var (
	openCounted = openGateway(func(g budget) string { return fmt.Sprintf("%s%d/x", limits.CountedPath, g.max) })
	openLimited = openGateway(func(g budget) string { return "/" + g.name + "/x" })
	openFree    = openGateway(func(budget) string { return "/" + unlimited + "/x" })
)

// steadyRivals are in pairs: the decision alone, and behind a gateway.
func steadyRivals() []rival {
	return []rival{{name: "redis, call", open: openRedis(0)}, {name: "sluice, Go API", open: openMemory},
		{name: "redis behind sluice", open: openCounted}, {name: "sluice", open: openLimited}}
}

// addedRivals are all Sluice: what a limit adds is the difference to none.
func addedRivals() []rival {
	return []rival{{name: "no limit", open: openFree, limit: &ample}, {name: "1,000,000,000 a minute", open: openLimited, limit: &ample},
		{name: "5 a minute", open: openLimited, limit: &five}}
}

func killRivals() []rival {
	strikeRedis := func(i int) func(context.Context, *rivals) error {
		return func(_ context.Context, rv *rivals) error {
			kill(rv.redis[i].process)
			return rv.redis[i].start(rv.b)
		}
	}
	return []rival{{name: "redis", open: openRedis(0), strike: strikeRedis(0)}, {name: "redis, append only", open: openRedis(1), strike: strikeRedis(1)},
		{name: "sluice", open: openLimited, strike: func(ctx context.Context, rv *rivals) error {
			n, err := rv.leader(ctx)
			if err != nil {
				return err
			}
			kill(n.process)
			return n.start(rv.b)
		}}}
}

// limitWorks compare Sluice's limiter with a counter in Redis.
func limitWorks() []work {
	one := func(name, title string, rivals []rival, take limitSample, rows ...figure) work {
		w := work{name: name, group: limitGroup, title: title, needs: "redis-server", noGoal: true, cores: 2, rounds: 3,
			figure: rows[0], rows: rows, contestants: make([]contestant, len(rivals))}
		for i, r := range rivals {
			w.contestants[i].name = r.name
		}
		w.measure = func(ctx context.Context, b *bench, r *result) error { return b.measureLimits(ctx, r, rivals, take) }
		return w
	}
	steady := func(rate int) []figure {
		return []figure{
			{"decisions/s at saturation", func(s *sample) float64 { return s.PerSecond }, false},
			{"CPU µs a decision, of all processes", func(s *sample) float64 { return s.PerRequest }, false},
			{fmt.Sprintf("p50 µs at %d/s", rate), func(s *sample) float64 { return float64(s.P50) / 1e3 }, false},
			{fmt.Sprintf("p99 µs at %d/s", rate), func(s *sample) float64 { return float64(s.P99) / 1e3 }, false},
			{"admitted, % of what the limit allows", allowed, true},
			{"admitted beyond the limit", beyond, true}, // of every round
		}
	}
	return []work{
		one("limits-hot", "one key; admitted: of 2,000 a minute, as many asked as go", steadyRivals(), sampleHot, steady(hotRate)...),
		one("limits-zipf", "20,000 keys by Zipf, 5 a minute each", steadyRivals(), sampleZipf(five), steady(zipfRate)...),
		one("limits-hour", "20,000 keys by Zipf, 5 an hour each: every token comes from the log", steadyRivals(), sampleZipf(hourly), steady(zipfRate)...),
		one("limits-added", fmt.Sprintf("what a limit adds: 20,000 keys by Zipf, %d/s through the gateways", addedRate), addedRivals(), sampleAdded,
			figure{"p50 µs", func(s *sample) float64 { return float64(s.P50) / 1e3 }, false},
			figure{"p99 µs", func(s *sample) float64 { return float64(s.P99) / 1e3 }, false},
			figure{"p99.9 µs", func(s *sample) float64 { return float64(s.P999) / 1e3 }, false},
			figure{"admitted beyond the limit", beyond, true}),
		one("limits-kill", "one key of 6,000 a minute, 4,000/s asked for 5 s; after 1 s kill -9 of the Redis server, or of Sluice's leader, and started again", killRivals(), sampleKill,
			figure{"admitted beyond the limit", beyond, true}, figure{"admitted, % of the limit", allowed, true},
			figure{"requests without an answer", func(s *sample) float64 { return float64(s.Undecided) }, true},
			figure{"longest time without a decision, ms", func(s *sample) float64 { return s.Pause.Seconds() * 1e3 }, true}),
	}
}

func allowed(s *sample) float64 { return 100 * float64(s.Admitted) / float64(s.Due) }
func beyond(s *sample) float64  { return float64(s.Over) }

// limitSample measures one rival; round is a new name for keys.
type limitSample func(ctx context.Context, rv *rivals, r *rival, round string, d time.Duration) (*sample, error)

// measureLimits is measure for the works of limits.
func (b *bench) measureLimits(ctx context.Context, r *result, list []rival, take limitSample) (err error) {
	b.layout(&r.work)
	rv, err := b.startRivals(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rv.stop()) }()
	for round := range r.work.repeated(b.opts.rounds) {
		for i := range list {
			k := (i + round) % len(list)
			s, err := take(ctx, rv, &list[k], fmt.Sprintf("%s.%d.%d.", r.work.name, k, round), b.opts.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", list[k].name, err)
			}
			r.samples[k] = append(r.samples[k], s)
			b.tell("  round %d %-19s %s", round+1, list[k].name, limitText(s))
		}
	}
	return nil
}

// run does a job on a rival.
func (rv *rivals) run(ctx context.Context, r *rival, g budget, job limits.Job) (limits.Result, error) {
	job.Limit = g.max
	job.Open = func(worker int) limits.Decider { return r.open(rv, worker, g) }
	return limits.Run(ctx, job)
}

var errMinute = errors.New("the minute turned while its budget was counted: this machine is too slow")

// withinMinute counts when the calendar minute still lasts long enough. That it
// turned meanwhile is an error: there would have been two budgets.
func withinMinute(ctx context.Context, need time.Duration, count func() error) error {
	if err := awaitMinute(ctx, need); err != nil {
		return err
	}
	began := time.Now().Truncate(time.Minute)
	err := count()
	if err == nil && !time.Now().Truncate(time.Minute).Equal(began) {
		err = errMinute
	}
	return err
}

// awaitMinute returns when the calendar minute still lasts long enough.
func awaitMinute(ctx context.Context, need time.Duration) error {
	const spare = 2 * time.Second // for a machine that is slow
	now := time.Now()
	end := now.Truncate(time.Minute).Add(time.Minute)
	if end.Sub(now) >= need+spare {
		return nil
	}
	return sleep(ctx, end.Sub(now)+100*time.Millisecond)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sampleHot(ctx context.Context, rv *rivals, r *rival, round string, d time.Duration) (*sample, error) {
	keys := limits.Job{Keys: []string{round + "hot"}, Order: []int32{0}, Rate: hotRate, Duration: d}
	s, err := rv.steady(ctx, r, ample, keys, keys)
	if err != nil {
		return nil, err
	}
	err = withinMinute(ctx, exactFor, func() error {
		keys = limits.Job{Keys: []string{round + "exact"}, Order: []int32{0}, Workers: limitWorkers, Duration: exactFor}
		result, err := rv.run(ctx, r, exact, keys)
		s.count(&result)
		return errors.Join(err, undecided(s))
	})
	return s, err
}

func sampleZipf(g budget) limitSample {
	return func(ctx context.Context, rv *rivals, r *rival, round string, d time.Duration) (*sample, error) {
		most, rated := zipf(round+"s", zipfRate, d), zipf(round+"r", zipfRate, d)
		var s *sample
		err := rv.withinShares(ctx, 2*d+limitWarm, func() (err error) {
			s, err = rv.steady(ctx, r, g, most, rated)
			return err
		})
		return s, err
	}
}

// sampleAdded asks steadily of the contestant's limit.
func sampleAdded(ctx context.Context, rv *rivals, r *rival, round string, d time.Duration) (*sample, error) {
	job := zipf(round, addedRate, addedFor*d)
	job.Workers = openConns
	s := new(sample)
	err := rv.withinShares(ctx, job.Duration+limitWarm, func() error {
		warm := limits.Job{Keys: []string{"warm"}, Order: []int32{0}, Workers: limitWorkers, Duration: limitWarm}
		if _, err := rv.run(ctx, r, ample, warm); err != nil {
			return err
		}
		result, err := rv.run(ctx, r, *r.limit, job)
		s.PerSecond = float64(result.Decided) / result.Elapsed.Seconds()
		s.P50, s.P99, s.P999 = result.Latency.Quantile(0.5), result.Latency.Quantile(0.99), result.Latency.Quantile(0.999)
		s.count(&result)
		return errors.Join(err, undecided(s))
	})
	return s, err
}

// withinShares is withinMinute, of a minute of which the nodes have shares.
func (rv *rivals) withinShares(ctx context.Context, need time.Duration, count func() error) error {
	if err := sleep(ctx, time.Until(rv.shares)); err != nil {
		return err
	}
	return withinMinute(ctx, need, count)
}

// zipf is an order of keys, the same for all.
func zipf(prefix string, rate float64, d time.Duration) limits.Job {
	job := limits.Job{Keys: make([]string, zipfKeys), Order: make([]int32, 1<<18), Rate: rate, Duration: d}
	for i := range job.Keys {
		job.Keys[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, zipfKeys-1)
	for i := range job.Order {
		job.Order[i] = int32(z.Uint64())
	}
	return job
}

// steady measures at saturation and at a fixed rate, each on keys of its own,
// after a warming up that has its own as well.
func (rv *rivals) steady(ctx context.Context, r *rival, g budget, most, rated limits.Job) (*sample, error) {
	warm := limits.Job{Keys: []string{"warm"}, Order: []int32{0}, Workers: limitWorkers, Duration: limitWarm}
	if _, err := rv.run(ctx, r, ample, warm); err != nil {
		return nil, err
	}
	o := order{Proxy: rv.pids()}
	begin, err := takeProbe(&o)
	if err != nil {
		return nil, err
	}
	most.Workers, most.Rate = limitWorkers, 0
	full, err := rv.run(ctx, r, g, most)
	if err != nil {
		return nil, err
	}
	end, err := takeProbe(&o)
	if err != nil {
		return nil, err
	}
	rated.Workers = openConns
	paced, err := rv.run(ctx, r, g, rated)
	if err != nil {
		return nil, err
	}
	s := &sample{PerSecond: float64(full.Decided) / full.Elapsed.Seconds(), P50: paced.Latency.Quantile(0.5), P99: paced.Latency.Quantile(0.99)}
	cores := rv.b.coreCount
	s.measure(begin, end, full.Decided, end.At.Sub(begin.At), cores, cores)
	proxy, _ := end.Proxy.CPUSince(begin.Proxy)
	ours, _ := end.Ours.CPUSince(begin.Ours)
	s.PerRequest = (proxy + ours).Seconds() * 1e6 / float64(max(full.Decided, 1))
	for _, part := range []*limits.Result{&full, &paced} {
		if g == ample {
			part.Admitted, part.Due = 0, 0 // nothing to be exact about
		}
		s.count(part)
	}
	return s, undecided(s)
}

// count adds up what was admitted.
func (s *sample) count(r *limits.Result) {
	s.Admitted += r.Admitted
	s.Due += r.Due
	s.Over += r.Over
	if s.Undecided += r.Undecided; s.Fault == "" {
		s.Fault = r.Fault
	}
}

// undecided is an error where nothing was killed.
func undecided(s *sample) error {
	if s.Undecided == 0 {
		return nil
	}
	return fmt.Errorf("%d requests failed: %s", s.Undecided, s.Fault)
}

// sampleKill asks steadily, strikes meanwhile, and waits until all is as it was.
func sampleKill(ctx context.Context, rv *rivals, r *rival, round string, _ time.Duration) (*sample, error) {
	var result limits.Result
	err := withinMinute(ctx, killFor, func() (err error) {
		result, err = rv.underFire(ctx, r, round)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &sample{PerSecond: float64(result.Decided) / result.Elapsed.Seconds(), Pause: result.Pause,
		P50: result.Latency.Quantile(0.5), P99: result.Latency.Quantile(0.99)}
	s.count(&result)
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, server := range rv.redis {
		err = errors.Join(err, server.await(ctx))
	}
	return s, errors.Join(err, rv.whole(ctx))
}

// underFire asks for tokens of one key, and strikes meanwhile.
func (rv *rivals) underFire(ctx context.Context, r *rival, key string) (limits.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ending struct {
		result limits.Result
		err    error
	}
	done := make(chan ending, 1)
	go func() {
		result, err := rv.run(ctx, r, survived, limits.Job{Keys: []string{key}, Order: []int32{0}, Workers: openConns, Rate: killRate, Duration: killFor})
		done <- ending{result, err}
	}()
	timer := time.NewTimer(killAfter)
	defer timer.Stop()
	var fault error
	select {
	case <-timer.C:
		fault = r.strike(ctx, rv)
	case <-ctx.Done():
		fault = ctx.Err()
	}
	if fault != nil {
		cancel()
	}
	end := <-done
	return end.result, errors.Join(fault, end.err)
}
