package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// Targets are only reached through their upstream. Their list is Kong's: the newest first, and pages are
// counted, not named by ids.

// healthOff is the health of a target that nothing looks at.
const healthOff = "HEALTHCHECKS_OFF"

const (
	msgNotBalanced = "upstreams and targets are stored, but requests are not balanced over them yet: " +
		"a service whose host is an upstream's name is looked up in DNS"
	msgNoHealth = "the health of targets is not looked at yet, so this has no effect"
)

// upstreamRoutes adds what upstreams and targets have beyond a collection; it replaces the list of targets.
func (a *API) upstreamRoutes(rt *router) {
	upstreams, targets := a.byKind["upstreams"], a.byKind["targets"]
	if upstreams == nil || targets == nil {
		return
	}
	const one = "/upstreams/{upstreams}"
	ownerOf := func(q *request) *owner { return &owner{coll: upstreams, key: q.params[0], field: "upstream"} }
	rt.handle(http.MethodGet, one+"/targets", func(q *request) (*reply, error) {
		p, err := a.targetPage(q, ownerOf(q), "/targets")
		if err != nil {
			return nil, err
		}
		return p.reply(func(b []byte, e *fsm.Entity) []byte { return targets.appendEntity(b, p.view, e) }, nil), nil
	})
	for _, path := range []string{"/targets/all", "/health", "/targets/{targets}/healthy", "/targets/{targets}/unhealthy",
		"/targets/{targets}/{address}/healthy", "/targets/{targets}/{address}/unhealthy"} {
		rt.about(one+path, targets, upstreams)
	}
	rt.handle(http.MethodGet, one+"/targets/all", func(q *request) (*reply, error) {
		return a.listAt(q, targets, ownerOf(q), "targets/all")
	})
	rt.handle(http.MethodGet, one+"/health", func(q *request) (*reply, error) { return a.upstreamHealth(q, ownerOf(q)) })
	for _, state := range []string{"/healthy", "/unhealthy"} {
		set := func(q *request) (*reply, error) {
			return a.setHealth(q, target{coll: targets, key: q.params[1], owner: ownerOf(q)})
		}
		rt.handle(http.MethodPut, one+"/targets/{targets}"+state, set)
		rt.handle(http.MethodPut, one+"/targets/{targets}/{address}"+state, set)
	}
}

// warnUpstream says what an upstream or a target does not do.
func warnUpstream(*API, *fsm.Entity) []string { return []string{msgNotBalanced} }

// targetPage is some of the targets of an upstream.
type targetPage struct {
	view         *fsm.View
	now          int64
	upstreamID   string
	entities     []*fsm.Entity
	offset, next string
}

// targetPage takes the page of a request. path is what comes behind that of the upstream.
func (a *API) targetPage(q *request, o *owner, path string) (*targetPage, error) {
	p := &targetPage{view: q.view(), now: a.now()}
	var err error
	if p.upstreamID, err = o.find(p.view, p.now); err != nil {
		return nil, err
	}
	wanted, err := parsePage(withoutOffset(q.query), 1, true)
	if err != nil {
		return nil, err
	}
	from, err := targetOffset(q)
	if err != nil {
		return nil, err
	}
	all := slices.Collect(p.view.Referencing("targets", "upstream", p.upstreamID))
	all = slices.DeleteFunc(all, func(e *fsm.Entity) bool { return !wanted.tags.matches(e) })
	slices.SortFunc(all, func(a, b *fsm.Entity) int { // the newest first
		return cmp.Or(cmp.Compare(createdAt(b), createdAt(a)), cmp.Compare(b.ID, a.ID))
	})
	from = min(from, len(all))
	to := min(from+wanted.size, len(all))
	p.entities = all[from:to]
	if to < len(all) {
		p.offset = strconv.Itoa(to)
		wanted.query = q.query
		p.next = wanted.next("/upstreams/"+p.upstreamID+path, p.offset, false)
	}
	return p, nil
}

func createdAt(e *fsm.Entity) float64 {
	if t, ok := e.Value.(*fsm.Target); ok {
		return t.CreatedAt
	}
	return 0
}

// targetOffset reads the token of a page of targets: how many are before it.
func targetOffset(q *request) (int, error) {
	if !q.query.Has("offset") {
		return 0, nil
	}
	token := q.query.Get("offset")
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 {
		return 0, kongError(codeInvalidOffset, "invalid offset", fmt.Sprintf("'%s' is not a valid offset", token), nil)
	}
	return n, nil
}

