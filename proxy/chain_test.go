package proxy

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm"
)

// precedence lists the scopes of Kong's order, best first.
var precedence = []struct{ route, service, consumer bool }{
	{true, true, true},
	{true, false, true},
	{false, true, true},
	{true, true, false},
	{false, false, true},
	{true, false, false},
	{false, true, false},
	{false, false, false},
}

// slowChoice searches all instances in the words of Kong's documentation.
func slowChoice(all []*instance, name, route, service, consumer string, speaks protocols) *instance {
	for _, level := range precedence {
		for _, in := range all {
			s := in.scope()
			matches := func(configured bool, scoped, actual string) bool {
				if !configured {
					return scoped == ""
				}
				return actual != "" && scoped == actual
			}
			if in.entity.Name == name && in.speaks&speaks != 0 &&
				matches(level.route, s.route, route) && matches(level.service, s.service, service) &&
				matches(level.consumer, s.consumer, consumer) {
				return in
			}
		}
	}
	return nil
}

// TestChainAgainstModel compares the chains with a search, for configurations
// that collide a lot.
func TestChainAgainstModel(t *testing.T) {
	id := rapid.SampledFrom([]string{"", "", "a", "b"})
	ref := func(id string) *fsm.Ref {
		if id == "" {
			return nil
		}
		return &fsm.Ref{ID: id}
	}
	rapid.Check(t, func(rt *rapid.T) {
		names := []string{"p", "q"}
		var all []*instance
		seen := map[string]bool{}
		for i := range rapid.IntRange(0, 25).Draw(rt, "instances") {
			e := &fsm.Plugin{
				ID: fmt.Sprint(i), Name: rapid.SampledFrom(names).Draw(rt, "name"),
				Route: ref(id.Draw(rt, "route")), Service: ref(id.Draw(rt, "service")), Consumer: ref(id.Draw(rt, "consumer")),
			}
			in := &instance{entity: e, priority: len(e.Name), speaks: protocols(rapid.IntRange(1, int(protoAny)).Draw(rt, "speaks"))}
			key := fmt.Sprint(e.Name, in.scope())
			if seen[key] {
				continue // the state machine keeps scopes unique
			}
			seen[key] = true
			all = append(all, in)
		}
		index := newChainIndex(all)
		for range 10 {
			route, service, consumer := id.Draw(rt, "for route"), id.Draw(rt, "for service"), id.Draw(rt, "for consumer")
			speaks := protocols(rapid.IntRange(1, int(protoAny)).Draw(rt, "route speaks"))
			var who *fsm.Consumer
			if consumer != "" {
				who = &fsm.Consumer{ID: consumer}
			}
			var got, want []*instance
			for i, c := 0, index.chain(route, service, speaks); i < len(c); i++ {
				if in := c[i].choose(who); in != nil {
					got = append(got, in)
				}
			}
			for _, name := range names {
				if in := slowChoice(all, name, route, service, consumer, speaks); in != nil {
					want = append(want, in)
				}
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("route %q service %q consumer %q: got %v, want %v", route, service, consumer, describe(got), describe(want))
			}
		}
	})
}

func describe(all []*instance) []string {
	var texts []string
	for _, in := range all {
		texts = append(texts, fmt.Sprintf("%s%+v", in.entity.Name, in.scope()))
	}
	return texts
}

func TestChainOrderAndSharing(t *testing.T) {
	plugin := func(name string, priority int, route string) *instance {
		e := &fsm.Plugin{ID: name + route, Name: name}
		if route != "" {
			e.Route = &fsm.Ref{ID: route}
		}
		return &instance{entity: e, priority: priority, speaks: protoAny}
	}
	index := newChainIndex([]*instance{plugin("b", 5, ""), plugin("a", 5, ""), plugin("z", 9, "r1"), plugin("y", 1, "")})
	var names []string
	for _, p := range index.chain("r1", "s", protoAny) {
		names = append(names, p.base.entity.Name)
	}
	if got := fmt.Sprint(names); got != "[z a b y]" {
		t.Errorf("order is %s", got)
	}
	one, two := index.chain("r2", "s", protoAny), index.chain("r3", "t", protoAny)
	if &one[0] != &two[0] {
		t.Error("routes without plugins of their own have chains of their own")
	}
}

func TestSelectionAllocatesNothing(t *testing.T) {
	in := &instance{entity: &fsm.Plugin{ID: "1", Name: "p", Consumer: &fsm.Ref{ID: "c"}}, speaks: protoAny}
	c := newChainIndex([]*instance{in}).chain("r", "s", protoAny)
	x := &exchange{chosen: make([]*instance, 0, 4)}
	x.Consumer = &fsm.Consumer{ID: "c"}
	if n := testing.AllocsPerRun(100, func() {
		x.chosen = x.chosen[:0]
		x.selectAll(c)
	}); n != 0 || len(x.chosen) != 1 {
		t.Fatalf("%v allocations, %d chosen", n, len(x.chosen))
	}
}

func TestProtocolSet(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  protocols
	}{
		{nil, protoAny},
		{[]string{"http"}, protoHTTP},
		{[]string{"http", "https", "grpc", "grpcs"}, protoAny},
		{[]string{"tcp", "tls"}, 0},
		{[]string{"tcp", "https"}, protoHTTPS},
	} {
		if got := protocolSet(c.names); got != c.want {
			t.Errorf("%v: %b, want %b", c.names, got, c.want)
		}
	}
}
