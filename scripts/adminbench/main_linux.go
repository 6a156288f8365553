// Command adminbench measures the Admin API of a cluster of three nodes on this
// machine; see DESIGN.md, and its --help.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "adminbench:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := newBench(opts, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	return b.all(ctx, stdout)
}

// options are the flags.
type options struct {
	rounds   int
	duration time.Duration // of a load in a round
	patience time.Duration // for a collection of garbage
	only     []string
	sluice   string
	out      string
	dir      string
	profile  string
	sizes    sizes
}

// sizes is how much there is of everything. With less than the usual a figure
// has no goal.
type sizes struct {
	clients   int // of the mixed writes
	present   int // consumers with keys that are there when writes and GETs begin
	consumers int // of the lists
	page      int
	routes    int
	// batch is how many entities a request of an import has at most. There is no such bound on a node's side, but the
	// node that is asked waits 5 s for the leader to do all of them (cluster.Timing), too short for 40,000 on a busy
	// machine.
	batch    int
	snapshot int64 // bytes of the state on disk
	changes  int   // how often in a round a snapshot is waited for
	// quiet is a pause after which no node remembers the snapshot before.
	quiet time.Duration
}

func usualSizes() sizes {
	return sizes{clients: 16, present: 1000, consumers: 100_000, page: 1000, routes: 10_000, batch: 20_000, snapshot: 1_000_000, changes: 4, quiet: 2500 * time.Millisecond}
}

const usage = `adminbench starts three nodes of Sluice on this machine's loopback, each with its
own data directory and with fsync, and measures their Admin API: mixed writes,
reads, lists of many consumers, the import of many routes, and how soon a change
is in a snapshot. Every answer is checked. Use a machine that does nothing else.

  make bench-admin                                           all, about 20 minutes
  make bench-admin ADMINBENCHFLAGS='-only writes,get'        two of them, nothing is written
  make bench-admin ADMINBENCHFLAGS='-only routes -routes 500 -rounds 1'
  make bench-admin ADMINBENCHFLAGS='-dir /mnt/disk'          the nodes' data on another disk

What can be measured:

%s
CPU profiles of the nodes need a binary that can make them:

  go build -tags profile -pgo=off -trimpath -o bin/sluice-profile ./cmd/sluice
  make bench-admin ADMINBENCHFLAGS='-only writes -sluice bin/sluice-profile -profile profiles'
  go tool pprof -top bin/sluice-profile profiles/writes-1-node1-*.pprof

Progress goes to stderr, the table to stdout, and after a full run to
docs/benchmarks-admin.md. Ctrl-C stops everything and leaves nothing.

`

func parse(args []string, stderr io.Writer) (options, error) {
	const docs = "docs/benchmarks-admin.md"
	o := options{sizes: usualSizes()}
	flags := flag.NewFlagSet("adminbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		var list strings.Builder
		for _, m := range measures() {
			fmt.Fprintf(&list, "  %-10s %s\n", m.name, m.title)
		}
		_, _ = fmt.Fprintf(stderr, usage, list.String())
		flags.PrintDefaults()
	}
	only := flags.String("only", "", "what to measure, by commas (default everything)")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of each; their median is judged (consumers: at most 3)")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "time of each load in a round; a second of warming up comes before")
	flags.DurationVar(&o.patience, "gc-wait", 150*time.Second, "longest wait for a node to collect its garbage before its memory is read; 0: read it at once")
	flags.StringVar(&o.sluice, "sluice", "bin/sluice", "the binary to measure")
	flags.StringVar(&o.out, "out", "", "file of the table (default "+docs+" if everything is measured in the usual sizes, else none)")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the nodes' data goes, in a directory that is removed at the end")
	flags.StringVar(&o.profile, "profile", "", "directory for CPU profiles of the nodes; the binary must be built with the tag profile")
	flags.IntVar(&o.sizes.consumers, "consumers", o.sizes.consumers, "how many consumers the lists are of")
	flags.IntVar(&o.sizes.routes, "routes", o.sizes.routes, "how many routes are imported, each with its service")
	flags.IntVar(&o.sizes.batch, "batch", o.sizes.batch, "most entities in one request of an import")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.rounds < 1 || o.duration < 50*time.Millisecond || o.sizes.consumers < 1 || o.sizes.routes < 1 || o.sizes.batch < 1 {
		return o, errors.New("no arguments, at least one round, 50ms, one consumer, one route, and a batch of one: see -help")
	}
	if *only != "" {
		for name := range strings.SplitSeq(*only, ",") {
			o.only = append(o.only, strings.TrimSpace(name))
		}
	} else if o.out == "" && o.sizes == usualSizes() && o.profile == "" {
		o.out = docs
	}
	if _, err := chosen(o.only); err != nil {
		return o, err
	}
	return o, o.absolute()
}

// absolute makes paths those that the nodes understand in their directories.
func (o *options) absolute() (err error) {
	if o.sluice, err = filepath.Abs(o.sluice); err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(o.sluice)
	if err != nil {
		return fmt.Errorf("the binary to measure (make build makes it): %w", err)
	}
	if o.profile == "" {
		return nil
	}
	tagged := false
	for _, s := range info.Settings {
		tagged = tagged || s.Key == "-tags" && slices.Contains(strings.Split(s.Value, ","), "profile")
	}
	if !tagged {
		return fmt.Errorf("%s makes no profiles: build it with -tags profile, see -help", o.sluice)
	}
	if o.profile, err = filepath.Abs(o.profile); err != nil {
		return err
	}
	return os.MkdirAll(o.profile, 0o755)
}

// measure is one thing that is measured, for a number of figures.
type measure struct {
	name, title string
	most        int // rounds, 0: as many as are asked for
	run         func(ctx context.Context, b *bench, rounds int) ([]*figure, error)
}

func measures() []measure {
	return []measure{
		{"writes", "mixed writes through a follower and through the leader", 0, measureWrites},
		{"get", "GET of one consumer by name and by id, one client", 0, measureGet},
		{"consumers", "many consumers with keys: import, pages of a list, memory", 3, measureConsumers},
		{"routes", "import of many routes until every proxy serves the last", 0, measureRoutes},
		{"snapshot", "from the answer to a change until it is in a snapshot on every disk", 0, measureSnapshot},
	}
}

// chosen gives the measures of these names, all for none, and an error for a name there is not.
func chosen(names []string) ([]measure, error) {
	all := measures()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(m measure) bool { return m.name == name }) {
			return nil, fmt.Errorf("nothing to measure is named %q: see -help", name)
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(m measure) bool { return !slices.Contains(names, m.name) }), nil
}
