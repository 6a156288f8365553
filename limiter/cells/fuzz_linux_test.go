package cells

import (
	"os"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

// FuzzOpen opens files of any bytes. Half of them are given a preface that is
// right, so that the rest is looked at. To keep inputs small, what is fuzzed is
// the beginning of each part: owners, two headers, one extent.
func FuzzOpen(f *testing.F) {
	parts := func(owners, head0, head1, cells []byte) {
		f.Add(true, owners, head0, head1, cells, uint16(2))
	}
	name := path(f)
	tab := open(f, name, Options{Boot: boot})
	for _, k := range keysIn(0, 3) {
		tab.Insert(k, window.Minute, never).Enter(uint32(noon), 5)
	}
	for range 2 {
		if err := tab.SetHeader([]byte("header")); err != nil {
			f.Fatal(err)
		}
	}
	closeTable(f, tab)
	d, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	parts(d[ownersAt:][:8], d[placesAt:][:32], d[placesAt+placeLen:][:32], d[dataAt:][:256])
	parts(d[ownersAt:][:4], nil, nil, d[dataAt:][:64])
	// An extent that nobody owns has something in it.
	parts(append(make([]byte, 4), d[ownersAt:][:4]...), nil, nil, d[dataAt:][:256])
	f.Add(false, []byte{}, []byte{}, []byte{}, []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, right bool, owners, head0, head1, cells []byte, extents uint16) {
		data := make([]byte, dataAt+int(extents%4)*extentBytes)
		copy(data[ownersAt:placesAt], owners)
		copy(data[placesAt:placesAt+placeLen], head0)
		copy(data[placesAt+placeLen:dataAt], head1)
		copy(data[dataAt:], cells)
		file := shortLived(t)
		if right {
			memory(data).preface().Name = formatName
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		adopt(t, file)
		mustBeConsistent(t, open(t, file, Options{Boot: boot}))
	})
}

// FuzzOpenRaw opens files of any bytes, as they are.
func FuzzOpenRaw(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte("SLCELLS1"), false)
	f.Fuzz(func(t *testing.T, data []byte, long bool) {
		if long {
			data = append(data, make([]byte, dataAt+extentBytes)...)
		}
		file := shortLived(t)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		mustBeNew(t, open(t, file, Options{Boot: boot}))
	})
}

func mustBeConsistent(t *testing.T, tab *Table) {
	there := all(tab)
	if !tab.Recovered() {
		mustBeNew(t, tab)
	}
	if len(there) != tab.Len() {
		t.Fatalf("%d cells, Len %d", len(there), tab.Len())
	}
	for i, c := range there {
		if tab.Find(i.key, i.period) != c || c.Word() == busy || !i.period.Valid() {
			t.Fatalf("%v is there but not found", i)
		}
	}
	for s := range Shards {
		k := Key{Lo: uint64(s) + Shards} // of shard s
		c := tab.Insert(k, window.Hour, never)
		if c == nil {
			t.Fatal("no room")
		}
		if there[id{k, window.Hour}] == nil && c.Word().entered() {
			t.Fatal("a new cell has a window")
		}
	}
	if n := len(all(tab)); n != tab.Len() {
		t.Fatalf("%d cells, Len %d after more were made", n, tab.Len())
	}
}
