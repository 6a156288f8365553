// Command chaos does to real nodes what may happen to machines and networks, and
// counts whether any limit was exceeded; see DESIGN.md, and its --help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check"
	"github.com/sluicegate/sluice/scripts/chaos/plan"
)

func main() {
	err := chaos(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	seed     uint64
	runs     int
	nodes    int
	duration time.Duration
	kinds    []plan.Kind
	load     float64
	binary   string
	dir      string
	keep     bool
	plain    bool
	checkDir string
	// faults, in tests, are the plan in place of the seed's.
	faults []plan.Fault
}

const usage = `chaos runs clusters of real nodes, each in a network namespace of its own,
with clients that want more than the limits allow, and does to them what may
happen: partitions in both and in one direction, loss, delay, SIGSTOP, kill -9
with and without the file of tokens, restarts, joins and leaves, clocks that are
set, limits that change. Then an independent checker counts what every process
has recorded of its admissions. More than a limit anywhere is a violation: exit
code 1, and everything that is needed to look into it stays where the last line
says.

  make chaos                                        some minutes, a new seed
  make chaos CHAOSFLAGS='-seed 7 -runs 1'           the faults of seed 7 again
  make chaos CHAOSFLAGS='-runs 20 -duration 3m'     an hour
  make chaos CHAOSFLAGS='-kinds cut,kill'           these faults only
  make chaos CHAOSFLAGS='-check DIR'                count a kept run again

Namespaces take root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and /dev/net/tun. With
-plain, or where they cannot be had, the nodes are on loopback addresses, and
nothing is done to the network. Ctrl-C ends everything; nothing is left behind.

Faults: `

func chaos(args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if o.checkDir != "" {
		return recheck(o.checkDir, stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return series(ctx, o, stdout, stderr)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "%s%s.\n\n", usage, joinKinds(plan.Kinds()))
		flags.PrintDefaults()
	}
	flags.Uint64Var(&o.seed, "seed", 0, "where faults come from, run i has seed+i-1; 0: a new one, which is printed")
	flags.IntVar(&o.runs, "runs", 3, "how many runs, each with a new cluster")
	flags.IntVar(&o.nodes, "nodes", 3, "how many nodes a cluster begins with, 2 to 9")
	flags.DurationVar(&o.duration, "duration", 90*time.Second, "how long each run has load")
	kinds := flags.String("kinds", "", "faults, by commas; none: no faults (default all)")
	flags.Float64Var(&o.load, "load", 1, "times the usual load, which is some 500 requests a second")
	flags.StringVar(&o.binary, "sluice", "bin/sluice-chaos", "the binary, built with -tags chaos so that its clock can be set")
	flags.StringVar(&o.dir, "dir", "", "where runs are kept (default a new temporary directory)")
	flags.BoolVar(&o.keep, "keep", false, "keep runs without a violation, too")
	flags.BoolVar(&o.plain, "plain", false, "no namespaces: no faults of the network")
	flags.StringVar(&o.checkDir, "check", "", "count the run in this directory again, and do nothing else")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.runs < 1 || o.nodes < 2 || o.nodes > 9 || o.duration < 10*time.Second || o.load <= 0 {
		return o, errors.New("no arguments, at least one run, 2 to 9 nodes, at least 10s, and a load above 0: see -help")
	}
	var err error
	o.kinds, err = parseKinds(*kinds)
	return o, err
}

func parseKinds(text string) ([]plan.Kind, error) {
	switch text {
	case "":
		return plan.Kinds(), nil
	case "none":
		return nil, nil
	}
	var ks []plan.Kind
	for name := range strings.SplitSeq(text, ",") {
		k := plan.Kind(strings.TrimSpace(name))
		if !slices.Contains(plan.Kinds(), k) {
			return nil, fmt.Errorf("no fault is called %q: there are %s", name, joinKinds(plan.Kinds()))
		}
		ks = append(ks, k)
	}
	return ks, nil
}

func joinKinds(ks []plan.Kind) string {
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// recheck counts a kept run again.
func recheck(dir string, stdout io.Writer) error {
	result, err := check.Check(dir)
	if err != nil {
		return err
	}
	if err := result.Write(stdout); err != nil {
		return err
	}
	if result.Violations > 0 {
		return fmt.Errorf("%d violations", result.Violations)
	}
	return nil
}

// errInterrupted says that a run was ended by a signal.
var errInterrupted = errors.New("interrupted")

// series makes the runs, and stops at the first that fails.
func series(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w: make chaos builds it", err)
	}
	o.binary = binary
	root, err := rootDir(o.dir)
	if err != nil {
		return err
	}
	var sums []summary
	for i := range o.runs {
		seed := o.seed + uint64(i)
		dir := filepath.Join(root, fmt.Sprintf("seed-%d", seed))
		_, _ = fmt.Fprintf(stderr, "run %d of %d: seed %d, %s, in %s\n", i+1, o.runs, seed, o.duration, dir)
		s, err := single(ctx, o, seed, dir, stderr)
		if errors.Is(err, errInterrupted) && !o.keep {
			return errors.Join(err, os.RemoveAll(dir))
		} else if err != nil {
			return fmt.Errorf("seed %d: %w; see %s", seed, err, dir)
		}
		sums = append(sums, s)
		if err := s.tell(stdout, dir); err != nil {
			return err
		}
		if s.failed() {
			writeSums(stdout, sums)
			return fmt.Errorf("seed %d: %d violations, %d problems; settings, faults, logs and records are in %s (again: -seed %d -runs 1 -duration %s; count again: -check %s)",
				seed, s.result.Violations, len(s.problems), dir, seed, o.duration, dir)
		}
		if !o.keep {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	writeSums(stdout, sums)
	if !o.keep && o.dir == "" {
		return os.Remove(root)
	}
	return nil
}

func rootDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "sluice-chaos-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}
