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
// only what depends on entities that have changed: an unchanged entity is the
// same pointer in the next view. One goroutine at a time uses it.
type compiler struct {
	env     *plugin.Env
	log     *zap.Logger
	metrics *metrics

	certificates *tlsconf.Certificates
	upstreams    *tlsconf.Upstreams

	routes, services, plugins []*fsm.Entity // of the last snapshot
	problems                  []Problem     // of routes, services and plugins
	instances                 map[string]*instance
	index                     *chainIndex
	last                      *snapshot
}

func newCompiler(cfg Config, m *metrics, c *tlsconf.Certificates) *compiler {
	return &compiler{env: cfg.Env, log: cfg.Logger, metrics: m, instances: map[string]*instance{},
		certificates: c, upstreams: tlsconf.NewUpstreams(cfg.UpstreamTLS)}
}

// build compiles a view. It never fails as a whole: an entity that makes no
// sense becomes a Problem and disables its own scope.
func (c *compiler) build(view *fsm.View) *snapshot {
	s := &snapshot{view: view, index: view.ConfigIndex(), directory: newDirectory(view, c.env.Now),
		superseded: make(chan struct{})}
	routes := slices.Collect(view.All("routes"))
	services := slices.Collect(view.All("services"))
	plugins := slices.Collect(view.All("plugins"))
	unreadable := c.certificates.Update(view)
	trustChanged := c.upstreams.Begin(view)
	samePlugins := c.last != nil && slices.Equal(plugins, c.plugins)
	if !samePlugins {
		c.index = newChainIndex(c.instantiate(plugins))
	}
	if samePlugins && !trustChanged && slices.Equal(routes, c.routes) && slices.Equal(services, c.services) {
		s.routes, s.rewriters, s.unmatched = c.last.routes, c.last.rewriters, c.last.unmatched
	} else {
		c.problems = nil
		s.routes = c.buildRoutes(routes, services)
		c.upstreams.End()
		s.rewriters = c.index.rewriters()
		s.unmatched = c.index.chain("", "", protoAny)
		c.problems = append(c.problems, c.pluginProblems()...)
		c.metrics.keep(s.routes.compiled)
		c.routes, c.services, c.plugins = routes, services, plugins
	}
	s.problems = slices.Clip(c.problems)
	for _, p := range unreadable {
		s.problems = append(s.problems, Problem(p))
	}
	c.last = s
	return s
}

// instantiate gives the instances of all enabled plugins: those of unchanged
// entities are kept, those of changed ones are made anew, the rest is dropped.
func (c *compiler) instantiate(entities []*fsm.Entity) []*instance {
	next := make(map[string]*instance, len(entities))
	var enabled []*instance
	for _, e := range entities {
		entity, ok := e.Value.(*fsm.Plugin)
		if !ok || !entity.Enabled {
			continue
		}
		in := c.instances[e.ID]
		if in == nil || in.version != e.ModifyIndex {
			in = c.newInstance(entity, e.ModifyIndex)
		}
		next[e.ID] = in
		if in.speaks != 0 {
			enabled = append(enabled, in)
		}
	}
	c.instances = next
	return enabled
}

func (c *compiler) newInstance(entity *fsm.Plugin, version uint64) *instance {
	in := &instance{entity: entity, version: version, priority: unknownPriority, speaks: protocolSet(entity.Protocols)}
	def, ok := plugin.Lookup(entity.Name)
	if !ok {
		in.err = fmt.Errorf("plugin %q is not known to this version", entity.Name)
	} else {
		in.priority = def.Priority
		in.err = c.construct(in, def)
	}
	if in.err != nil {
		c.log.Error("plugin cannot run, its scope is answered with 500",
			zap.String("plugin", entity.Name), zap.String("id", entity.ID), zap.Error(in.err))
	}
	return in
}

