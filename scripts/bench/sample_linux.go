package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// sample is one proxy's part of one round.
type sample struct {
	PerRequest float64 // CPU of the proxy's processes, us
	PerSecond  float64 // requests
	Share      float64 // of the proxy's cores that it used
	P50, P99   time.Duration
	P999       time.Duration // of works that look at one in a thousand
	Late       time.Duration // p99 of how late the generator sent
	RSS, PSS   int64         // at the end, bytes
	Grown      int64         // RSS since the beginning
	Others     float64       // share of the machine that was neither the proxy's nor ours
	Steal      float64       // the part of it that the hypervisor took
	Apart      time.Duration // between the proxy's core and the load's, see machine.Apart; 0: not known
	Ended      bool          // threads of the proxy ended: its time is to 10 ms
	Failed     int64
	Fault      string
	Changes    int // of the configuration meanwhile
	Latency    load.Histogram

	// Of works about limits; see limits.Result.
	Admitted, Due, Over, Undecided int64
	Pause                          time.Duration
}

// disturbedAbove is the share of the machine that others may have in a sample:
// the kernel's own work and the ticks of /proc/stat give 1 to 3 %.
const disturbedAbove = 0.05

func (s *sample) disturbed() bool { return s.Others > disturbedAbove }

func sampleLoad(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	return b.generate(ctx, w, t, w.job(t, w.paths(t), w.lasting(b.opts.duration)))
}

// generate runs a generator and reads its outcome. A wrong answer is an error
// unless it is what the work counts.
func (b *bench) generate(ctx context.Context, w *work, t *target, job load.Job) (*sample, error) {
	if w.secure {
		job.Roots = b.cert.pem
	}
	text, err := json.Marshal(order{Job: job, Proxy: t.pids, Ours: []int{b.service.PID, os.Getpid()}})
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(b.self, "generate")
	cmd.Env = childEnv()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &stdout, &stderr
	if err := b.finish(ctx, "generator", cmd); err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	var out outcome
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		return nil, fmt.Errorf("outcome of the generator: %w", err)
	}
	return newSample(&out, w.cores, b.coreCount), nil
}

// childEnv: no signals between threads, no collection of garbage (it has
// little), one processor.
func childEnv() []string {
	return append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=2GiB")
}

// finish runs a command on the load's cores to its end.
func (b *bench) finish(ctx context.Context, name string, cmd *exec.Cmd) error {
	p, err := b.starter.Start(name, cmd, b.loadCores, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.Ended():
		return p.Wait()
	case <-ctx.Done():
		p.Stop()
		return ctx.Err()
	}
}

// newSample evaluates; cores are the proxy's, all the machine's.
func newSample(out *outcome, cores, all int) *sample {
	r, wall := &out.Result, out.End.At.Sub(out.Begin.At)
	s := &sample{P50: r.Latency.Quantile(0.5), P99: r.Latency.Quantile(0.99), Late: r.Late.Quantile(0.99), Latency: r.Latency,
		RSS: out.End.RSS, PSS: out.End.PSS, Grown: out.End.RSS - out.Begin.RSS, Failed: r.Failed, Fault: r.Fault}
	s.PerSecond = float64(r.Requests) / r.Elapsed.Seconds()
	s.measure(out.Begin, out.End, r.Requests, wall, cores, all)
	return s
}

func (s *sample) measure(begin, end probe, requests int64, wall time.Duration, cores, all int) {
	proxy, ended := end.Proxy.CPUSince(begin.Proxy)
	ours, _ := end.Ours.CPUSince(begin.Ours)
	s.Ended = ended
	s.PerRequest = proxy.Seconds() * 1e6 / float64(max(requests, 1))
	s.Share = proxy.Seconds() / (wall.Seconds() * float64(cores))
	machineTime := wall.Seconds() * float64(all)
	s.Others = max(0, (end.Busy-begin.Busy-proxy-ours).Seconds()/machineTime)
	s.Steal = (end.Steal - begin.Steal).Seconds() / machineTime
}

// sampleIdle opens the connections and measures two seconds after the last.
func sampleIdle(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	job := w.job(t, w.paths(t), 2*time.Second)
	job.Idle = true
	return b.generate(ctx, w, t, job)
}

