package fsm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func (l *log) bytes() []byte {
	l.t.Helper()
	var b bytes.Buffer
	if _, err := l.m.Snapshot().WriteTo(&b); err != nil {
		l.t.Fatal(err)
	}
	return b.Bytes()
}

// entityRecords gives the entity records of a stream, in order.
func entityRecords(t *testing.T, stream []byte) []byte {
	t.Helper()
	in := &recordReader{r: bufio.NewReader(bytes.NewReader(stream)), crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	if err := in.bytes(make([]byte, len(snapshotMagic))); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for {
		kind, payload, err := in.record()
		if err != nil {
			t.Fatal(err)
		}
		if kind == recordTrailer {
			return out
		}
		if kind == recordEntity {
			out = append(out, payload...)
		}
	}
}

func filled(t *testing.T) *log {
	l := newLog(t)
	l.apply(NewInit("cluster-1"))
	for i := range 4 {
		id := fmt.Sprintf("55555555-5555-4555-8555-%012d", i)
		l.apply(NewWrite("req-"+id, 0, op(Create, "services", id, fmt.Sprintf(`,"name":"s%d","host":"h","new_field_of_a_newer_build":{"x":[1,"<&>"]}`, i))))
	}
	return l
}

func TestSnapshotRestores(t *testing.T) {
	l := filled(t)
	stream := l.bytes()
	other := newLog(t)
	if err := other.m.Restore(bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(other.bytes(), stream) {
		t.Fatal("a restored machine writes another snapshot")
	}
	v := other.m.View()
	if v.ClusterID() != "cluster-1" || v.Index() != l.index || v.ConfigIndex() != l.index {
		t.Fatalf("cluster %q, index %d, config index %d", v.ClusterID(), v.Index(), v.ConfigIndex())
	}
	e := v.Lookup("services", "s3")
	if e == nil || !bytes.Contains(e.Raw, []byte(`"new_field_of_a_newer_build":{"x":[1,"<&>"]}`)) {
		t.Fatalf("a field of a newer build was lost: %+v", e)
	}
	other.index = l.index
	c := NewWrite("req-55555555-5555-4555-8555-000000000000", 0, op(Delete, "services", idA, ""))
	if r := other.apply(c); r.Index != 2 {
		t.Fatalf("the restored machine forgot a request: %+v", r)
	}
}

func TestSnapshotIsOfOneMoment(t *testing.T) {
	l := filled(t)
	want := l.bytes()
	snap := l.m.Snapshot()
	l.must(op(Create, "services", idA, `,"name":"later","host":"h"`))
	var got bytes.Buffer
	if _, err := snap.WriteTo(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("a snapshot shows what came after it")
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	l := filled(t)
	stream := l.bytes()
	target := newLog(t)
	target.must(op(Create, "services", idA, `,"name":"mine","host":"h"`))
	before := target.bytes()
	for i := range stream {
		bad := bytes.Clone(stream)
		bad[i] ^= 1 << (i % 8)
		if err := target.m.Restore(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a flipped bit in byte %d of %d was taken", i, len(stream))
		}
	}
	for _, n := range []int{0, 1, len(snapshotMagic), len(stream) / 2, len(stream) - 1} {
		if err := target.m.Restore(bytes.NewReader(stream[:n])); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("a stream cut at %d: %v", n, err)
		}
	}
	if !bytes.Equal(target.bytes(), before) {
		t.Fatal("a refused snapshot changed the state")
	}
}

func TestNewerSnapshotIsRefusedAsSuch(t *testing.T) {
	var b bytes.Buffer
	w := &recordWriter{w: bufio.NewWriter(&b), crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	w.bytes([]byte(snapshotMagic))
	w.json(recordHeader, snapshotHeader{Format: snapshotFormat + 1})
	w.trailer()
	if err := newLog(t).m.Restore(&b); !errors.Is(err, ErrNewerSnapshot) {
		t.Fatalf("got %v", err)
	}
}

func FuzzRestore(f *testing.F) {
	m, err := New(nil)
	if err != nil {
		f.Fatal(err)
	}
	c := NewWrite("r", 0, op(Create, "services", idA, `,"name":"s","host":"h"`))
	data, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	m.Apply(1, data)
	var b bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, stream []byte) {
		m, err := New(nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Restore(bytes.NewReader(stream)) != nil {
			return
		}
		var again bytes.Buffer
		if _, err := m.Snapshot().WriteTo(&again); err != nil {
			t.Fatalf("a restored state cannot be written: %v", err)
		}
	})
}

func FuzzApply(f *testing.F) {
	for _, c := range []*Command{
		NewInit("c"),
		NewWrite("r", 5, op(Create, "consumers", idC, `,"username":"bob"`), op(Delete, "services", idA, "")),
		NewWrite("", 0, op(Put, "plugins", idA, `,"name":"jwt","config":{},"service":{"id":"x"}`)),
	} {
		data, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"v":1,"t":3,"limits":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var states [2][]byte
		for i := range states {
			l := newLog(t)
			l.must(op(Create, "services", idA, `,"name":"s","host":"h"`))
			r := l.m.Apply(2, data)
			if _, err := json.Marshal(r); err != nil {
				t.Fatalf("a result cannot travel: %v", err)
			}
			states[i] = l.bytes()
		}
		if !bytes.Equal(states[0], states[1]) {
			t.Fatal("the same entry made two states")
		}
	})
}

// TestStateAgainstModel compares the state with maps that are searched in full.
func TestStateAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLog(t)
		services, routes := map[string]string{}, map[string]string{} // id -> name, id -> service
		ids := []string{idA, idB, idC, idD}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			id, name := rapid.SampledFrom(ids).Draw(rt, "id"), rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, "name")
			switch rapid.SampledFrom([]string{"put service", "delete service", "put route", "delete route"}).Draw(rt, "step") {
			case "put service":
				field := fmt.Sprintf(`,"name":%q`, name)
				if name == "" {
					field = `,"name":null`
				}
				want := true
				for other, n := range services {
					want = want && (other == id || n != name || n == "")
				}
				if got := l.write(op(Put, "services", id, field+`,"host":"h"`)).Err == nil; got != want {
					rt.Fatalf("put of service %s %q: %v, want %v", id, name, got, want)
				}
				if want {
					services[id] = name
				}
			case "delete service":
				want := true
				for _, service := range routes {
					want = want && service != id
				}
				if got := l.write(op(Delete, "services", id, "")).Err == nil; got != want {
					rt.Fatalf("delete of service %s: %v, want %v", id, got, want)
				}
				if want {
					delete(services, id)
				}
			case "put route":
				service := rapid.SampledFrom(ids).Draw(rt, "service")
				_, want := services[service]
				if got := l.write(op(Put, "routes", id, `,"service":{"id":"`+service+`"}`)).Err == nil; got != want {
					rt.Fatalf("put of route %s to %s: %v, want %v", id, service, got, want)
				}
				if want {
					routes[id] = service
				}
			case "delete route":
				l.must(op(Delete, "routes", id, ""))
				delete(routes, id)
			}
			compareModel(rt, l.m.View(), services, routes)
		}
		restored := newLog(t)
		if err := restored.m.Restore(bytes.NewReader(l.bytes())); err != nil {
			rt.Fatal(err)
		}
		compareModel(rt, restored.m.View(), services, routes)
	})
}

