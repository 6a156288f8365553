package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/scripts/bench/load/limits"
	"github.com/sluicegate/sluice/scripts/bench/machine"
)

const (
	limitNodes = 3
	limitGroup = "limits" // -only limits: all works of them
)

// budget is a limit of so many requests of each key in a period, by the plugin's
// name of it, and the name of the gateway's route that has it.
type budget struct {
	name   string
	max    int64
	period string
}

var (
	ample    = budget{"ample", 1_000_000_000, "minute"}
	exact    = budget{"exact", 2_000, "minute"}
	five     = budget{"five", 5, "minute"}
	hourly   = budget{"hourly", 5, "hour"}
	survived = budget{"survived", 6_000, "minute"}
)

func budgets() []budget { return []budget{ample, exact, five, hourly, survived} }

// unlimited is the name of a route without a limit.
const unlimited = "unlimited"

// rivals is all that the works of limits compare: two Redis servers, a cluster
// of Sluice, the limiter in this process, and the service behind the gateways.
type rivals struct {
	b       *bench
	redis   [2]*redisServer // without persistence, and append only
	nodes   []*member
	service *limits.Service
	memory  *limits.Memory
	// shares is when a minute begins of which the nodes have shares; what is left of
	// the one in which the cluster was formed is all in the log.
	shares time.Time
}

// redisServer is a server and how it is started again.
type redisServer struct {
	name, address, dir string
	args               []string
	process            *machine.Process
}

// member is a node of the cluster and how it is started again.
type member struct {
	*target
	env []string
}

// startRivals starts everything, or nothing.
func (b *bench) startRivals(ctx context.Context) (*rivals, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	rv := &rivals{b: b, memory: limits.NewMemory(limitNodes)}
	if err := rv.start(ctx); err != nil {
		return nil, errors.Join(err, rv.stop())
	}
	return rv, nil
}

func (rv *rivals) start(ctx context.Context) (err error) {
	b := rv.b
	for i, appendOnly := range []string{"no", "yes"} {
		if rv.redis[i], err = b.newRedis(appendOnly); err == nil {
			err = rv.redis[i].start(b)
		}
		if err == nil {
			err = rv.redis[i].await(ctx)
		}
		if err != nil {
			return err
		}
	}
	if rv.service, err = limits.NewService(rv.redis[0].address); err != nil {
		return err
	}
	if err := rv.startNodes(ctx); err != nil {
		return err
	}
	err = rv.configure(ctx)
	rv.shares = time.Now().Add(rosterDelay).Truncate(time.Minute).Add(time.Minute)
	return err
}

// rosterDelay is how long before a window it is decided who has shares of it.
const rosterDelay = time.Duration(ledger.Delay) * time.Microsecond

// stop ends everything. Killed at once: nothing of theirs is kept.
func (rv *rivals) stop() error {
	for _, n := range rv.nodes {
		kill(n.process)
	}
	for _, r := range rv.redis {
		if r != nil {
			kill(r.process)
		}
	}
	if rv.service != nil {
		rv.service.Close()
	}
	return rv.memory.Close()
}

// kill is kill -9, and returns when the process is gone.
func kill(p *machine.Process) {
	if p == nil {
		return
	}
	select {
	case <-p.Ended():
	default:
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // gone this moment: as well
		<-p.Ended()
	}
}

// pids are the processes whose time is counted beside the benchmark's own.
func (rv *rivals) pids() []int {
	var list []int
	for _, r := range rv.redis {
		list = append(list, r.process.PID)
	}
	for _, n := range rv.nodes {
		list = append(list, n.process.PID)
	}
	return list
}

func (b *bench) newRedis(appendOnly string) (*redisServer, error) {
	dir, err := os.MkdirTemp(b.dir, "redis")
	if err != nil {
		return nil, err
	}
	addrs, err := machine.LastingAddresses(1)
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addrs[0], ":")
	return &redisServer{name: "redis", address: addrs[0], dir: dir, args: []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", appendOnly, "--appendfsync", "everysec", "--daemonize", "no"}}, nil
}

