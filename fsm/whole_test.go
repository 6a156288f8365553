package fsm

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func whole(ops ...Op) *Command {
	c := NewWrite("", 0, ops...)
	c.Write.Whole = true
	return c
}

// TestWhole: in a whole change, the order of operations does not matter, and names
// may be given from one to another.
func TestWhole(t *testing.T) {
	service := func(id, name string) Op { return op(Put, "services", id, `,"name":"`+name+`","host":"h"`) }
	route := func(id, service string) Op {
		return op(Put, "routes", id, `,"paths":["/"],"service":{"id":"`+service+`"}`)
	}
	plugin := func(id, service string) Op {
		return op(Put, "plugins", id, `,"name":"jwt","config":{},"service":{"id":"`+service+`"}`)
	}
	for name, c := range map[string]struct {
		before, ops []Op
		code        Code
		left        int // entities
	}{
		"children first":            {nil, []Op{route(idB, idA), service(idA, "a")}, 0, 2},
		"names change hands":        {[]Op{service(idA, "a"), service(idB, "b")}, []Op{service(idA, "b"), service(idB, "a")}, 0, 2},
		"a name of a deleted one":   {[]Op{service(idA, "a")}, []Op{service(idB, "a"), op(Delete, "services", idA, "")}, 0, 1},
		"parent deleted first":      {[]Op{service(idA, "a"), route(idB, idA)}, []Op{op(Delete, "services", idA, ""), op(Delete, "routes", idB, "")}, 0, 0},
		"what is deleted, is named": {[]Op{service(idA, "a")}, []Op{op(Delete, "services", idA, ""), route(idB, idA)}, CodeForeignKey, 1},
		"and by who would go":       {[]Op{service(idA, "a")}, []Op{op(Delete, "services", idA, ""), plugin(idB, idA)}, CodeForeignKey, 1},
		"named by who stays":        {[]Op{service(idA, "a"), route(idB, idA)}, []Op{op(Delete, "services", idA, "")}, CodeForeignKey, 2},
		"cascade":                   {[]Op{service(idA, "a"), plugin(idB, idA)}, []Op{op(Delete, "services", idA, "")}, 0, 0},
		"cascade of what is listed": {[]Op{service(idA, "a"), plugin(idB, idA)}, []Op{op(Delete, "plugins", idB, ""), op(Delete, "services", idA, "")}, 0, 0},
		"a name twice":              {nil, []Op{service(idA, "a"), service(idB, "a")}, CodeUnique, 0},
		"a name of another":         {[]Op{service(idA, "a")}, []Op{service(idB, "a")}, CodeUnique, 1},
		"nobody is named":           {nil, []Op{route(idB, idA)}, CodeForeignKey, 0},
		"stale":                     {[]Op{service(idA, "a")}, []Op{{Verb: Put, Kind: "services", ID: idA, Raw: service(idA, "b").Raw, IfIndex: 9}}, CodeConflict, 1},
		"there already":             {[]Op{service(idA, "a")}, []Op{{Verb: Put, Kind: "services", ID: idA, Raw: service(idA, "b").Raw, IfAbsent: true}}, CodePrimaryKey, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			if len(c.before) > 0 {
				l.must(c.before...)
			}
			was := dump(l.m.View())
			res := l.apply(whole(c.ops...))
			switch {
			case c.code == 0 && res.Err != nil:
				t.Fatal(res.Err)
			case c.code != 0 && (res.Err == nil || res.Err.Code != c.code):
				t.Fatalf("%+v, want code %d", res.Err, c.code)
			case c.code != 0 && dump(l.m.View()) != was:
				t.Errorf("it was refused, and did something:\n%s", dump(l.m.View()))
			}
			if n := strings.Count(dump(l.m.View()), "\n"); n != c.left {
				t.Errorf("%d entities:\n%s", n, dump(l.m.View()))
			}
		})
	}
	l := newLog(t)
	if res := l.apply(whole(service(idA, "a"), service(idA, "b"))); res.Err == nil {
		t.Error("an entity twice")
	}
}

// TestDraft: what is done to a draft, and then written as one change, is what the same
// operations do one after the other; nobody sees it before.
func TestDraft(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		one, other := newLog(t), newLog(t)
		for range 10 {
			ops := scribble(r)
			one.write(ops...)
			other.write(ops...)
		}
		was := dump(one.m.View())
		d := one.m.Draft(one.m.View(), 0)
		for range 6 {
			ops := scribble(r)
			// A draft that was refused something is of no use: look first.
			if one.m.Draft(d.fixed(), 0).refuses(ops) {
				continue
			}
			if _, err := d.Do(ops...); err != nil {
				t.Fatal(err)
			}
			if res := other.write(ops...); res.Err != nil {
				t.Fatalf("seed %d: a draft does what a write does not: %v", seed, res.Err)
			}
		}
		if dump(one.m.View()) != was {
			t.Fatalf("seed %d: a draft shows", seed)
		}
		w := d.Write()
		if res := one.apply(&Command{Version: CommandVersion, Type: CommandWrite, Write: w}); res.Err != nil {
			t.Fatalf("seed %d: %v", seed, res.Err)
		}
		if a, b := content(one.m.View()), content(other.m.View()); a != b || a != content(d.View()) {
			t.Fatalf("seed %d: written\n%s\none after the other\n%s", seed, a, b)
		}
		if n := len(one.m.Draft(one.m.View(), 0).Write().Ops); n != 0 {
			t.Errorf("seed %d: a draft of nothing has %d operations", seed, n)
		}
	}
}