// reply answers a page of entities; rest, if not nil, adds members to the page itself.
func (p *targetPage) reply(entity func([]byte, *fsm.Entity) []byte, rest func([]byte) []byte) *reply {
	b := appendPage(make([]byte, 0, pageBytes(p.entities)), p.next, p.offset, func(b []byte) []byte {
		for i, e := range p.entities {
			if i > 0 {
				b = append(b, ',')
			}
			b = entity(b, e)
		}
		return b
	})
	if rest != nil {
		b = append(rest(b[:len(b)-1]), '}')
	}
	return readReply(p.view, b)
}

// address is one place of a target, as the health of an upstream shows it.
type address struct {
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	Weight int    `json:"weight"`
	Health string `json:"health"`
}

// weights is how much of a weight can be used.
type weights struct {
	Total       int `json:"total"`
	Available   int `json:"available"`
	Unavailable int `json:"unavailable"`
}

// targetHealth is what a balancer knows of a target. Here that is what the target says itself.
type targetHealth struct {
	Addresses  []address `json:"addresses"`
	DNS        *string   `json:"dns"` // null: the name was not looked up
	Host       string    `json:"host"`
	Port       int       `json:"port"`
	NodeWeight int       `json:"nodeWeight"`
	Weight     weights   `json:"weight"`
}

func healthOf(e *fsm.Entity) targetHealth {
	t, ok := e.Value.(*fsm.Target)
	if !ok {
		return targetHealth{}
	}
	host, err := schema.ParseHost(t.Target)
	h := targetHealth{
		Addresses: []address{}, Host: host.Host, Port: host.Port,
		NodeWeight: t.Weight, Weight: weights{Total: t.Weight, Available: t.Weight},
	}
	if err == nil && host.Kind != schema.HostName {
		h.DNS = new("ttl=0, virtual SRV") // Kong's words for an address
		h.Addresses = append(h.Addresses, address{IP: host.Host, Port: host.Port, Weight: t.Weight, Health: healthOff})
	}
	return h
}

// upstreamHealth answers GET /upstreams/{u}/health. There are no health checks, so all are off.
func (a *API) upstreamHealth(q *request, o *owner) (*reply, error) {
	if q.query.Get("balancer_health") == "1" {
		return a.balancerHealth(q, o)
	}
	p, err := a.targetPage(q, o, "/health")
	if err != nil {
		return nil, err
	}
	c := a.byKind["targets"]
	entity := func(b []byte, e *fsm.Entity) []byte {
		b = c.appendEntity(b, p.view, e)
		data, err := encodeJSON(healthOf(e))
		if err != nil {
			return b
		}
		b = append(b[:len(b)-1], `,"health":"`+healthOff+`","data":`...)
		return append(append(b, data...), '}')
	}
	return p.reply(entity, func(b []byte) []byte {
		return appendString(append(b, `,"node_id":`...), a.cfg.Cluster.ID())
	}), nil
}

func (a *API) balancerHealth(q *request, o *owner) (*reply, error) {
	v, now := q.view(), a.now()
	id, err := o.find(v, now)
	if err != nil {
		return nil, err
	}
	var total weights
	hosts := []targetHealth{}
	for e := range byID(slices.Collect(v.Referencing("targets", "upstream", id))) {
		h := healthOf(e)
		hosts = append(hosts, h)
		total.Total += h.Weight.Total
		total.Available += h.Weight.Available
	}
	body, err := encodeJSON(map[string]any{
		"data": map[string]any{
			"id": id, "health": healthOff, "details": map[string]any{"hosts": hosts, "weight": total},
		},
		"next": nil, "node_id": a.cfg.Cluster.ID(),
	})
	if err != nil {
		return nil, err
	}
	return readReply(v, body), nil
}

// setHealth answers PUT .../healthy and .../unhealthy, which tell a balancer what it cannot see itself.
func (a *API) setHealth(q *request, t target) (*reply, error) {
	if len(q.params) > 2 {
		if _, err := schema.ParseHost(q.params[2]); err != nil {
			return nil, errNotFound
		}
	}
	ctx, cancel := writeContext(q)
	defer cancel()
	there := func() error {
		f, err := t.locate(q.view(), a.now())
		if err == nil && f.entity == nil {
			err = errNotFound
		}
		return err
	}
	err := there()
	if errors.Is(err, errNotFound) { // it may have been made through another node
		if err = a.bringUpToDate(ctx); err == nil {
			err = there()
		}
	}
	if err != nil {
		return nil, err
	}
	return (&reply{status: http.StatusNoContent}).set(headerWarning, msgNoHealth), nil
}
