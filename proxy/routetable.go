package proxy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/router"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// routeCompiler keeps what routes were compiled to. A build touches only those that
// are others than in the view before, or whose service or plugins are.
type routeCompiler struct {
	router   *router.Builder
	entities fsm.Entities           // of the last view
	known    map[string]*knownRoute // all of them, by id
	wrong    map[string]*knownRoute // those with something to tell

	compiled []*route // by slot; a copy for each build
	free     []int    // slots without a route

	// retired is what a build has replaced. It is let go at the end, since what
	// it counts may have gone over to another route.
	retired []*route
	targets *targets
	routed  bool // the router has changed
}

// knownRoute is what became of a route entity.
type knownRoute struct {
	entity  *fsm.Entity
	service *fsm.Service // nil without one
	served  bool         // it is a route of this data plane
	slot    int          // noSlot unless served

	missing error // its service does not exist
	routing error // the router cannot compile it
	trust   error // about its service's TLS
}

const noSlot = -1

// targets counts the routes that lead to each target.
type targets struct {
	routes map[upstream.Target]int
	// stale is above 0 if targets were dropped by this build or the last one:
	// a request of the last snapshot may have used them once more.
	stale int
}

func (t *targets) wanted(target upstream.Target) bool { return t.routes[target] > 0 }

func (t *targets) drop(target upstream.Target) {
	if t.routes[target]--; t.routes[target] == 0 {
		delete(t.routes, target)
		t.stale = 2
	}
}

// age begins a build.
func (t *targets) age() { t.stale = max(0, t.stale-1) }

func newRouteCompiler() routeCompiler {
	return routeCompiler{router: router.NewBuilder(), known: map[string]*knownRoute{}, wrong: map[string]*knownRoute{},
		targets: &targets{routes: map[upstream.Target]int{}}}
}

// buildRoutes makes the route table of a view.
func (c *compiler) buildRoutes(view *fsm.View, changed changes) *routeTable {
	rc := &c.routes
	rc.compiled = slices.Clone(rc.compiled)
	entities := view.Entities("routes")
	all := changed.services || changed.plugins || changed.trust
	for was, is := range entities.Since(rc.entities) {
		switch {
		case is == nil:
			rc.forget(was.ID)
		case !all:
			c.updateRoute(is, false)
		}
	}
	if all {
		for e := range view.All("routes") {
			c.updateRoute(e, changed.plugins || changed.trust)
		}
	}
	rc.entities = entities
	c.letGo(changed)
	t := &routeTable{compiled: rc.compiled, problems: rc.problems()}
	if c.last == nil || rc.routed {
		t.router = rc.router.Build()
		rc.routed = false
	} else {
		t.router = c.last.routes.router
	}
	return t
}

// updateRoute compiles a route whose entity or service is another one now, or
// in any case.
func (c *compiler) updateRoute(e *fsm.Entity, anyway bool) {
	rc := &c.routes
	k := rc.known[e.ID]
	if k == nil {
		k = &knownRoute{slot: noSlot}
		rc.known[e.ID] = k
	}
	c.compileKnown(k, e, anyway)
	if k.missing != nil || k.routing != nil || k.trust != nil {
		rc.wrong[e.ID] = k
	} else {
		delete(rc.wrong, e.ID)
	}
}

func (c *compiler) compileKnown(k *knownRoute, e *fsm.Entity, anyway bool) {
	entity, service, served, missing := c.resolve(e)
	moved := k.entity != e
	if !moved && k.service == service && k.served == served && !anyway {
		return
	}
	k.entity, k.service, k.served, k.missing = e, service, served, missing
	rc := &c.routes
	if !served {
		rc.withdraw(k)
		return
	}
	if k.slot == noSlot {
		k.slot = rc.takeSlot()
		moved = true
	}
	r, trust := c.compileRoute(entity, service)
	rc.targets.routes[r.target]++
	rc.replace(k.slot, r)
	k.trust = trust
	if moved {
		k.routing = rc.router.Set(routerRoute(entity, k.slot))
		rc.routed = true
	}
}

// resolve finds the service of a route, and whether this data plane serves the
// route.
func (c *compiler) resolve(e *fsm.Entity) (entity *fsm.Route, service *fsm.Service, served bool, missing error) {
	entity, ok := e.Value.(*fsm.Route)
	if !ok || routeProtocols(entity) == 0 {
		return nil, nil, false, nil // a stream route: not of this data plane
	}
	if entity.Service == nil {
		return entity, nil, true, nil
	}
	service = c.services[entity.Service.ID]
	if service == nil {
		return entity, nil, false, fmt.Errorf("its service %s does not exist", entity.Service.ID)
	}
	return entity, service, service.Enabled, nil // Kong: the routes of a disabled service do not exist
}

// letGo ends what only retired routes have used.
func (c *compiler) letGo(changed changes) {
	rc := &c.routes
	for _, r := range rc.retired {
		c.metrics.release(r.counters)
		rc.targets.drop(r.target)
	}
	clear(rc.retired)
	rc.retired = rc.retired[:0]
	if changed.services || changed.trust {
		c.upstreams.Keep(func(s *fsm.Service) bool { return c.services[s.ID] == s })
	}
}

func (rc *routeCompiler) takeSlot() int {
	if last := len(rc.free) - 1; last >= 0 {
		slot := rc.free[last]
		rc.free = rc.free[:last]
		return slot
	}
	rc.compiled = append(rc.compiled, nil)
	return len(rc.compiled) - 1
}

// replace puts a route, or nil, into a slot.
func (rc *routeCompiler) replace(slot int, r *route) {
	if old := rc.compiled[slot]; old != nil {
		rc.retired = append(rc.retired, old)
	}
	rc.compiled[slot] = r
}

// forget is for a route that there is no more.
func (rc *routeCompiler) forget(id string) {
	if k := rc.known[id]; k != nil {
		rc.withdraw(k)
		delete(rc.known, id)
		delete(rc.wrong, id)
	}
}

// withdraw takes a route out of the table, if it is there.
func (rc *routeCompiler) withdraw(k *knownRoute) {
	if k.slot == noSlot {
		return
	}
	rc.replace(k.slot, nil)
	rc.free = append(rc.free, k.slot)
	rc.router.Remove(k.entity.ID)
	rc.routed = true
	k.slot, k.routing, k.trust = noSlot, nil, nil
}

// problems tells, in the order of ids, what is wrong with routes.
func (rc *routeCompiler) problems() (all []Problem) {
	for _, id := range slices.Sorted(maps.Keys(rc.wrong)) {
		all = rc.wrong[id].appendProblems(all)
	}
	return all
}

// appendProblems adds what is wrong with a route; of a service it tells once.
func (k *knownRoute) appendProblems(problems []Problem) []Problem {
	for _, err := range []error{k.missing, k.routing} {
		if err != nil {
			problems = append(problems, Problem{"routes", k.entity.ID, err})
		}
	}
	if k.trust != nil && !slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == "services" && p.ID == k.service.ID }) {
		problems = append(problems, Problem{"services", k.service.ID, k.trust})
	}
	return problems
}