// fixed is a view of what the draft is now.
func (d *Draft) fixed() *View {
	v := *d.view
	v.open, v.tables = nil, d.txn.result()
	return &v
}

func (d *Draft) refuses(ops []Op) bool {
	_, err := d.Do(ops...)
	return err != nil
}

// TestDraftIsOvertaken: a draft of what another writer has changed meanwhile is
// refused.
func TestDraftIsOvertaken(t *testing.T) {
	l := newLog(t)
	l.must(op(Put, "services", idA, `,"name":"a","host":"h"`))
	d := l.m.Draft(l.m.View(), 0)
	if _, err := d.Do(op(Update, "services", idA, `,"name":"b","host":"h"`)); err != nil {
		t.Fatal(err)
	}
	l.must(op(Put, "services", idA, `,"name":"c","host":"h"`))
	res := l.apply(&Command{Version: CommandVersion, Type: CommandWrite, Write: d.Write()})
	if res.Err == nil || res.Err.Code != CodeConflict {
		t.Errorf("%+v", res.Err)
	}
}

// TestStaged: a write in parts is done by its last entry, at once, whatever of them
// is repeated, and not at all if any is missing.
func TestStaged(t *testing.T) {
	big := NewWrite("request", 5)
	for i := range 50 {
		id := strings.Replace(idA, "11111111", "111111"+string(rune('a'+i/10%6))+string(rune('0'+i%10)), 1)
		big.Write.Ops = append(big.Write.Ops, op(Create, "services", id, `,"name":"`+strings.Repeat("n", 100+i)+`","host":"h"`))
	}
	parts, err := big.Split("one", 2000)
	if err != nil || len(parts) < 4 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for _, p := range parts {
		if data, err := p.Encode(); err != nil || len(data) > 2000 {
			t.Fatalf("a part of %d bytes, %v", len(data), err)
		}
	}
	l := newLog(t)
	for i, p := range parts[:len(parts)-1] {
		for range 1 + i%2 {
			if res := l.apply(p); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		if dump(l.m.View()) != "" {
			t.Fatal("a part shows")
		}
		sameRestored(t, l.m)
	}
	last := parts[len(parts)-1]
	for try := range 2 { // its answer was lost
		if try > 0 {
			l.apply(parts[0])
		}
		if res := l.apply(last); res.Err != nil || res.Index != l.m.ConfigIndex() {
			t.Fatalf("%+v", res)
		}
	}
	direct := newLog(t)
	direct.index = l.m.ConfigIndex() - 1
	direct.apply(big)
	if dump(l.m.View()) != dump(direct.m.View()) {
		t.Error("in parts it is another write")
	}
	if len(l.m.View().staged.all) != 0 {
		t.Error("parts are left")
	}
	if _, _, err := l.m.View().VerifyHistory(); err != nil || len(l.m.View().History()) != 1 {
		t.Errorf("%v", err)
	}

	for name, list := range map[string][]*Command{
		"a part is missing": append(append([]*Command{}, parts[0], parts[2]), last),
		"the end is":        append(append([]*Command{}, parts[:len(parts)-2]...), last),
		"all are":           {last},
	} {
		l := newLog(t)
		var res *Result
		for _, p := range list {
			res = l.apply(p)
		}
		if res.Err == nil || !strings.Contains(res.Err.Error(), ErrNotStaged.Error()) || dump(l.m.View()) != "" {
			t.Errorf("%s: %+v", name, res.Err)
		}
	}
}

// TestStagedIsBounded: parts that nobody finishes make room for others.
func TestStagedIsBounded(t *testing.T) {
	l := newLog(t)
	for i := range 3 * maxStaged {
		res := l.apply(&Command{Version: CommandVersion, Type: CommandStage, Stage: &Stage{ID: strings.Repeat("x", i+1), Data: bytes.Repeat([]byte("y"), 100)}})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if n := len(l.m.View().staged.all); n != maxStaged {
		t.Errorf("%d are staged", n)
	}
	l.index += stagedFor + 1
	l.must(op(Put, "services", idA, `,"name":"a","host":"h"`))
	if n := len(l.m.View().staged.all); n != 0 {
		t.Errorf("%d are kept for writers that are gone", n)
	}
	if _, err := (stage{}).write(&Parts{ID: "none"}); !errors.Is(err, ErrNotStaged) {
		t.Error(err)
	}
}
