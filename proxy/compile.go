package proxy

import (
	"fmt"
	"maps"
	"net"
	"net/textproto"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
	"github.com/sluicegate/sluice/proxy/tlsconf"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// compiler builds snapshots. It remembers the last one's parts, and builds anew
// only what depends on entities that have changed. One goroutine at a time uses
// it.
type compiler struct {
	env     *plugin.Env
	log     *zap.Logger
	metrics *metrics
	secrets tlsconf.Resolve

	certificates *tlsconf.Certificates
	upstreams    *tlsconf.Upstreams

	last           *snapshot
	versions       [len(compiledKinds)]uint64 // of the last view
	instances      map[string]*instance
	pluginProblems []Problem
	index          *chainIndex
	services       map[string]*fsm.Service
	routes         routeCompiler
}

// compiledKinds are the kinds that the route table depends on, besides what
// tlsconf looks at.
var compiledKinds = [...]string{"routes", "services", "plugins", "vaults"}

// changes says what is not as it was in the last snapshot. vaults is part of
// plugins and trust.
type changes struct{ routes, services, plugins, trust, vaults bool }

func newCompiler(cfg Config, m *metrics, c *tlsconf.Certificates) *compiler {
	return &compiler{env: cfg.Env, log: cfg.Logger, metrics: m, instances: map[string]*instance{},
		secrets: resolver(cfg.Vaults), certificates: c, upstreams: tlsconf.NewUpstreams(cfg.UpstreamTLS, resolver(cfg.Vaults)),
		routes: newRouteCompiler()}
}

// build compiles a view. It never fails as a whole: an entity that makes no
// sense becomes a Problem and disables its own scope.
func (c *compiler) build(view *fsm.View) *snapshot {
	s := &snapshot{view: view, index: view.ConfigIndex(), directory: newDirectory(view, c.env.Now),
		superseded: make(chan struct{})}
	c.routes.targets.age()
	unreadable := c.certificates.Update(view)
	changed := c.changes(view)
	if changed.plugins {
		c.index = newChainIndex(c.instantiate(view, changed.vaults))
		c.pluginProblems = c.findPluginProblems()
	}
	if changed.services {
		c.services = servicesByID(view)
	}
	if changed == (changes{}) {
		s.routes, s.rewriters, s.unmatched = c.last.routes, c.last.rewriters, c.last.unmatched
	} else {
		s.routes = c.buildRoutes(view, changed)
		s.rewriters = c.index.rewriters()
		s.unmatched = c.index.chain("", "", protoAny)
	}
	s.problems = slices.Concat(s.routes.problems, c.pluginProblems)
	for _, p := range unreadable {
		s.problems = append(s.problems, Problem(p))
	}
	c.last = s
	return s
}

func (c *compiler) changes(view *fsm.View) changes {
	trust := c.upstreams.Begin(view)
	var now [len(compiledKinds)]uint64
	for i, kind := range compiledKinds {
		now[i] = view.Version(kind)
	}
	old := c.versions
	c.versions = now
	if c.last == nil {
		return changes{true, true, true, true, true}
	}
	vaults := now[3] != old[3]
	return changes{routes: now[0] != old[0], services: now[1] != old[1], plugins: now[2] != old[2] || vaults, trust: trust, vaults: vaults}
}

func servicesByID(view *fsm.View) map[string]*fsm.Service {
	services := map[string]*fsm.Service{}
	for e := range view.All("services") {
		if service, ok := e.Value.(*fsm.Service); ok {
			services[e.ID] = service
		}
	}
	return services
}

// instantiate gives the instances of all enabled plugins: those of unchanged
// entities are kept, those of changed ones, or with references if vaults have
// changed, are made anew, the rest is dropped.
func (c *compiler) instantiate(view *fsm.View, vaults bool) []*instance {
	next := make(map[string]*instance, len(c.instances))
	var enabled []*instance
	for e := range view.All("plugins") {
		entity, ok := e.Value.(*fsm.Plugin)
		if !ok || !entity.Enabled {
			continue
		}
		in := c.instances[e.ID]
		if in == nil || in.version != e.ModifyIndex || in.refers && vaults {
			in = c.newInstance(view, entity, e)
		}
		next[e.ID] = in
		if in.speaks != 0 {
			enabled = append(enabled, in)
		}
	}
	c.instances = next
	return enabled
}

func (c *compiler) newInstance(view *fsm.View, entity *fsm.Plugin, e *fsm.Entity) *instance {
	in := &instance{entity: entity, version: e.ModifyIndex, since: e.CreateStamp, priority: unknownPriority, speaks: protocolSet(entity.Protocols)}
	def, ok := plugin.Lookup(entity.Name)
	if ok {
		in.priority = def.Priority
	}
	switch {
	case !ok:
		in.err = fmt.Errorf("plugin %q is not known to this version", entity.Name)
	case !def.Runs(): // a newer node that runs it has stored it
		in.err = fmt.Errorf("plugin %q does not run in this version", entity.Name)
	default:
		in.err = c.construct(view, in, def)
	}
	if in.err != nil {
		c.log.Error("plugin cannot run, its scope is answered with 500",
			zap.String("plugin", entity.Name), zap.String("id", entity.ID), zap.Error(in.err))
	}
	return in
}

// construct calls a plugin's constructor and finds its phases.
func (c *compiler) construct(view *fsm.View, in *instance, def *plugin.Definition) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("its constructor panicked: %v", v)
			c.log.Error("panic in a plugin's constructor", zap.String("plugin", def.Name), zap.ByteString("stack", debug.Stack()))
		}
	}()
	config, refers, err := c.dereference(view, def, in.entity.Config)
	if in.refers = refers; err != nil {
		return err
	}
	s := in.scope()
	made, err := def.New(c.env, &plugin.Instance{
		ID: in.entity.ID, Version: in.version, Since: in.since, Config: config,
		RouteID: s.route, ServiceID: s.service, ConsumerID: s.consumer,
	})
	if err != nil {
		return err
	}
	in.rewriter, _ = made.(plugin.Rewriter)
	in.accessor, _ = made.(plugin.Accessor)
	in.headerFilter, _ = made.(plugin.HeaderFilter)
	in.bodyFilter, _ = made.(plugin.BodyFilter)
	in.logger, _ = made.(plugin.Logger)
	return nil
}