func compareModel(rt *rapid.T, v *View, services, routes map[string]string) {
	n := 0
	for e := range v.All("services") {
		n++
		if name, ok := services[e.ID]; !ok || e.Value.(*Service).Name != name {
			rt.Fatalf("service %s is %q, the model says %q", e.ID, e.Value.(*Service).Name, name)
		}
		if name := services[e.ID]; name != "" && v.Lookup("services", name) != e {
			rt.Fatalf("service %s is not found by its name %q", e.ID, name)
		}
		found, want := 0, 0
		for range v.Referencing("routes", "service", e.ID) {
			found++
		}
		for _, service := range routes {
			if service == e.ID {
				want++
			}
		}
		if found != want {
			rt.Fatalf("%d routes of service %s, the model says %d", found, e.ID, want)
		}
	}
	if n != len(services) {
		rt.Fatalf("%d services, the model has %d", n, len(services))
	}
}

// TestEntityRecords: entities are written as encoding/json writes them, whatever
// their strings hold.
func TestEntityRecords(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9-]*`),
		rapid.SampledFrom([]string{"", "<&>", "\"\\", "\x00\n\x7f", "\xff\xfe", "\u2028\u2029", "é"}))
	rapid.Check(t, func(t *rapid.T) {
		raw, err := encode(rapid.MapOf(text, text).Draw(t, "fields"))
		if err != nil {
			t.Fatal(err)
		}
		e := &Entity{Kind: text.Draw(t, "kind"), ID: text.Draw(t, "id"), Raw: raw,
			CreateIndex: rapid.Uint64().Draw(t, "create"), ModifyIndex: rapid.Uint64().Draw(t, "modify"), CreateStamp: rapid.Int64().Draw(t, "stamp"), ExpiresAt: rapid.Int64().Draw(t, "expires")}
		if rapid.Bool().Draw(t, "bare") {
			e.Raw, e.ExpiresAt = nil, 0
		}
		want, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.appendJSON([]byte("before"))
		if err != nil || string(got) != "before"+string(want) {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	})
}

// TestSnapshotOfSpacedEntities: JSON that some other program has written into
// the log, with spaces, comes back.
func TestSnapshotOfSpacedEntities(t *testing.T) {
	l := newLog(t)
	l.index++
	spaced := `{"v":1,"t":2,"write":{"ops":[{"verb":"put","kind":"services","id":"` + idA + `","raw":{ "id" : "` + idA + `",` + "\n" + ` "name":"s", "host":"h" }}]}}`
	if r := l.m.Apply(l.index, []byte(spaced)); r.Err != nil {
		t.Fatal(r.Err)
	}
	other := newLog(t)
	if err := other.m.Restore(bytes.NewReader(l.bytes())); err != nil {
		t.Fatal(err)
	}
	if e := other.m.View().Lookup("services", "s"); e == nil || e.ID != idA {
		t.Fatalf("got %+v", e)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, err := New(nil)
	if err != nil {
		b.Fatal(err)
	}
	var ops []Op
	for i := range 5000 {
		id := fmt.Sprintf("55555555-5555-4555-8555-%012d", i)
		ops = append(ops, op(Create, "services", id, fmt.Sprintf(`,"name":"s%d","host":"h","port":80,"protocol":"http","tags":["a","b"]`, i)))
	}
	data, err := NewWrite("", 0, ops...).Encode()
	if err != nil {
		b.Fatal(err)
	}
	if r := m.Apply(1, data); r.Err != nil {
		b.Fatal(r.Err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Snapshot().WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
