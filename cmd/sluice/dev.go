package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	// portStep lies between the ports of one node and the next.
	portStep = 10_000
	maxNodes = 5 // as many as vote; the ports of a seventh would not fit below 65536

	devReady = 30 * time.Second
	devStop  = 20 * time.Second
)

// devOptions are the flags of sluice dev.
type devOptions struct {
	nodes    int
	dir      string
	upstream bool
	offset   int
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine",
		Long: `Dev runs a cluster of nodes on this machine, each a process of its own, so that
one can be killed and started again by hand. Node 1 has Kong's ports (8000 and
8443 for the proxy, 8001 and 8444 for the Admin API, 8007 for its status, 8005 for the cluster), node
i has them plus (i-1)*10000. Everything listens on loopback.

Ctrl-C stops all of it; the nodes' data stays in --dir and is there again at the
next start. Remove the directory for a fresh cluster.`,
		Example: `  sluice dev --nodes 3 --upstream`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return runDev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.nodes, "nodes", 3, "how many nodes")
	f.StringVar(&o.dir, "dir", "./dev-data", "directory for the nodes' settings, data and logs")
	f.BoolVar(&o.upstream, "upstream", false, "run a demo upstream on port 5000 as well")
	f.IntVar(&o.offset, "port-offset", 0, "add this to every port, to stay clear of what is there")
	return cmd
}

func (o *devOptions) check() error {
	if o.nodes < 1 || o.nodes > maxNodes {
		return fmt.Errorf("--nodes must be from 1 to %d", maxNodes)
	}
	if last := 8444 + o.offset + (o.nodes-1)*portStep; o.offset < 0 || last > 65535 {
		return fmt.Errorf("--port-offset %d takes ports outside of 1 to 65535", o.offset)
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	o.dir = dir
	there, err := filepath.Glob(filepath.Join(dir, "node*"))
	if err != nil {
		return err
	}
	if len(there) > 0 && len(there) != o.nodes {
		return fmt.Errorf("%s holds a cluster of %d nodes: use --nodes %d, another --dir, or remove it", dir, len(there), len(there))
	}
	return nil
}

// runDev runs the cluster until a signal or a failed start. Whatever happens,
// no child is left when it returns.
func runDev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	unlock, err := lockDevDir(o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	upstreamURL := ""
	if o.upstream {
		up, err := startDemoUpstream(ctx, "localhost:"+strconv.Itoa(5000+o.offset))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, up.close()) }()
		upstreamURL = fmt.Sprintf("http://localhost:%d", 5000+o.offset)
	}
	nodes, err := devNodes(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Starting %d nodes ...\n", len(nodes))
	family, err := startFamily(nodes)
	if err != nil {
		return err
	}
	defer func() { family.stop(devStop, signals) }()

	ready := make(chan error, 1)
	watch, cancel := context.WithTimeout(ctx, devReady)
	var watching sync.WaitGroup
	watching.Go(func() { ready <- awaitCluster(watch, nodes) })
	defer func() { cancel(); watching.Wait() }()
	for {
		select {
		case <-signals:
			fmt.Fprintln(out, "\nStopping ...")
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case n := <-family.ended:
			if ready != nil {
				return fmt.Errorf("%s did not start: %s", n.name, n.lastWords())
			}
			fmt.Fprintf(out, "%s has ended (%s). Start it again with: %s\n", n.name, n.lastWords(), n.startLine())
		case err := <-ready:
			if err != nil {
				return err
			}
			ready = nil // a nil channel is never ready again
			devScreen(out, nodes, upstreamURL, o)
		}
	}
}
