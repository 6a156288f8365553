package proxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/explain"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
)

// nearestRoutes is how many routes an explanation has if not all are asked for.
const nearestRoutes = 20

// Explain says what would become of a request now. Nothing is sent, no plugin runs,
// and nothing is counted. It looks at all routes, and is meant for people. Safe for
// concurrent use.
func (p *Proxy) Explain(q *explain.Question) *explain.Explanation {
	x := newExchange(p)
	x.suppose(q)
	p.begin(x)
	out := &explain.Explanation{
		Index: x.snapshot.index, Path: x.Request.Path, Routes: []explain.Route{}, Plugins: []explain.Plugin{}, Notes: []string{},
	}
	stopped := x.findRoute() == plugin.Stop
	out.Routes, out.Total = x.explainRoutes(q.AllRoutes)
	chain := x.snapshot.unmatched
	if x.route != nil {
		chain = x.route.chain
		out.Route = &explain.Named{ID: x.Route.ID, Name: x.Route.Name}
	}
	if x.Service != nil {
		out.Service = &explain.Named{ID: x.Service.ID, Name: x.Service.Name}
	}
	if stopped {
		out.Answer = x.explainAnswer()
	}
	x.explainChain(out, chain, q.Consumer, stopped)
	switch {
	case out.Answer != nil:
	case x.Service == nil:
		x.Error(http.StatusServiceUnavailable, "no Service found with those values")
		out.Answer = x.explainAnswer()
	default:
		out.Upstream = x.explainUpstream()
	}
	return out
}

// suppose fills in what a front would.
func (x *exchange) suppose(q *explain.Question) {
	r := &x.Request
	r.Method, r.Scheme, r.Host = q.Method, q.Scheme, q.Host
	r.ProtoMajor, r.ProtoMinor = 1, 1
	if q.HTTP2 {
		r.ProtoMajor, r.ProtoMinor = 2, 0
	}
	r.RawPath, r.Query, r.HasQuery = strings.Cut(q.Target, "?")
	if r.Scheme == "https" {
		r.TLS = &tls.ConnectionState{ServerName: q.SNI}
	}
	for _, h := range q.Headers {
		x.received.Add(h.Name, h.Value)
		x.requestFields.Add(h.Name, h.Value)
	}
	x.Listener = q.Port
	x.Peer = netip.AddrPortFrom(q.Client, 0)
}

// explainRoutes gives the routes in the order of priority: all, or the first that
// match and as many others as there is room for.
func (x *exchange) explainRoutes(all bool) (list []explain.Route, total int) {
	table := x.snapshot.routes
	x.lookup.Header = &x.received
	reasons := table.router.Explain(&x.lookup)
	room := nearestRoutes
	for i := range reasons {
		if reasons[i].Outcome != router.NoMatch && room > 0 {
			room--
		}
	}
	matching := nearestRoutes - room
	list = []explain.Route{}
	for i := range reasons {
		reason := &reasons[i]
		left := &room
		if reason.Outcome != router.NoMatch {
			left = &matching
		}
		if !all && *left <= 0 {
			continue
		}
		*left--
		entity := table.compiled[reason.Route.Value.(int)].entity
		list = append(list, explain.Route{
			Named: explain.Named{ID: entity.ID, Name: entity.Name}, Paths: reason.Paths,
			Outcome: string(reason.Outcome), Field: reason.Field, Why: reason.Detail,
		})
	}
	return list, len(reasons)
}

func (x *exchange) explainAnswer() *explain.Answer {
	return &explain.Answer{Status: x.Response.Status, Body: string(x.Response.Body)}
}

// explainChain lists the instances that run. As in access, the consumer is known from
// the first plugin on that finds out who it is.
func (x *exchange) explainChain(out *explain.Explanation, c chain, consumer *fsm.Consumer, stopped bool) {
	for i := range c {
		in := c[i].choose(x.Consumer)
		if in == nil {
			continue
		}
		shown := in.explained()
		out.Plugins = append(out.Plugins, shown)
		if in.err != nil && out.Answer == nil {
			x.unexpected()
			out.Answer = x.explainAnswer()
		}
		if counter, ok := in.accessor.(plugin.Counter); ok && !stopped {
			limit, key := counter.CountedAs(&x.Exchange)
			out.Counted = append(out.Counted, explain.Counted{Plugin: &shown, Limit: limit, Key: key})
		}
		if def, ok := plugin.Lookup(in.entity.Name); !ok || !def.Identifies || stopped {
			continue
		}
		if x.Consumer = consumer; consumer == nil {
			out.Notes = append(out.Notes, in.entity.Name+" decides who the consumer is: without a valid credential the request may end there, and with one, plugins and limits of the consumer apply; say consumer to see them")
		}
	}
	if consumer != nil && x.Consumer == nil && !stopped {
		out.Notes = append(out.Notes, "no plugin of this request finds out who the consumer is: nothing here knows "+consumer.Username)
	}
}

func (in *instance) explained() explain.Plugin {
	shown := explain.Plugin{
		ID: in.entity.ID, Name: in.entity.Name, InstanceName: in.entity.InstanceName, Priority: in.priority, Scope: []string{}, Phases: []string{},
	}
	s := in.scope()
	for _, of := range []struct{ name, id string }{{"route", s.route}, {"service", s.service}, {"consumer", s.consumer}} {
		if of.id != "" {
			shown.Scope = append(shown.Scope, of.name)
		}
	}
	for _, phase := range []struct {
		name string
		has  bool
	}{
		{"rewrite", in.rewriter != nil && s == scope{}}, {"access", in.accessor != nil}, {"header_filter", in.headerFilter != nil},
		{"body_filter", in.bodyFilter != nil}, {"log", in.logger != nil},
	} {
		if phase.has {
			shown.Phases = append(shown.Phases, phase.name)
		}
	}
	if in.err != nil {
		shown.Error = in.err.Error()
	}
	return shown
}

func (x *exchange) explainUpstream() *explain.Upstream {
	u := &x.Upstream
	target := u.Path
	if u.HasQuery {
		target += "?" + u.Query
	}
	s := x.Service
	return &explain.Upstream{
		Method: u.Method, URL: u.Scheme + "://" + net.JoinHostPort(u.Host, strconv.Itoa(u.Port)) + target, Host: u.HostHeader,
		ConnectTimeout: s.ConnectTimeout, ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout, Retries: x.route.retries,
	}
}
