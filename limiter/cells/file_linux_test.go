package cells

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
	"pgregory.net/rapid"
)

func open(t testing.TB, path string, o Options) *Table {
	t.Helper()
	tab, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tab.Close(); err != nil {
			t.Error(err)
		}
	})
	return tab
}

func closeTable(t testing.TB, tab *Table) {
	t.Helper()
	if err := tab.Close(); err != nil {
		t.Fatal(err)
	}
}

func path(t testing.TB) string { return filepath.Join(t.TempDir(), "cells") }

func TestReopen(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{})
	if tab.Recovered() || tab.Header() != nil {
		t.Error("a new file has something to recover")
	}
	const keys = 5000
	for i := range uint64(keys) {
		c := tab.Insert(keyOf(i), window.Period(i%window.Periods), never)
		c.Enter(uint32(noon), int64(i))
		c.Max.Store(int64(i) * 2)
		c.Flags.Or(2 << FlagsAt)
	}
	if err := tab.SetHeader([]byte("incarnation 7")); err != nil {
		t.Fatal(err)
	}
	closeTable(t, tab)

	for _, capacity := range []int{0, 100_000, 10} { // less room than there are keys is no reason to lose any
		tab = open(t, file, Options{Capacity: capacity})
		if !tab.Recovered() || tab.Len() != keys || string(tab.Header()) != "incarnation 7" {
			t.Fatalf("recovered %v, %d keys, header %q", tab.Recovered(), tab.Len(), tab.Header())
		}
		for i := range uint64(keys) {
			p := window.Period(i % window.Periods)
			c := tab.Find(keyOf(i), p)
			if c == nil || c.Word() != MakeWord(uint32(noon), int64(i)) || c.Max.Load() != int64(i)*2 || c.Flags.Load() != 2<<FlagsAt|uint32(p) {
				t.Fatalf("key %d is not what it was", i)
			}
		}
		closeTable(t, tab)
	}
}

// TestInUse: who is locked out changes nothing.
func TestInUse(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{Boot: "a"})
	tab.Insert(Key{1, 1}, window.Minute, never).Enter(uint32(noon), 5)
	for _, boot := range []string{"a", "b"} {
		if _, err := Open(file, Options{Boot: boot}); !errors.Is(err, ErrInUse) {
			t.Fatalf("a second process got %v", err)
		}
	}
	closeTable(t, tab)
	tab = open(t, file, Options{Boot: "a"})
	if c := tab.Find(Key{1, 1}, window.Minute); c == nil || c.Word().Tokens() != 5 {
		t.Error("the file was changed")
	}
}

// TestDoubt: whatever is wrong with a file, the table is empty and works.
func TestDoubt(t *testing.T) {
	at := func(offset int, b ...byte) func([]byte) []byte {
		return func(data []byte) []byte {
			copy(data[offset:], b)
			return data
		}
	}
	tests := map[string]func([]byte) []byte{
		"empty":                func([]byte) []byte { return nil },
		"short":                func(d []byte) []byte { return d[:100] },
		"no extents":           func(d []byte) []byte { return d[:dataAt] },
		"an extent cut":        func(d []byte) []byte { return d[:dataAt+extentBytes-1] },
		"a byte less of fixed": func(d []byte) []byte { return d[:dataAt-1] },
		"zeros":                func(d []byte) []byte { return make([]byte, len(d)) },
		"another name":         at(0, 'x'),
		"another layout":       at(8, 'x'),
		"another byte order":   at(16, 'x'),
		"another boot":         at(24, 'x', 'y'),
		"sum of the preface":   at(prefaceSz-8, 0, 0, 0, 0),
		"owner of too many":    at(ownersAt, 0x40, 0x50, 0x11, 0xce),
		"owner's mark":         at(ownersAt, 1, 0, 0, 0),
		"another owner":        at(ownersAt, 1, 0x50, 0x11, 0xce),
		"owner beyond the end": at(ownersAt+4*4000, 1, 0x50, 0x11, 0xce),
		"header's data":        at(placesAt+placeLen+pageSize, 'x'),
		"header's length":      at(placesAt+placeLen+8, 0xff, 0xff, 0xff, 0xff, 0xff),
		"header's number":      at(placesAt+placeLen, 3),
		"header's place":       at(placesAt, 1),
		"a period":             at(dataAt+28, 6),
		"another key":          at(dataAt, 0xff, 0xff, 0xff, 0xff),
		"a key twice":          func(d []byte) []byte { copy(d[dataAt+64:], d[dataAt:dataAt+64]); return d },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			file := path(t)
			tab := open(t, file, Options{})
			k := keysIn(0, 1)[0]
			tab.Insert(k, window.Minute, never).Enter(uint32(noon), 5)
			if err := tab.SetHeader([]byte("header")); err != nil {
				t.Fatal(err)
			}
			closeTable(t, tab)
			rewrite(t, file, damage)
			tab = open(t, file, Options{})
			mustBeNew(t, tab)
			tab.Insert(k, window.Minute, never).Enter(uint32(noon), 6)
			closeTable(t, tab)
			if tab = open(t, file, Options{}); !tab.Recovered() || tab.Find(k, window.Minute).Word().Tokens() != 6 {
				t.Error("what was made anew did not last")
			}
		})
	}
}

