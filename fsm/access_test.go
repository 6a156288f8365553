package fsm

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// Who sees only some entities finds no way to the others.
func TestOnly(t *testing.T) {
	l := newLog(t)
	l.must(
		op(Create, "services", idA, `,"name":"a","host":"h","tags":["x","both"]`), op(Create, "services", idB, `,"name":"b","host":"h","tags":["y","both"]`),
		op(Create, "routes", idA, `,"name":"ra","service":{"id":"`+idA+`"},"tags":["x"]`), op(Create, "routes", idB, `,"name":"rb","service":{"id":"`+idA+`"},"tags":["y"]`),
		op(Create, "upstreams", idA, `,"name":"u"`),
		op(Create, "targets", idA, `,"target":"h:1","upstream":{"id":"`+idA+`"},"tags":["x"]`), op(Create, "targets", idB, `,"target":"h:2","upstream":{"id":"`+idA+`"},"tags":["y"]`),
		op(Create, "consumers", idA, `,"custom_id":"a","tags":["x"]`), op(Create, "consumers", idB, `,"custom_id":"b","tags":["y"]`),
	)
	all := l.m.View()
	only := all.Only(func(e *Entity) bool { return slices.Contains(e.Tags(), "x") })
	one := func(e *Entity) []*Entity {
		if e == nil {
			return nil
		}
		return []*Entity{e}
	}
	for name, c := range map[string]struct {
		look func(v *View) []*Entity
		all  string // ids of what is there, of which only idA is seen
	}{
		"Get": {func(v *View) []*Entity { return append(one(v.Get("services", idA)), one(v.Get("services", idB))...) }, idA + idB},
		"Lookup": {func(v *View) []*Entity {
			return append(one(v.Lookup("services", "a")), one(v.Lookup("services", "b"))...)
		}, idA + idB},
		"LookupNested": {func(v *View) []*Entity {
			return append(one(v.LookupNested("targets", idA, "h:1")), one(v.LookupNested("targets", idA, "h:2"))...)
		}, idA + idB},
		"LookupUnique": {func(v *View) []*Entity {
			return append(one(v.LookupUnique("consumers", 1, "a")), one(v.LookupUnique("consumers", 1, "b"))...)
		}, idA + idB},
		"All":         {func(v *View) []*Entity { return slices.Collect(v.All("services")) }, idA + idB},
		"From":        {func(v *View) []*Entity { return slices.Collect(v.From("services", "")) }, idA + idB},
		"Referencing": {func(v *View) []*Entity { return slices.Collect(v.Referencing("routes", "service", idA)) }, idA + idB},
		"Tagged":      {func(v *View) []*Entity { return slices.Collect(v.Tagged("services", "both")) }, idA + idB},
	} {
		ids := func(v *View) (s string) {
			for _, e := range c.look(v) {
				s += e.ID
			}
			return s
		}
		if got := ids(all); got != c.all {
			t.Errorf("%s without a bound: %s", name, got)
		}
		if got := ids(only); got != idA {
			t.Errorf("%s: %s, want %s", name, got, idA)
		}
	}
}

// A delete that is to be alone takes nothing with it that its write does not name.
func TestAlone(t *testing.T) {
	service := op(Create, "services", idA, `,"host":"h"`)
	plugin := op(Create, "plugins", idA, `,"name":"p","service":{"id":"`+idA+`"}`)
	alone := Op{Verb: Delete, Kind: "services", ID: idA, Alone: true}
	both := []Op{alone, {Verb: Delete, Kind: "plugins", ID: idA, Alone: true}}
	for name, c := range map[string]struct {
		before []Op
		write  Write
		code   Code
	}{
		"nothing there":         {[]Op{service}, Write{Ops: []Op{alone}}, 0},
		"accompanied":           {[]Op{service, plugin}, Write{Ops: []Op{alone}}, CodeConflict},
		"accompanied, whole":    {[]Op{service, plugin}, Write{Ops: []Op{alone}, Whole: true}, CodeConflict},
		"both named":            {[]Op{service, plugin}, Write{Ops: both, Whole: true}, 0},
		"with all that follows": {[]Op{service, plugin}, Write{Ops: []Op{{Verb: Delete, Kind: "services", ID: idA}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			l.must(c.before...)
			draft := l.m.Draft(l.m.View(), 0)
			tried := draft.Try(&c.write)
			res := l.apply(&Command{Version: CommandVersion, Type: CommandWrite, Write: &c.write})
			if fmt.Sprint(tried) != fmt.Sprint(res.Err) {
				t.Errorf("a draft says %v, the log %v", tried, res.Err)
			}
			var code Code
			if res.Err != nil {
				code = res.Err.Code
			}
			if code != c.code {
				t.Fatalf("%v, want code %d", res.Err, c.code)
			}
			left := map[string]bool{}
			for _, o := range c.before {
				left[o.Kind] = l.m.View().Get(o.Kind, idA) != nil
			}
			for kind := range maps.Keys(left) {
				if left[kind] != (c.code != 0) {
					t.Errorf("%s are there: %v", kind, left[kind])
				}
			}
		})
	}
}

// A node knows which writes would be answered and not done.
func TestAnswered(t *testing.T) {
	l := newLog(t)
	if l.m.Answered("r") || l.m.Answered("") {
		t.Error("a write is known that never was")
	}
	l.apply(NewWrite("r", 0, op(Create, "services", idA, `,"host":"h"`)))
	if !l.m.Answered("r") {
		t.Error("a write is not known")
	}
}
