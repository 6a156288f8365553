package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// order is what a generator's process is told.
type order struct {
	Job   load.Job
	Proxy []int // processes that are measured
	Ours  []int // processes that are the benchmark's, apart from the generator
}

// outcome is what it tells.
type outcome struct {
	Result     load.Result
	Begin, End probe
}

// probe is the state of the clocks at one moment.
type probe struct {
	At          time.Time
	Proxy, Ours machine.Usage
	Busy, Steal time.Duration // of all cores
	RSS, PSS    int64         // of Proxy
}

func takeProbe(o *order) (p probe, err error) {
	p.At = time.Now()
	if p.Proxy, err = machine.UsageOf(o.Proxy); err != nil {
		return p, fmt.Errorf("the proxy: %w", err)
	}
	if p.Ours, err = machine.UsageOf(append([]int{os.Getpid()}, o.Ours...)); err != nil {
		return p, fmt.Errorf("the benchmark: %w", err)
	}
	p.Busy, p.Steal, err = machine.Busy()
	return p, err
}

// generate reads an order, does its job and writes the outcome. Processor time
// is read here and not by the parent: at the moment at which the requests that
// count begin and end.
func generate(stdin io.Reader, stdout io.Writer) error {
	var o order
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	var out outcome
	take := func(p *probe) func() error {
		return func() (err error) {
			// Memory first at the beginning, last at the end: it takes long.
			var rss, pss int64
			if p == &out.Begin {
				rss, pss, err = machine.Memory(o.Proxy)
			}
			if err == nil {
				*p, err = takeProbe(&o)
			}
			if err == nil && p == &out.End {
				rss, pss, err = machine.Memory(o.Proxy)
			}
			p.RSS, p.PSS = rss, pss
			return err
		}
	}
	var err error
	o.Job.Alone = true
	if out.Result, err = load.Run(o.Job, take(&out.Begin), take(&out.End)); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return json.NewEncoder(stdout).Encode(out)
}

// relay passes on what comes to an address to that of the service.
func relay(address, service string) error {
	r, err := load.NewRelay(address, service)
	if err != nil {
		return err
	}
	return r.Run()
}

// serve answers until its standard input ends; its first line is its address.
func serve(stdout io.Writer) error {
	service, address, err := load.NewService(true)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, address); err != nil {
		return err
	}
	return service.Serve(int(os.Stdin.Fd()))
}
