// Command bench compares Sluice with nginx and haproxy on this machine; see
// DESIGN.md, and its --help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is one of four programs: the load, the service behind the proxies and a
// relay are processes of this binary.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if part := partOf(args); part != nil {
		runtime.LockOSThread() // the one whose timer slack is set
		return part(stdin, stdout)
	}
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if opts.list {
		for _, w := range works() {
			_, _ = fmt.Fprintf(stdout, "%-14s %s\n", w.name, w.title)
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return compare(ctx, opts, stdout, stderr)
}

// partOf gives the part that the arguments name, nil if they name none.
func partOf(args []string) func(io.Reader, io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "generate":
		return generate
	case len(args) == 1 && args[0] == "serve":
		return func(_ io.Reader, stdout io.Writer) error { return serve(stdout) }
	case len(args) == 3 && args[0] == "relay":
		return func(io.Reader, io.Writer) error { return relay(args[1], args[2]) }
	}
	return nil
}

// options are the flags.
type options struct {
	rounds   int
	duration time.Duration
	only     []string
	sluice   string
	out      string
	list     bool
}

// shortest is how long a sample lasts at least.
const shortest = 100 * time.Millisecond

const usage = `bench compares Sluice with nginx, and with haproxy where it is installed: the
same work on the same machine, in paired rounds, by processor time per request,
latency at a fixed rate, and memory. nginx is required: apt-get install nginx
haproxy nghttp2-client (h2load, for HTTP/2) redis-server (to compare limits with a
counter in Redis). Use a machine that does nothing else.

  make bench                                  all works, about 25 minutes
  make bench BENCHFLAGS='-list'               what there is to measure
  make bench BENCHFLAGS='-only small,tls'     two of them, nothing written
  make bench BENCHFLAGS='-only limits'        the works of limits
  make bench BENCHFLAGS='-only idle -out x.md'

Progress goes to stderr, the table to stdout, and after a full run to
docs/benchmarks.md with a plot, docs/benchmarks.svg. Ctrl-C stops everything.

`

func parse(args []string, stderr io.Writer) (options, error) {
	const docs = "docs/benchmarks.md"
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	only := flags.String("only", "", "works to measure, by commas; limits: all of limits (default all works)")
	flags.IntVar(&o.rounds, "rounds", 7, "paired rounds of each work, whose median is reported; works of CPU have four times as many, those of p99 three times")
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "time that counts in one round of one proxy (works of CPU: a quarter of it, of p99: half); 0.3 s of warming up come before")
	flags.StringVar(&o.sluice, "sluice", "bin/sluice", "the binary to measure")
	flags.StringVar(&o.out, "out", "", "file of the table, the plot goes beside it (default "+docs+" if all works are measured, else none)")
	flags.BoolVar(&o.list, "list", false, "list the works, and end")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.rounds < 1 || o.duration < shortest {
		return o, errors.New("no arguments, at least one round, and at least 100ms: see -help")
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	} else if o.out == "" {
		o.out = docs
	}
	return o, nil
}

// chosen gives the works to measure, and an error for a name there is not.
func chosen(all []work, only []string) ([]work, error) {
	if len(only) == 0 {
		return all, nil
	}
	var list []work
	for _, name := range only {
		found := false
		for _, w := range all {
			if w.name == name || w.group == name {
				list, found = append(list, w), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no work is named %q: see -list", name)
		}
	}
	return list, nil
}

// tools are the programs to compare with. Only nginx must be there.
type tools struct{ nginx, haproxy, h2load, redis string }

// lack says why a work that needs a program is not measured; empty if it is.
func (t *tools) lack(needs string) string {
	switch {
	case needs == "h2load" && t.h2load == "":
		return "h2load is not installed (apt-get install nghttp2-client)"
	case needs == "redis-server" && t.redis == "":
		return "redis-server is not installed (apt-get install redis-server)"
	}
	return ""
}

func findTools() (t tools, err error) {
	look := func(name string) string {
		for _, n := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(n); err == nil {
				return path
			}
		}
		return ""
	}
	t = tools{look("nginx"), look("haproxy"), look("h2load"), look("redis-server")}
	if t.nginx == "" {
		return t, errors.New("nginx is not installed, and everything is compared with it: apt-get install nginx (and haproxy nghttp2-client)")
	}
	return t, nil
}