// rewrite changes a file in place: it stays the same one.
func rewrite(t testing.TB, file string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustBeNew(t testing.TB, tab *Table) {
	t.Helper()
	if tab.Recovered() || tab.Len() != 0 || len(all(tab)) != 0 || tab.Header() != nil {
		t.Fatalf("recovered %v, %d cells, header %q", tab.Recovered(), tab.Len(), tab.Header())
	}
}

func TestOtherBootOrCopy(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{Boot: "monday"})
	tab.Insert(Key{1, 1}, window.Minute, never)
	closeTable(t, tab)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copied := path(t)
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	mustBeNew(t, open(t, copied, Options{Boot: "monday"}))
	mustBeNew(t, open(t, file, Options{Boot: "tuesday"}))
}

// TestPartOfAnExtent: a process killed while its file grows leaves a file that
// ends anywhere.
func TestPartOfAnExtent(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{})
	tab.Insert(Key{1, 1}, window.Minute, never)
	closeTable(t, tab)
	rewrite(t, file, func(d []byte) []byte { return append(d[:dataAt+extentBytes], make([]byte, 777)...) })
	if tab = open(t, file, Options{}); !tab.Recovered() || tab.Len() != 1 {
		t.Errorf("recovered %v, %d cells", tab.Recovered(), tab.Len())
	}
	for _, k := range keysIn(3, 1000) {
		tab.Insert(k, window.Minute, never).Enter(uint32(noon), 1)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := Open(filepath.Join(dir, "none", "cells"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(os.DevNull, Options{}); err == nil {
		t.Error("a device was opened")
	}
}

// fullDisk is a file on a disk that has room for some extents only.
type fullDisk struct {
	*file
	room int
}

func (d *fullDisk) at(number int) (*extent, error) {
	if number >= d.room {
		return nil, syscall.ENOSPC
	}
	return d.file.at(number)
}

func TestFullDisk(t *testing.T) {
	tab := open(t, path(t), Options{})
	disk := &fullDisk{tab.pool.back.(*file), 2}
	tab.pool.back = disk
	keys := keysIn(9, 3*extentCells)
	for i, k := range keys {
		if c := tab.Insert(k, window.Minute, never); (c != nil) != (i < 2*extentCells) {
			t.Fatalf("key %d: %v", i, c)
		} else if c != nil {
			c.Enter(uint32(noon), 7)
		}
	}
	for _, k := range keys[:2*extentCells] {
		if c := tab.Find(k, window.Minute); c == nil || c.Word().Tokens() != 7 {
			t.Fatal("a full disk changed what was there")
		}
	}
	disk.room = 10
	for range pause + 1 {
		tab.Insert(keys[2*extentCells], window.Minute, never)
	}
	if tab.Len() != 2*extentCells+1 {
		t.Error("no room after the disk had some again")
	}
}

func TestConcurrentInFile(t *testing.T) { testConcurrent(t, open(t, path(t), Options{})) }

// TestSweptFile: memory given back is free after a restart, also in the middle.
func TestSweptFile(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{})
	old, young := keysIn(0, 2*extentCells), keysIn(1, extentCells)
	for _, k := range old {
		tab.Insert(k, window.Second, never).Enter(uint32(noon), 1)
	}
	for _, k := range young {
		tab.Insert(k, window.Hour, never).Enter(uint32(noon), 1)
	}
	for range 3 {
		tab.Sweep(0, overAt(noon+1))
		tab.Sweep(1, overAt(noon+1))
	}
	closeTable(t, tab)
	tab = open(t, file, Options{})
	if !tab.Recovered() || tab.Len() != extentCells {
		t.Fatalf("recovered %v, %d cells", tab.Recovered(), tab.Len())
	}
	before := tab.Bytes()
	for _, k := range old {
		if tab.Find(k, window.Second) != nil {
			t.Fatal("a swept cell is there")
		}
		tab.Insert(k, window.Second, never).Enter(uint32(noon+1), 1)
	}
	if n := tab.Len(); n != 3*extentCells || tab.Bytes() <= before {
		t.Errorf("%d cells, %d bytes after %d", n, tab.Bytes(), before)
	}
	if info, err := os.Stat(file); err != nil || info.Size() > dataAt+3*int64(extentBytes) {
		t.Errorf("%v, %v: free extents were not used again", info, err)
	}
}

func TestHeaders(t *testing.T) {
	file := path(t)
	tab := open(t, file, Options{})
	rapid.Check(t, func(r *rapid.T) {
		want := tab.Header()
		for range rapid.IntRange(0, 3).Draw(r, "headers") {
			want = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "header")
			if len(want) == 300 {
				want = bytes.Repeat(want, MaxHeader/300)
			}
			if err := tab.SetHeader(want); err != nil {
				r.Fatal(err)
			}
		}
		closeTable(t, tab)
		var err error
		if tab, err = Open(file, Options{}); err != nil {
			r.Fatal(err)
		}
		if !tab.Recovered() || !bytes.Equal(tab.Header(), want) {
			r.Fatalf("recovered %v, header %q, want %q", tab.Recovered(), tab.Header(), want)
		}
	})
	closeTable(t, tab)
}