func (r *redisServer) start(b *bench) (err error) {
	cmd := exec.Command(b.tools.redis, r.args...)
	output, err := os.OpenFile(filepath.Join(r.dir, "output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	cmd.Stdout, cmd.Stderr = output, output
	r.process, err = b.starter.Start(r.name, cmd, b.cores, syscall.SIGKILL)
	return err
}

// await returns when the server counts.
func (r *redisServer) await(ctx context.Context) error {
	counter := &limits.Redis{Address: r.address, Limit: 1}
	defer counter.Close()
	err := await(ctx, &target{process: r.process}, func() error {
		_, err := counter.Decide(ctx, "up")
		return err
	})
	return r.explain(err)
}

func (r *redisServer) explain(err error) error {
	if err == nil {
		return nil
	}
	output, _ := os.ReadFile(filepath.Join(r.dir, "output"))
	return fmt.Errorf("%s: %w\n%s", r.name, err, output)
}

// startNodes starts the cluster as sluice dev does: each knows all others'
// addresses, and expects them.
func (rv *rivals) startNodes(ctx context.Context) error {
	addrs, err := machine.LastingAddresses(3 * limitNodes)
	if err != nil {
		return err
	}
	join := strings.Join(addrs[:limitNodes], ", ")
	for i := range limitNodes {
		name := fmt.Sprintf("node%d", i+1)
		dir, err := os.MkdirTemp(rv.b.dir, name)
		if err != nil {
			return err
		}
		plain, admin, log := addrs[limitNodes+i], addrs[2*limitNodes+i], filepath.Join(dir, "error.log")
		n := &member{target: &target{name: name, dir: dir, plain: plain, admin: "http://" + admin}, env: append(withoutSettings(os.Environ()),
			"SLUICE_NODE_NAME="+name, "SLUICE_JOIN="+join, fmt.Sprintf("SLUICE_EXPECT=%d", limitNodes),
			"KONG_PROXY_LISTEN="+plain+" reuseport backlog=4096", "KONG_ADMIN_LISTEN="+admin, "KONG_STATUS_LISTEN=off", "SLUICE_CLUSTER_LISTEN="+addrs[i],
			"SLUICE_DATA_DIR="+filepath.Join(dir, "data"), "SLUICE_MANAGER_LISTEN=off",
			"KONG_PROXY_ACCESS_LOG=off", "KONG_ADMIN_ACCESS_LOG=off", "KONG_PROXY_ERROR_LOG="+log, "KONG_ADMIN_ERROR_LOG="+log)}
		if err := n.start(rv.b); err != nil {
			return err
		}
		rv.nodes = append(rv.nodes, n)
	}
	return rv.whole(ctx)
}

func (n *member) start(b *bench) error {
	path, err := filepath.Abs(b.opts.sluice)
	if err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(n.dir, "output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(path, "start")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, n.env, output, output
	n.process, err = b.starter.Start(n.name, cmd, b.cores, syscall.SIGKILL)
	return err
}

// clusterState is what a node's Admin API says of its cluster.
type clusterState struct {
	Quorum bool `json:"quorum"`
	Nodes  []struct {
		Name   string `json:"name"`
		State  string `json:"state"`
		Leader bool   `json:"leader"`
	} `json:"nodes"`
}

// leader gives the name of the leader of a cluster that is whole, and an error
// of any other.
func (c *clusterState) leader() (name string, err error) {
	alive := 0
	for _, n := range c.Nodes {
		if n.State == "alive" {
			alive++
		}
		if n.Leader {
			name = n.Name
		}
	}
	if alive < limitNodes || !c.Quorum || name == "" {
		return "", fmt.Errorf("%d nodes of %d, quorum %v, leader %q", alive, limitNodes, c.Quorum, name)
	}
	return name, nil
}

func (n *member) state(ctx context.Context) (state clusterState, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.admin+"/cluster", nil)
	if err != nil {
		return state, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return state, err
	}
	err = json.NewDecoder(resp.Body).Decode(&state)
	return state, errors.Join(err, resp.Body.Close())
}

// whole waits until every node finds the cluster whole.
func (rv *rivals) whole(ctx context.Context) error {
	for _, n := range rv.nodes {
		err := await(ctx, n.target, func() error {
			state, err := n.state(ctx)
			if err == nil {
				_, err = state.leader()
			}
			return err
		})
		if err != nil {
			output, _ := os.ReadFile(filepath.Join(n.dir, "output"))
			return fmt.Errorf("%s: %w\n%s", n.name, err, output)
		}
	}
	return nil
}

// leader is the node that leads.
func (rv *rivals) leader(ctx context.Context) (*member, error) {
	state, err := rv.nodes[0].state(ctx)
	if err != nil {
		return nil, err
	}
	name, err := state.leader()
	for _, n := range rv.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, errors.Join(err, fmt.Errorf("no node is named %q", name))
}

// configure makes a route for each budget, one without, and one whose requests the
// service counts, and waits until all nodes have them.
func (rv *rivals) configure(ctx context.Context) error {
	first := rv.nodes[0]
	post := func(path string, fields url.Values) error { return first.api(ctx, http.MethodPost, path, fields) }
	route := func(name string) error {
		return post("/services/limits/routes", url.Values{"name": {name}, "paths[]": {"/" + name + "/"}, "strip_path": {"false"}})
	}
	counted := strings.Trim(limits.CountedPath, "/")
	err := errors.Join(post("/services", url.Values{"name": {"limits"}, "url": {"http://" + rv.service.Address}}), route(counted), route(unlimited))
	if err != nil {
		return err
	}
	paths := []string{limits.CountedPath + "1/up", "/" + unlimited + "/up"}
	for _, g := range budgets() {
		err := errors.Join(route(g.name), post("/routes/"+g.name+"/plugins", url.Values{"name": {"rate-limiting"},
			"config." + g.period: {fmt.Sprint(g.max)}, "config.policy": {"local"},
			"config.limit_by": {"header"}, "config.header_name": {limits.KeyHeader}}))
		if err != nil {
			return err
		}
		paths = append(paths, "/"+g.name+"/up")
	}
	for _, n := range rv.nodes {
		for _, path := range paths {
			d := &limits.Gateway{Addresses: []string{n.plain}, Path: path}
			err := await(ctx, n.target, func() error {
				_, err := d.Decide(ctx, "up")
				return err
			})
			d.Close()
			if err != nil {
				return fmt.Errorf("%s: GET %s: %w", n.name, path, err)
			}
		}
	}
	return nil
}
