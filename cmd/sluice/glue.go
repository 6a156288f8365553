package main

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// apiCluster is the cluster as the Admin API wants it.
type apiCluster struct{ node *cluster.Node }

func (c apiCluster) WaitServed(ctx context.Context, index uint64) error {
	return c.node.WaitServed(ctx, index)
}
func (c apiCluster) WaitAll(ctx context.Context, index uint64) ([]string, error) {
	return c.node.WaitAll(ctx, index)
}
func (c apiCluster) Status() any { return c.node.Status() }
func (c apiCluster) ID() string  { return c.node.ID() }

// openAccessLog gives nil for a log that is off, so that no lines are made.
func (g *gateway) openAccessLog(path string) (io.Writer, error) {
	if path == "" {
		return nil, nil
	}
	return g.files.Open(path)
}

// connections is the proxy's part of GET /status.
func (g *gateway) connections() api.Connections {
	s := g.proxy.Stats()
	return api.Connections{
		Accepted: s.ConnectionsAccepted, Handled: s.ConnectionsHandled, Active: s.ConnectionsActive,
		Reading: s.ConnectionsReading, Writing: s.ConnectionsWriting, Waiting: s.ConnectionsWaiting,
		Requests: s.TotalRequests,
	}
}

// problems is the entities that the proxy cannot serve.
func (g *gateway) problems() any {
	ps := g.proxy.Problems()
	out := make([]problem, len(ps))
	for i, p := range ps {
		out[i] = problem{Kind: p.Kind, ID: p.ID, Message: p.Err.Error()}
	}
	return out
}

// problem is one entity that the proxy cannot serve, as GET /status shows it.
type problem struct {
	Kind    string `json:"kind"`
	ID      string `json:"id"`
	Message string `json:"message"`
}

// info is what GET / tells.
func (g *gateway) info() api.Info {
	settings := map[string]any{}
	for _, v := range g.cfg.Values() {
		settings[v.Name] = v.Shown()
	}
	return api.Info{
		Version: kongVersion, SluiceVersion: buildVersion(), Hostname: hostname(),
		ProxyListeners: apiListeners(g.cfg.ProxyListen()), AdminListeners: apiListeners(g.cfg.AdminListen()),
		Configuration: settings,
	}
}

func apiListeners(ls []config.Listener) []api.Listener {
	all := make([]api.Listener, len(ls))
	for i, l := range ls {
		host, port, _ := net.SplitHostPort(l.Addr)
		n, _ := strconv.Atoi(port) // both were checked with the settings
		text := l.Addr
		if l.TLS {
			text += " ssl"
		}
		if l.HTTP2 {
			text += " http2"
		}
		if l.ProxyProtocol {
			text += " proxy_protocol"
		}
		all[i] = api.Listener{Listener: text, IP: host, Port: n, SSL: l.TLS, HTTP2: l.HTTP2, ProxyProtocol: l.ProxyProtocol}
		for _, flag := range l.Tuning {
			all[i].Listener += " " + flag
			all[i].Reuseport = all[i].Reuseport || flag == "reuseport"
			all[i].Deferred = all[i].Deferred || flag == "deferred"
			all[i].Bind = all[i].Bind || flag == "bind"
			all[i].Backlog = all[i].Backlog || strings.HasPrefix(flag, "backlog=")
		}
	}
	return all
}

// keepalive gives Kong's settings of kept connections, in which 0 means none or
// no bound.
func keepalive(cfg *config.Config) upstream.Keepalive {
	k := upstream.Keepalive{
		PoolSize: cfg.UpstreamKeepalivePoolSize(), MaxRequests: cfg.UpstreamKeepaliveMaxRequests(),
		IdleTimeout: cfg.UpstreamKeepaliveIdleTimeout(),
	}
	if k.PoolSize == 0 {
		k.PoolSize = -1
	}
	if k.MaxRequests == 0 {
		k.MaxRequests = -1
	}
	if k.IdleTimeout == 0 {
		k.IdleTimeout = -1
	}
	return k
}
