package proxy

import (
	"cmp"
	"math"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// protocols is a set of Kong's protocol names.
type protocols uint8

const (
	protoHTTP protocols = 1 << iota
	protoHTTPS
	protoGRPC
	protoGRPCS

	// protoAny is every protocol that this data plane speaks.
	protoAny = protoHTTP | protoHTTPS | protoGRPC | protoGRPCS
)

// protocolSet gives the set of the names that this data plane speaks; none at
// all stands for every one.
func protocolSet(names []string) protocols {
	if len(names) == 0 {
		return protoAny
	}
	var set protocols
	for _, name := range names {
		switch name {
		case "http":
			set |= protoHTTP
		case "https":
			set |= protoHTTPS
		case "grpc":
			set |= protoGRPC
		case "grpcs":
			set |= protoGRPCS
		}
	}
	return set
}

// instance is one configured plugin, ready to run. It is kept from one
// configuration to the next while its entity stays the same.
type instance struct {
	entity   *fsm.Plugin
	version  uint64
	since    int64
	priority int
	speaks   protocols
	// refers says that its config has vault references.
	refers bool
	// err is why the instance cannot run; its scope is answered with 500 then.
	err error

	rewriter     plugin.Rewriter
	accessor     plugin.Accessor
	headerFilter plugin.HeaderFilter
	bodyFilter   plugin.BodyFilter
	logger       plugin.Logger
}

// scope is the combination of entities that an instance is configured for; ""
// is any.
type scope struct{ route, service, consumer string }

func (in *instance) scope() scope {
	id := func(r *fsm.Ref) string {
		if r == nil {
			return ""
		}
		return r.ID
	}
	return scope{route: id(in.entity.Route), service: id(in.entity.Service), consumer: id(in.entity.Consumer)}
}

// chain is what runs for the requests of one route and service: one position
// for each plugin name, highest priority first. Immutable; shared by all routes
// for which it is the same.
type chain []position

// position chooses the instance of one plugin name for a request. What depends
// on route and service was decided when the chain was built; the consumer is
// known only when the plugins before this one have run.
//
// The order of precedence is Kong's: route+service+consumer > route+consumer >
// service+consumer > route+service > consumer > route > service > global.
type position struct {
	// base is the best instance for no consumer, nil for none; strong says that
	// it is configured for both route and service.
	base   *instance
	strong bool
	// scoped holds the best instance of each consumer that is configured with
	// the route or the service, consumers those of a consumer alone. The latter
	// map is shared by all chains.
	scoped    map[string]*instance
	consumers map[string]*instance
	// speaks is what the route speaks: an instance must have part of it.
	speaks protocols
}

// choose gives the instance for a consumer (nil for none), or nil.
func (p *position) choose(consumer *fsm.Consumer) *instance {
	if consumer != nil {
		if in := p.scoped[consumer.ID]; in != nil {
			return in
		}
		if !p.strong {
			if in := p.consumers[consumer.ID]; in != nil && in.speaks&p.speaks != 0 {
				return in
			}
		}
	}
	return p.base
}

// chainIndex holds every enabled instance, ordered so that the chain of a
// route is put together from a few look-ups.
type chainIndex struct {
	names []*nameIndex
	// routes and services are the ids that any instance is scoped to: all
	// others share their chains.
	routes, services map[string]bool

	chains map[chainKey]chain
}

// nameIndex holds the instances of one plugin name.
type nameIndex struct {
	name      string
	priority  int
	byScope   map[scope]*instance   // those without a consumer
	consumers map[string]*instance  // those of a consumer alone
	mixed     map[scope][]*instance // those with a consumer, under the rest of their scope
}

// chainKey is what a chain depends on; an id that no instance is scoped to is
// left out.
type chainKey struct {
	route, service string
	speaks         protocols
}

func newChainIndex(instances []*instance) *chainIndex {
	ix := &chainIndex{routes: map[string]bool{}, services: map[string]bool{}, chains: map[chainKey]chain{}}
	byName := map[string]*nameIndex{}
	for _, in := range instances {
		n := byName[in.entity.Name]
		if n == nil {
			n = &nameIndex{name: in.entity.Name, priority: in.priority, byScope: map[scope]*instance{},
				consumers: map[string]*instance{}, mixed: map[scope][]*instance{}}
			byName[n.name] = n
			ix.names = append(ix.names, n)
		}
		s := in.scope()
		switch rest := (scope{route: s.route, service: s.service}); {
		case s.consumer == "":
			n.byScope[s] = in
		case rest == scope{}:
			n.consumers[s.consumer] = in
		default:
			n.mixed[rest] = append(n.mixed[rest], in)
		}
		if s.route != "" {
			ix.routes[s.route] = true
		}
		if s.service != "" {
			ix.services[s.service] = true
		}
	}
	slices.SortFunc(ix.names, func(a, b *nameIndex) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.name, b.name))
	})
	return ix
}

// chain gives the chain of a route and a service; "" for neither, which is the
// chain of a request that no route matches.
func (ix *chainIndex) chain(routeID, serviceID string, speaks protocols) chain {
	key := chainKey{speaks: speaks}
	if ix.routes[routeID] {
		key.route = routeID
	}
	if ix.services[serviceID] {
		key.service = serviceID
	}
	c, ok := ix.chains[key]
	if !ok {
		for _, n := range ix.names {
			if p, used := n.position(key); used {
				c = append(c, p)
			}
		}
		ix.chains[key] = c
	}
	return c
}

// position gives a plugin's position in a chain, and false if no instance of it
// can ever run there.
func (n *nameIndex) position(key chainKey) (position, bool) {
	p := position{consumers: n.consumers, speaks: key.speaks}
	for _, s := range scopesOf(key) { // best first
		if in := n.byScope[s]; in != nil && in.speaks&key.speaks != 0 && p.base == nil {
			p.base = in
			p.strong = s.route != "" && s.service != ""
		}
		for _, in := range n.mixed[s] {
			id := in.scope().consumer
			if p.scoped[id] != nil || in.speaks&key.speaks == 0 {
				continue
			}
			if p.scoped == nil {
				p.scoped = map[string]*instance{}
			}
			p.scoped[id] = in
		}
	}
	return p, p.base != nil || len(p.scoped) > 0 || len(p.consumers) > 0
}

// scopesOf lists the scopes without consumer that apply, best first.
func scopesOf(key chainKey) []scope {
	scopes := make([]scope, 0, 4)
	if key.route != "" && key.service != "" {
		scopes = append(scopes, scope{route: key.route, service: key.service})
	}
	if key.route != "" {
		scopes = append(scopes, scope{route: key.route})
	}
	if key.service != "" {
		scopes = append(scopes, scope{service: key.service})
	}
	return append(scopes, scope{})
}

// unknownPriority puts a plugin that this build does not know before all
// others, so that its scope is refused at once.
const unknownPriority = math.MaxInt

// rewriters gives the global instances with a rewrite phase, highest priority
// first: that phase runs before the route is known.
func (ix *chainIndex) rewriters() []*instance {
	var found []*instance
	for _, n := range ix.names {
		if in := n.byScope[scope{}]; in != nil && in.rewriter != nil && in.speaks != 0 {
			found = append(found, in)
		}
	}
	return found
}
