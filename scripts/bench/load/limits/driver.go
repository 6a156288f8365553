// Package limits drives rate limiters as a gateway's clients or the gateway
// itself would, and counts on its own side what they admit: a counter in Redis,
// Sluice's limiter through its Go API, and either behind a Sluice gateway.
package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
)

// patience bounds one decision. It is more than the five seconds for which a
// request waits in Sluice for a cluster that says nothing.
const patience = 6 * time.Second

// afterFault is how long a worker waits after a decision that failed, so that
// an outage is not a storm of new connections.
const afterFault = 2 * time.Millisecond

// pauseUnit is how finely the longest pause is told.
const pauseUnit = time.Millisecond

// Decider asks for one decision after the other. It belongs to one worker.
type Decider interface {
	// Decide asks for one token of key. After an error the next call begins
	// with a new connection.
	Decide(ctx context.Context, key string) (admitted bool, err error)
	Close()
}

// Job is what is asked.
type Job struct {
	// Open gives each worker its decider; workers count from 0.
	Open    func(worker int) Decider
	Workers int
	Keys    []string
	// Order is which keys are asked, as indices of Keys: all workers together
	// go through it, and begin again at its end.
	Order []int32
	// Limit is the budget of each key for the whole job.
	Limit int64
	// Rate is the number of decisions a second that are due, at even distances;
	// 0: each worker asks again as soon as it is answered.
	Rate     float64
	Duration time.Duration
}

// Result is what came of it.
type Result struct {
	Decided   int64 // admitted or refused
	Undecided int64 // neither: errors
	Fault     string
	Elapsed   time.Duration
	// Latency of what was decided. With a Rate it counts from when the decision
	// was due if no worker was free then, else from when a worker woke up for
	// it: that it woke late is no fault of the limiter's.
	Latency load.Histogram
	// Pause is the longest time in which nothing was decided, to a millisecond.
	Pause time.Duration
	// Admitted is of all keys, Due what should have been: of each key what was
	// asked, up to the limit. Over is the sum of what keys got beyond it.
	Admitted, Due, Over int64
}

func (j *Job) check() error {
	if j.Open == nil || j.Workers < 1 || len(j.Keys) == 0 || len(j.Order) == 0 || j.Duration <= 0 || j.Rate < 0 {
		return errors.New("limits: a job needs deciders, workers, keys, an order and a duration")
	}
	for _, k := range j.Order {
		if k < 0 || int(k) >= len(j.Keys) {
			return fmt.Errorf("limits: there is no key %d", k)
		}
	}
	return nil
}

// run is a job under way.
type run struct {
	job   *Job
	start time.Time
	next  atomic.Int64
	alive []atomic.Bool // by pauseUnit: something was decided
}

// worker has its own counts: shared ones would cost more than a decision does.
type worker struct {
	decider         Decider
	asked, admitted []int32 // by key
	result          Result
}

// Run does the job. It returns the context's error if that ends first.
func Run(ctx context.Context, job Job) (Result, error) {
	if err := job.check(); err != nil {
		return Result{}, err
	}
	r := &run{job: &job, alive: make([]atomic.Bool, job.Duration/pauseUnit)}
	workers := make([]worker, job.Workers)
	for i := range workers {
		workers[i] = worker{decider: job.Open(i), asked: make([]int32, len(job.Keys)), admitted: make([]int32, len(job.Keys))}
	}
	r.start = time.Now()
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			defer workers[i].decider.Close()
			r.work(ctx, &workers[i])
		})
	}
	all.Wait()
	return r.sum(workers), ctx.Err()
}

// turn waits until the next decision is due and tells since when it counts;
// false at the end. now is when the worker was last free.
func (r *run) turn(now time.Time, n int64) (since time.Time, more bool) {
	if r.job.Rate == 0 {
		return now, now.Sub(r.start) < r.job.Duration
	}
	offset := time.Duration(float64(n) * float64(time.Second) / r.job.Rate)
	due := r.start.Add(offset)
	if offset >= r.job.Duration || !now.Before(due) {
		return due, offset < r.job.Duration
	}
	// Up to a millisecond late, as Go's timers are. The kernel's own sleep would
	// be exact, but its threads would keep the processors from the limiter that
	// is measured in this process.
	time.Sleep(due.Sub(now))
	return time.Now(), true
}

func (r *run) work(ctx context.Context, w *worker) {
	for now := time.Now(); ctx.Err() == nil; {
		n := r.next.Add(1) - 1
		since, more := r.turn(now, n)
		if !more {
			return
		}
		k := r.job.Order[n%int64(len(r.job.Order))]
		admitted, err := w.decider.Decide(ctx, r.job.Keys[k])
		now = time.Now()
		w.asked[k]++
		if err != nil {
			w.fail(err)
			time.Sleep(afterFault)
			now = time.Now()
			continue
		}
		if admitted {
			w.admitted[k]++
		}
		w.result.Decided++
		w.result.Latency.Add(now.Sub(since))
		// Looked at first: a store would take the cache line from all others.
		if slot := int(now.Sub(r.start) / pauseUnit); slot < len(r.alive) && !r.alive[slot].Load() {
			r.alive[slot].Store(true)
		}
	}
}

func (w *worker) fail(err error) {
	if w.result.Undecided++; w.result.Fault == "" {
		w.result.Fault = err.Error()
	}
}

func (r *run) sum(workers []worker) (total Result) {
	total.Elapsed = time.Since(r.start)
	for i := range workers {
		own := &workers[i].result
		total.Decided += own.Decided
		total.Undecided += own.Undecided
		total.Latency.Merge(&own.Latency)
		if total.Fault == "" {
			total.Fault = own.Fault
		}
	}
	for k := range r.job.Keys {
		var asked, admitted int64
		for i := range workers {
			asked += int64(workers[i].asked[k])
			admitted += int64(workers[i].admitted[k])
		}
		total.Admitted += admitted
		total.Due += min(asked, r.job.Limit)
		total.Over += max(0, admitted-r.job.Limit)
	}
	still := time.Duration(0)
	for i := range r.alive {
		if still += pauseUnit; r.alive[i].Load() {
			still = 0
		}
		total.Pause = max(total.Pause, still)
	}
	return total
}
