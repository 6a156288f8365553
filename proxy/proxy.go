// Package proxy is the data plane: it takes requests from clients, finds their
// route, runs the plugins, asks the service and answers. DESIGN.md has a chart
// of a request's life.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/listen"
	"github.com/sluicegate/sluice/proxy/tlsconf"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// Proxy serves requests on its listeners. Safe for concurrent use.
type Proxy struct {
	cfg      Config
	log      *zap.Logger
	current  atomic.Pointer[snapshot]
	compiler *compiler
	client   upstream.Client
	headers  headerPolicy
	trust    trust
	access   *accessLog // nil without an access log
	metrics  *metrics
	conns    connCounts
	// certificates and tickets are for TLS listeners.
	certificates *tlsconf.Certificates
	tickets      *tlsconf.Tickets // nil: sessions are not resumed

	exchanges sync.Pool
	inFlight  shardedGauge
	shards    atomic.Uint32

	// ctx is the parent of every request's context; cancel is the last means
	// of a shutdown.
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	fronts  []listenerFront
	loops   eventLoops
	started bool
	done    bool
	owned   sync.WaitGroup // the compile loop
}

// New makes a proxy and compiles the newest configuration. It serves nothing
// before Start, but has to be shut down also without it. The error wraps
// ErrConfig.
func New(cfg Config) (*Proxy, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	policy, err := newHeaderPolicy(cfg.Headers, cfg.HeadersUpstream, cfg.Version)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg:     cfg,
		log:     cfg.Logger,
		headers: policy,
		trust:   newTrust(cfg),
	}
	p.client = upstream.New(p.upstreamConfig())
	p.certificates = tlsconf.NewCertificates(tlsconf.Config{
		Fallback: cfg.Certificate, Stapler: cfg.Stapler, Resolve: resolver(cfg.Vaults), Now: cfg.Env.Now,
	})
	if cfg.SessionTimeout > 0 {
		p.tickets = tlsconf.NewTickets(cfg.SessionTimeout, nil, cfg.Env.Now)
	}
	p.metrics = newMetrics(p)
	p.exchanges.New = func() any { return newExchange(p) }
	p.compiler = newCompiler(cfg, p.metrics, p.certificates)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.swap(p.first())
	return p, nil
}

// Start binds every listener before it returns, and then serves until
// Shutdown. The error names the address that cannot be used; nothing is left
// running then. ctx bounds the binding only.
func (p *Proxy) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.done {
		return fmt.Errorf("%w: a proxy starts once", ErrConfig)
	}
	if err := p.metrics.register(p.cfg.Metrics); err != nil {
		return err
	}
	var listeners []net.Listener
	for _, l := range p.cfg.Listen {
		ln, err := listen.TCP(ctx, l.Address)
		if err != nil {
			return errors.Join(fmt.Errorf("proxy cannot listen on %s: %w", l.Address, err), p.abandon(listeners))
		}
		listeners = append(listeners, ln)
	}
	if err := p.loops.start(p); err != nil {
		return errors.Join(err, p.abandon(listeners))
	}
	for i, ln := range listeners {
		p.fronts = append(p.fronts, p.loops.front(p, p.cfg.Listen[i], ln))
	}
	if p.cfg.AccessLog != nil {
		p.access = newAccessLog(p.cfg.AccessLog, p.cfg.AccessLogFormat, p.log)
	}
	p.started = true
	p.owned.Go(func() { p.compileLoop(p.ctx) })
	if p.cfg.Stapler != nil {
		p.owned.Go(func() { p.cfg.Stapler.Run(p.ctx) })
	}
	for _, f := range p.fronts {
		if err := f.start(); err != nil {
			return err
		}
	}
	return nil
}

// upstreamConfig is how services are spoken to.
func (p *Proxy) upstreamConfig() upstream.Config {
	return upstream.Config{RootCAs: p.cfg.UpstreamTLS.Roots, Keepalive: p.cfg.Keepalive}
}

// serverTLS is how a listener speaks TLS.
func (p *Proxy) serverTLS(l Listener) *tls.Config {
	protos := []string{"http/1.1"}
	if l.HTTP2 {
		protos = []string{"h2", "http/1.1"}
	}
	return tlsconf.Server{Profile: p.cfg.TLSProfile, Tickets: p.tickets, GetCertificate: p.certificates.GetCertificate}.TLSConfig(protos...)
}

// listenerFront serves one listener.
type listenerFront interface {
	addr() net.Addr
	start() error
	// drain takes no more connections and waits for the requests in flight.
	drain(ctx context.Context) error
	// close closes what drain has left.
	close() error
}

// abandon undoes a start that has failed before it served anything.
func (p *Proxy) abandon(listeners []net.Listener) error {
	p.metrics.unregister(p.cfg.Metrics)
	var err error
	for _, ln := range listeners {
		err = errors.Join(err, ln.Close())
	}
	return err
}

// Addrs gives the addresses of the listeners in the order of Config.Listen,
// once Start has returned.
func (p *Proxy) Addrs() []net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	addrs := make([]net.Addr, len(p.fronts))
	for i, f := range p.fronts {
		addrs[i] = f.addr()
	}
	return addrs
}

// Shutdown takes no more connections, lets the requests in flight end, and
// closes everything. Requests and tunnels that last longer than ctx are cut;
// the error is then the context's. No goroutine of the proxy is left when it
// returns.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	p.done = true
	err := p.drain(ctx)
	p.cancel()
	for _, f := range p.fronts {
		err = errors.Join(err, f.close())
	}
	err = errors.Join(err, p.loops.close())
	p.awaitHandlers()
	p.owned.Wait()
	p.client.Close()
	if p.access != nil {
		p.access.close()
	}
	if p.started {
		p.metrics.unregister(p.cfg.Metrics)
	}
	return err
}

// drain waits until every front has no connection in use and no tunnel is open.
func (p *Proxy) drain(ctx context.Context) error {
	errs := make([]error, len(p.fronts)+1)
	var wg sync.WaitGroup
	for i, f := range p.fronts {
		wg.Go(func() { errs[i] = f.drain(ctx) })
	}
	wg.Go(func() { errs[len(p.fronts)] = p.loops.drain(ctx) })
	wg.Wait()
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for p.inFlight.sum() > 0 { // tunnels: net/http no longer knows them
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return errors.Join(errs...)
}

// drainPoll is how often Shutdown looks whether the last exchange has ended.
const drainPoll = 5 * time.Millisecond

// awaitHandlers waits for the exchanges that cancel has cut. Every wait of an
// exchange ends with its context or its connection, so this is short.
func (p *Proxy) awaitHandlers() {
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for p.inFlight.sum() > 0 {
		<-ticker.C
	}
}