// construct calls a plugin's constructor and finds its phases.
func (c *compiler) construct(in *instance, def *plugin.Definition) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("its constructor panicked: %v", v)
			c.log.Error("panic in a plugin's constructor", zap.String("plugin", def.Name), zap.ByteString("stack", debug.Stack()))
		}
	}()
	s := in.scope()
	made, err := def.New(c.env, &plugin.Instance{
		ID: in.entity.ID, Version: in.version, Config: in.entity.Config,
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

func (c *compiler) pluginProblems() []Problem {
	var found []Problem
	for id, in := range c.instances {
		if in.err != nil {
			found = append(found, Problem{Kind: "plugins", ID: id, Err: in.err})
		}
	}
	slices.SortFunc(found, func(a, b Problem) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// buildRoutes makes the route table; the router itself is kept if the routes it
// was built from are the same.
func (c *compiler) buildRoutes(entities, services []*fsm.Entity) *routeTable {
	byID := make(map[string]*fsm.Service, len(services))
	for _, e := range services {
		if service, ok := e.Value.(*fsm.Service); ok {
			byID[e.ID] = service
		}
	}
	t := &routeTable{}
	for _, e := range entities {
		entity, ok := e.Value.(*fsm.Route)
		if !ok || routeProtocols(entity) == 0 {
			continue // a stream route: not of this data plane
		}
		var service *fsm.Service
		if entity.Service != nil {
			if service = byID[entity.Service.ID]; service == nil {
				c.problems = append(c.problems, Problem{"routes", e.ID, fmt.Errorf("its service %s does not exist", entity.Service.ID)})
				continue
			}
			if !service.Enabled {
				continue // Kong: the routes of a disabled service do not exist
			}
		}
		t.entities = append(t.entities, e)
		t.compiled = append(t.compiled, c.compileRoute(entity, service))
	}
	if c.last != nil && slices.Equal(t.entities, c.last.routes.entities) {
		t.router, t.problems = c.last.routes.router, c.last.routes.problems
	} else {
		t.router, t.problems = newRouter(t.compiled)
	}
	for _, p := range t.problems {
		c.problems = append(c.problems, Problem{Kind: "routes", ID: p.RouteID, Err: p.Err})
	}
	return t
}

// routeProtocols is protocolSet with Kong's default for routes.
func routeProtocols(r *fsm.Route) protocols {
	if len(r.Protocols) == 0 {
		return protoHTTP | protoHTTPS
	}
	return protocolSet(r.Protocols)
}

func newRouter(compiled []*route) (*router.Router, []router.Problem) {
	routes := make([]router.Route, len(compiled))
	for i, r := range compiled {
		e := r.entity
		routes[i] = router.Route{ID: e.ID, CreatedAt: e.CreatedAt, Methods: e.Methods, Hosts: e.Hosts, Paths: e.Paths,
			SNIs: e.SNIs, Headers: canonicalNames(e.Headers), RegexPriority: e.RegexPriority, Value: i}
	}
	return router.New(routes)
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

func (c *compiler) compileRoute(entity *fsm.Route, service *fsm.Service) *route {
	r := &route{entity: entity, service: service, speaks: routeProtocols(entity), label: entity.Name}
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
		c.compileTLS(r)
	}
	r.chain = c.index.chain(entity.ID, serviceID, r.speaks)
	r.counters = c.metrics.route(r.serviceLabel, r.label)
	return r
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
func (c *compiler) compileTLS(r *route) {
	if !r.target.TLS {
		return
	}
	proto := "http/1.1"
	if r.target.HTTP2 {
		proto = "h2"
	}
	config, _, err := c.upstreams.Config(r.service, proto)
	r.target.Config = config
	if p := (Problem{Kind: "services", ID: r.service.ID, Err: err}); err != nil && !slices.ContainsFunc(c.problems, p.same) {
		c.problems = append(c.problems, p)
	}
}

// same says whether two problems are about one entity.
func (p Problem) same(other Problem) bool { return p.Kind == other.Kind && p.ID == other.ID }

// defaultTimeout is Kong's for connect, write and read.
const defaultTimeout = 60 * time.Second

func orDefault(ms int) time.Duration {
	if ms <= 0 {
		return defaultTimeout
	}
	return time.Duration(ms) * time.Millisecond
}
