package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
	"github.com/sluicegate/sluice/proxy/tlsconf"
)

// TestCompileAgreesWithFresh: after any changes a compiler that has seen them
// all serves what one that sees only the last view does.
func TestCompileAgreesWithFresh(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.hook("none", accessHook(func(*plugin.Exchange) plugin.Verdict { return plugin.Continue }))
		m := newMetrics(nil)
		seasoned := newCompiler(w.config, m, tlsconf.NewCertificates(tlsconf.Config{}))
		ids := make([]string, 8)
		for i := range ids {
			ids[i] = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		}
		id := rapid.SampledFrom(ids)
		var snapshots []*snapshot
		var described []string
		for range rapid.IntRange(1, 10).Draw(rt, "builds") {
			for range rapid.IntRange(0, 6).Draw(rt, "changes") {
				w.try(drawChange(rt, id))
			}
			view := w.machine.View()
			got := seasoned.build(view)
			fresh := newMetrics(nil)
			want := newCompiler(w.config, fresh, tlsconf.NewCertificates(tlsconf.Config{})).build(view)
			if g, w := behaviour(got), behaviour(want); g != w {
				rt.Fatalf("got\n%s, want\n%s", g, w)
			}
			if len(m.routes) != len(fresh.routes) {
				rt.Fatalf("%d counters, want %d", len(m.routes), len(fresh.routes))
			}
			checkTargets(rt, seasoned, got)
			snapshots, described = append(snapshots, got), append(described, behaviour(got))
		}
		for i, s := range snapshots {
			if now := behaviour(s); now != described[i] {
				rt.Fatalf("snapshot %d was\n%s, is\n%s", i, described[i], now)
			}
		}
	})
}

// drawChange makes a write that the state may refuse.
func drawChange(t *rapid.T, id *rapid.Generator[string]) fsm.Op {
	kind := rapid.SampledFrom([]string{"routes", "routes", "routes", "services", "plugins"}).Draw(t, "kind")
	op := fsm.Op{Verb: fsm.Put, Kind: kind, ID: id.Draw(t, "id")}
	ref := func(name string) string {
		if !rapid.Bool().Draw(t, "has "+name) {
			return "null"
		}
		return fmt.Sprintf(`{"id":%q}`, id.Draw(t, name))
	}
	n := rapid.IntRange(0, 3).Draw(t, "variant")
	switch {
	case rapid.IntRange(0, 4).Draw(t, "delete") == 0:
		op.Verb = fsm.Delete
	case kind == "services":
		op.Raw = fmt.Appendf(nil, `{"id":%q,"name":%q,"host":"h%d","port":443,"protocol":%q,"enabled":%v,"tls_verify":true}`,
			op.ID, op.ID[34:], n, []string{"http", "https", "grpcs", "grpc"}[n], n != 3)
	case kind == "plugins":
		op.Raw = fmt.Appendf(nil, `{"id":%q,"name":%q,"enabled":true,"config":{"hook":"none"},"route":%s,"service":%s}`,
			op.ID, []string{"test-mid", "test-mid", "unknown", "test-mid"}[n], ref("route"), ref("service"))
	default:
		op.Raw = fmt.Appendf(nil, `{"id":%q,"name":"r%d","paths":[%q],"protocols":[%q],"service":%s}`, op.ID,
			rapid.IntRange(0, 20).Draw(t, "name"), []string{"/a", "/a/b", "~/(", "/c"}[n],
			rapid.SampledFrom([]string{"http", "https", "tcp"}).Draw(t, "protocol"), ref("service"))
	}
	return op
}

// try applies an op that may be refused.
func (w *world) try(op fsm.Op) {
	data, err := fsm.NewWrite("", 0, op).Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.machine.Apply(w.machine.Index()+1, data)
}

// behaviour tells what a snapshot does with requests.
func behaviour(s *snapshot) string {
	var b strings.Builder
	for _, path := range []string{"/a", "/a/b/c", "/c", "/none"} {
		req := router.Request{Method: "GET", Path: path}
		if m, ok := s.routes.router.Match(&req); ok {
			r := s.routes.compiled[m.Route.Value.(int)]
			target := r.target
			target.Config = nil // another pointer in each compiler
			fmt.Fprintf(&b, "%s: %s to %+v %s, counted as %s %s, %v\n", path, m.Route.ID, target, r.hostHeader, r.counters.service, r.counters.route, r.speaks)
		}
		for _, reason := range s.routes.router.Explain(&req) {
			r := s.routes.compiled[reason.Route.Value.(int)]
			fmt.Fprintf(&b, "%s: %s %s %s\n", path, reason.Outcome, r.entity.ID, reason.Paths)
			for _, p := range r.chain {
				if p.base != nil {
					fmt.Fprintf(&b, "  plugin %s\n", p.base.entity.ID)
				}
			}
		}
	}
	problems := make([]string, len(s.problems))
	for i, p := range s.problems {
		problems[i] = fmt.Sprintf("%s %s: %v\n", p.Kind, p.ID, p.Err)
	}
	slices.Sort(problems)
	return b.String() + strings.Join(problems, "")
}

// checkTargets: the targets that are kept are those of the routes.
func checkTargets(t *rapid.T, c *compiler, s *snapshot) {
	count := 0
	for _, r := range s.routes.compiled {
		if r == nil {
			continue
		}
		count++
		if !c.routes.targets.wanted(r.target) {
			t.Fatalf("the target of %s is dropped", r.entity.ID)
		}
	}
	for _, n := range c.routes.targets.routes {
		count -= n
	}
	if count != 0 {
		t.Fatalf("%d routes too few or too many are counted for targets", count)
	}
}
