package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

const (
	nodeCount = 3
	// startLimit is for a cluster to form.
	startLimit = 60 * time.Second
	// stopLimit is for a node to end by itself, so that its profile is whole: it
	// allows itself 25 s.
	stopLimit = 40 * time.Second
	pollEvery = 5 * time.Millisecond
)

// cluster is three nodes that run.
type cluster struct {
	b     *bench
	label string // of profiles
	nodes []*node
}

// node is one of them.
type node struct {
	name, dir    string
	proxy, admin string // addresses
	process      *machine.Process
}

func (n *node) data() string { return filepath.Join(n.dir, "data") }

// startCluster starts an empty cluster, or nothing.
func (b *bench) startCluster(ctx context.Context, label string) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	b.clusters++
	c := &cluster{b: b, label: fmt.Sprintf("%s-%d", label, b.clusters)}
	err := c.start(ctx)
	if err == nil {
		_, err = c.leader(ctx)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// start has every node know all others' addresses, and expect them.
func (c *cluster) start(ctx context.Context) error {
	addrs, err := machine.LastingAddresses(3 * nodeCount)
	if err != nil {
		return err
	}
	join := strings.Join(addrs[:nodeCount], ",")
	for i := range nodeCount {
		name := fmt.Sprintf("node%d", i+1)
		n := &node{name: name, dir: filepath.Join(c.b.dir, c.label, name), proxy: addrs[nodeCount+i], admin: addrs[2*nodeCount+i]}
		if err := os.MkdirAll(n.data(), 0o755); err != nil {
			return err
		}
		args := []string{"start", "--node-name", name, "--data-dir", n.data(), "--join", join, "--expect", fmt.Sprint(nodeCount),
			"--cluster-listen", addrs[i], "--proxy-listen", n.proxy, "--admin-listen", n.admin, "--status-listen", "off",
			"--proxy-access-log", "off", "--admin-access-log", "off", "--proxy-error-log", n.log(), "--admin-error-log", n.log(), "--log-level", "error"}
		if err := n.start(c.b, args); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.await(ctx, func() error { _, err := n.whole(ctx); return err }); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) start(b *bench, args []string) error {
	output, err := os.Create(n.output())
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(b.opts.sluice, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, withoutSettings(os.Environ()), output, output
	if b.opts.profile != "" {
		cmd.Env = append(cmd.Env, "CPU_PROFILE_DIR="+n.dir)
	}
	n.process, err = b.starter.Start(n.name, cmd, b.cores, syscall.SIGKILL)
	return err
}

func (n *node) log() string    { return filepath.Join(n.dir, "log") }
func (n *node) output() string { return filepath.Join(n.dir, "output") }

// withoutSettings keeps settings of whoever runs this out of the nodes.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "KONG_") && !strings.HasPrefix(e, "SLUICE_") && !strings.HasPrefix(e, "CPU_PROFILE_DIR=") {
			kept = append(kept, e)
		}
	}
	return kept
}

// stop ends the nodes and removes their data. They are killed, for nothing is kept, but where a profile has to be
// written at the end.
func (c *cluster) stop() {
	signal := syscall.SIGKILL
	if c.b.opts.profile != "" {
		signal = syscall.SIGTERM
	}
	for _, n := range c.nodes {
		n.signal(signal)
	}
	deadline := time.After(stopLimit)
	for _, n := range c.nodes {
		select {
		case <-n.process.Ended():
		case <-deadline:
			c.b.say("%s of %s has not ended and is killed", n.name, c.label)
			n.signal(syscall.SIGKILL)
			<-n.process.Ended()
		}
		c.keepProfile(n)
		c.tellErrors(n)
	}
	if err := os.RemoveAll(filepath.Join(c.b.dir, c.label)); err != nil {
		c.b.say("%v", err)
	}
}

// signal sends one to a process that has not ended.
func (n *node) signal(s syscall.Signal) {
	select {
	case <-n.process.Ended():
	default:
		_ = syscall.Kill(n.process.PID, s) // gone this moment: as well
	}
}

// tellErrors shows the end of a node's error log: there should be nothing in it, and where a measure failed the
// reason may be there.
func (c *cluster) tellErrors(n *node) {
	const most = 5
	text, _ := os.ReadFile(n.log()) // none: nothing to tell
	lines := slices.Collect(strings.Lines(string(text)))
	for _, line := range lines[max(0, len(lines)-most):] {
		c.b.say("%s, the log of %s (%d lines): %.500s", c.label, n.name, len(lines), strings.TrimSpace(line))
	}
}

// keepProfile copies the profile of a node that has ended to where it was asked for.
func (c *cluster) keepProfile(n *node) {
	if c.b.opts.profile == "" {
		return
	}
	found, _ := filepath.Glob(filepath.Join(n.dir, "*.pprof")) // the pattern is a good one
	if len(found) == 0 {
		c.b.say("%s of %s left no profile", n.name, c.label)
	}
	for _, from := range found {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(c.b.opts.profile, c.label+"-"+n.name+"-"+filepath.Base(from)), text, 0o644)
		}
		if err != nil {
			c.b.say("profile: %v", err)
		}
	}
}

func (c *cluster) pids() []int {
	var list []int
	for _, n := range c.nodes {
		list = append(list, n.process.PID)
	}
	return list
}

// await tries until there is no error, the node has ended or the context. What it says then has the node's own
// words in it.
func (n *node) await(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-n.process.Ended():
			output, _ := os.ReadFile(n.output())
			return fmt.Errorf("%s has ended (%v), before: %w\n%s", n.name, n.process.Wait(), err, output)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", n.name, context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// whole gives the name of the leader if the node finds its cluster complete, an error if not.
func (n *node) whole(ctx context.Context) (leader string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := dial(ctx, n.admin)
	if err != nil {
		return "", err
	}
	defer c.close()
	a, err := c.do(http.MethodGet, "/cluster", nil)
	if err != nil {
		return "", err
	}
	var state struct {
		Quorum bool `json:"quorum"`
		Nodes  []struct {
			Name   string `json:"name"`
			State  string `json:"state"`
			Leader bool   `json:"leader"`
		} `json:"nodes"`
	}
	if err := errors.Join(a.is(http.StatusOK), json.Unmarshal(a.body, &state)); err != nil {
		return "", err
	}
	alive := 0
	for _, m := range state.Nodes {
		if m.State == "alive" {
			alive++
		}
		if m.Leader {
			leader = m.Name
		}
	}
	if alive < nodeCount || !state.Quorum || leader == "" {
		return "", fmt.Errorf("%d nodes of %d, quorum %v, leader %q", alive, nodeCount, state.Quorum, leader)
	}
	return leader, nil
}

// leader gives the node that leads; it waits while there is none.
func (c *cluster) leader(ctx context.Context) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var name string
	first := c.nodes[0]
	if err := first.await(ctx, func() (err error) { name, err = first.whole(ctx); return err }); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("the cluster is led by %q, which is none of its nodes", name)
}

// follower gives one that does not lead.
func (c *cluster) follower(ctx context.Context) (*node, error) {
	leader, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if n != leader {
			return n, nil
		}
	}
	return nil, errors.New("no node but the leader")
}