func (c *compiler) findPluginProblems() []Problem {
	var found []Problem
	for id, in := range c.instances {
		if in.err != nil {
			found = append(found, Problem{Kind: "plugins", ID: id, Err: in.err})
		}
	}
	slices.SortFunc(found, func(a, b Problem) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// routeProtocols is protocolSet with Kong's default for routes.
func routeProtocols(r *fsm.Route) protocols {
	if len(r.Protocols) == 0 {
		return protoHTTP | protoHTTPS
	}
	return protocolSet(r.Protocols)
}

// routerRoute is what the router looks at of a route.
func routerRoute(e *fsm.Route, slot int) router.Route {
	return router.Route{ID: e.ID, CreatedAt: e.CreatedAt, Methods: e.Methods, Hosts: e.Hosts, Paths: e.Paths,
		SNIs: e.SNIs, Headers: canonicalNames(e.Headers), RegexPriority: e.RegexPriority, Value: slot}
}

// canonicalNames lets the router ask for fields in the form that needs no
// conversion.
func canonicalNames(headers map[string][]string) map[string][]string {
	if len(headers) == 0 {
		return nil
	}
	canonical := make(map[string][]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical[textproto.CanonicalMIMEHeaderKey(name)] = headers[name]
	}
	return canonical
}

// compileRoute gives a route, and why its service cannot be spoken to as it
// ought to.
func (c *compiler) compileRoute(entity *fsm.Route, service *fsm.Service) (r *route, trust error) {
	r = &route{entity: entity, service: service, speaks: routeProtocols(entity), label: entity.Name}
	if r.label == "" {
		r.label = entity.ID
	}
	serviceID := ""
	if service != nil {
		serviceID = service.ID
		r.serviceLabel = service.Name
		if r.serviceLabel == "" {
			r.serviceLabel = service.Host
		}
		r.compileTarget(service)
		trust = c.compileTLS(r)
	}
	r.chain = c.index.chain(entity.ID, serviceID, r.speaks)
	r.counters = c.metrics.route(r.serviceLabel, r.label)
	return r, trust
}

// compileTarget fills what the upstream client needs.
func (r *route) compileTarget(s *fsm.Service) {
	secure := s.Protocol == "https" || s.Protocol == "grpcs"
	r.target = upstream.Target{
		Host: strings.Trim(s.Host, "[]"), Port: s.Port, TLS: secure,
		Verify: secure && s.TLSVerify != nil && *s.TLSVerify,
		HTTP2:  s.Protocol == "grpc" || s.Protocol == "grpcs",
	}
	r.scheme = "http"
	usual := 80
	if secure {
		r.scheme, usual = "https", 443
	}
	r.hostHeader = net.JoinHostPort(r.target.Host, strconv.Itoa(s.Port))
	if s.Port == usual {
		r.hostHeader = strings.TrimSuffix(r.hostHeader, ":"+strconv.Itoa(usual))
	}
	r.timeouts = upstream.Timeouts{
		Connect: orDefault(s.ConnectTimeout), Write: orDefault(s.WriteTimeout), Read: orDefault(s.ReadTimeout),
	}
	r.retries = s.Retries
}

// compileTLS fills how a service is spoken to that speaks TLS. An error leaves
// a configuration that trusts no more than it should.
func (c *compiler) compileTLS(r *route) error {
	if !r.target.TLS {
		return nil
	}
	proto := "http/1.1"
	if r.target.HTTP2 {
		proto = "h2"
	}
	config, _, err := c.upstreams.Config(r.service, proto)
	r.target.Config = config
	return err
}

// defaultTimeout is Kong's for connect, write and read.
const defaultTimeout = 60 * time.Second

func orDefault(ms int) time.Duration {
	if ms <= 0 {
		return defaultTimeout
	}
	return time.Duration(ms) * time.Millisecond
}
