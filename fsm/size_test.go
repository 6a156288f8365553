package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
)

// consumersWithKeys gives the operations that create n consumers with one key each,
// as the Admin API makes them; ids are spread as random ones are.
func consumersWithKeys(from, n int) []Op {
	ops := make([]Op, 0, 2*n)
	for i := from; i < from+n; i++ {
		spread := uint32(i) * 2654435761
		consumer := fmt.Sprintf("%08x-1111-4111-8111-%012d", spread, i)
		key := fmt.Sprintf("%08x-2222-4222-8222-%012d", spread^0x5bd1e995, i)
		ops = append(ops,
			Op{Verb: Create, Kind: "consumers", ID: consumer, Raw: json.RawMessage(fmt.Sprintf(
				`{"created_at":1700000000,"custom_id":null,"id":%q,"tags":null,"updated_at":1700000000,"username":"user-%06d"}`, consumer, i))},
			Op{Verb: Create, Kind: "keyauth_credentials", ID: key, Raw: json.RawMessage(fmt.Sprintf(
				`{"consumer":{"id":%q},"created_at":1700000000,"id":%q,"key":"%08x%016x%08x","tags":null,"ttl":null}`, consumer, key, spread, i, ^spread))})
	}
	return ops
}

// populated gives a machine with n consumers and their keys, written by so many at a
// time.
func populated(tb testing.TB, n, each int) *Machine {
	tb.Helper()
	m, err := New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	for from := 0; from < n; from += each {
		c := NewWrite(fmt.Sprint("r", from), 0, consumersWithKeys(from, min(each, n-from))...)
		c.Write.Whole = each > 1
		data, err := c.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		if r := m.Apply(uint64(from+1), data); r.Err != nil {
			tb.Fatal(r.Err)
		}
	}
	return m
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one finalized
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestStateSize: consumers with keys fit into the memory that nodes are sized by. An
// entity of a key took 2,100 bytes once; its JSON alone takes 170.
func TestStateSize(t *testing.T) {
	const n, most = 20_000, 600
	before := heap()
	m := populated(t, n, 5000)
	if each := (heap() - before) / (2 * n); each > most {
		t.Errorf("an entity takes %d bytes of memory, at most %d are good", each, most)
	}
	var stream bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&stream); err != nil {
		t.Fatal(err)
	}
	before = heap()
	other, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(bytes.NewReader(stream.Bytes())); err != nil {
		t.Fatal(err)
	}
	if each := (heap() - before) / (2 * n); each > most {
		t.Errorf("a restored entity takes %d bytes of memory, at most %d are good", each, most)
	}
	runtime.KeepAlive(m)
	runtime.KeepAlive(other)
	runtime.KeepAlive(&stream)
}

// BenchmarkStateSize tells what an entity costs: consumers with one key each.
func BenchmarkStateSize(b *testing.B) {
	for _, each := range []int{1, 5000} {
		b.Run(fmt.Sprintf("each=%d", each), func(b *testing.B) {
			const n = 100_000
			for b.Loop() {
				before := heap()
				m := populated(b, n, each)
				b.ReportMetric(float64(heap()-before)/(2*n), "heap-B/entity")
				runtime.KeepAlive(m)
			}
		})
	}
}

// BenchmarkApplyWhole is one change of 40,000 entities.
func BenchmarkApplyWhole(b *testing.B) {
	c := NewWrite("", 0, consumersWithKeys(0, 20_000)...)
	c.Write.Whole = true
	data, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := New(nil)
		if err != nil {
			b.Fatal(err)
		}
		if r := m.Apply(1, data); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}

// BenchmarkState reads and writes among 100,000 consumers with keys.
func BenchmarkState(b *testing.B) {
	const n = 100_000
	m := populated(b, n, 5000)
	v := m.View()
	ids, names := make([]string, 0, 1000), make([]string, 0, 1000)
	for i, op := range consumersWithKeys(0, n) {
		if i%200 == 0 {
			ids, names = append(ids, op.ID), append(names, fmt.Sprintf("user-%06d", i/2))
		}
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v.Get("consumers", ids[i%len(ids)]) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if v.Lookup("consumers", names[i%len(names)]) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("referencing", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			for range v.Referencing("keyauth_credentials", "consumer", ids[i%len(ids)]) {
			}
		}
	})
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			n := 0
			for range v.From("consumers", ids[i%len(ids)]) {
				if n++; n == 1000 {
					break
				}
			}
		}
	})
	b.Run("apply", func(b *testing.B) {
		var cmds [][]byte
		for i, op := range consumersWithKeys(0, n) {
			if i%200 != 0 {
				continue
			}
			op.Verb = Put
			data, err := NewWrite("", 0, op).Encode()
			if err != nil {
				b.Fatal(err)
			}
			cmds = append(cmds, data)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if r := m.Apply(m.Index()+1, cmds[i%len(cmds)]); r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	})
}

// BenchmarkDraft is a draft of 100,000 entities, and the write that it is.
func BenchmarkDraft(b *testing.B) {
	m := populated(b, 1000, 1000)
	ops := consumersWithKeys(1000, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		d := m.Draft(m.View(), 0)
		if _, err := d.Do(ops...); err != nil {
			b.Fatal(err)
		}
		if n := len(d.Write().Ops); n != len(ops) {
			b.Fatalf("%d operations", n)
		}
	}
}