// sampleQuiet is what sampleSwap is compared with.
func sampleQuiet(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	// The route that changes is not asked: it is away half of the time.
	paths := slices.DeleteFunc(w.paths(t), func(path string) bool { return path == changedPath })
	return b.generate(ctx, w, t, w.job(t, paths, max(b.opts.duration, 3*time.Second)))
}

const changedPath = "/r7/"

// sampleSwap changes a route twice a second, there and back.
func sampleSwap(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	change := func(ctx context.Context, path string) error {
		return t.api(ctx, http.MethodPatch, "/routes/"+strings.Trim(changedPath, "/"), url.Values{"paths[]": {path}})
	}
	loadCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ending struct {
		changes int
		err     error
	}
	done := make(chan ending, 1)
	go func() {
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-loadCtx.Done():
				done <- ending{changes: n}
				return
			case <-ticker.C:
			}
			path := "/changed/"
			if n%2 == 1 {
				path = changedPath
			}
			if err := change(ctx, path); err != nil {
				cancel()
				done <- ending{n, err}
				return
			}
		}
	}()
	s, err := sampleQuiet(loadCtx, b, w, t)
	cancel()
	end := <-done
	if end.err == nil {
		end.err = change(ctx, changedPath)
	}
	if end.err != nil {
		return nil, fmt.Errorf("change of a route: %w", end.err)
	}
	if s != nil {
		s.Changes = end.changes
	}
	return s, err
}

// sampleH2 uses h2load: as many requests as fit in the duration, by a short
// trial. Its handshakes are in the time of all proxies, 32 of them.
func sampleH2(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	const trial = 2000
	path := "https://" + t.tls + w.paths(t)[0] + w.request
	run := func(n int) (*sample, error) {
		var out bytes.Buffer
		cmd := exec.Command(b.tools.h2load, "-n", strconv.Itoa(n), "-c", strconv.Itoa(w.connections), "-m", "4", "-t", "1", path)
		cmd.Stdout, cmd.Stderr = &out, &out
		o := order{Proxy: t.pids, Ours: []int{b.service.PID}}
		begin, err := takeProbe(&o)
		if err != nil {
			return nil, err
		}
		if err := b.finish(ctx, "h2load", cmd); err != nil {
			return nil, fmt.Errorf("h2load: %w: %s", err, out.Bytes())
		}
		end, err := takeProbe(&o)
		if err != nil {
			return nil, err
		}
		// h2load itself is gone, and so are the ticks of its process.
		end.Ours.CPU += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		end.Ours.Ticks += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		done, perSecond, err := parseH2load(out.String())
		if err != nil {
			return nil, err
		}
		if done != n {
			return nil, fmt.Errorf("h2load: %d of %d answers have status 200:\n%s", done, n, out.Bytes())
		}
		s := &sample{PerSecond: perSecond}
		s.measure(begin, end, int64(n), end.At.Sub(begin.At), w.cores, b.coreCount)
		s.RSS, s.PSS, err = machine.Memory(t.pids)
		return s, err
	}
	first, err := run(trial)
	if err != nil {
		return nil, err
	}
	return run(max(trial, int(first.PerSecond*b.opts.duration.Seconds())))
}

var (
	h2Rate   = regexp.MustCompile(`(?m)^finished in [^,]+, ([0-9.]+) req/s`)
	h2Status = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx`)
	h2Done   = regexp.MustCompile(`(?m)^requests: .* (\d+) succeeded, 0 failed, 0 errored, 0 timeout`)
)

// parseH2load reads how many requests were answered with 2xx, and how fast; a
// failure among them is an error.
func parseH2load(text string) (done int, perSecond float64, err error) {
	rate, status, succeeded := h2Rate.FindStringSubmatch(text), h2Status.FindStringSubmatch(text), h2Done.FindStringSubmatch(text)
	if rate == nil || status == nil || succeeded == nil || status[1] != succeeded[1] {
		return 0, 0, fmt.Errorf("h2load failed, or tells it in words that are new:\n%s", text)
	}
	done, err1 := strconv.Atoi(status[1])
	perSecond, err2 := strconv.ParseFloat(rate[1], 64)
	return done, perSecond, errors.Join(err1, err2)
}
