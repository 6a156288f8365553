package cells

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
	"pgregory.net/rapid"
)

const boot = "a boot"

// adopt has the preface of a file say that it is that file, and not a copy of
// another: what a process left that was killed when the copy was made.
func adopt(t fataler, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data := make(memory, prefaceSz)
	if _, err := f.ReadAt(data, 0); errors.Is(err, io.EOF) {
		return // it has no preface
	} else if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	name := data.preface().Name
	*data.preface() = newPreface(boot, uint64(stat.Dev), stat.Ino)
	data.preface().Name = name
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

// killed is what is left of a table's file after each store.
type killed struct {
	t    fataler
	file string
	left []string
}

func (k *killed) store() {
	from, err := os.Open(k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	defer from.Close()
	name := fmt.Sprintf("%s.%d", k.file, len(k.left))
	to, err := os.Create(name)
	if err != nil {
		k.t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		k.t.Fatal(err)
	}
	k.left = append(k.left, name)
	adopt(k.t, name)
}

// shortLived is path for files that are made thousands of times: in memory, if
// the machine has such a place.
func shortLived(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cells")
	if err != nil {
		return path(t)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "cells")
}

// fataler is a test, rapid's or not.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// TestKilledAtAnyStore does one change after the other, looks at the file after
// each store of it, and opens what a process killed there would have left.
func TestKilledAtAnyStore(t *testing.T) {
	name := shortLived(t)
	keys := append(keysIn(0, 6), keysIn(7, 3)...)
	rapid.Check(t, func(t *rapid.T) {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		tab, err := Open(name, Options{Boot: boot, Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer tab.Close()
		c := crash{t: t, table: tab, keys: keys, now: noon, given: map[id]map[int64]int64{}}
		stores := &killed{t: t, file: name}
		tab.trace = stores.store
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			before := all(tab)
			words := map[id]Word{}
			for i, cell := range before {
				words[i] = cell.Word()
			}
			header := tab.Header()
			stores.left = nil
			touched := c.step()
			for _, file := range stores.left {
				c.open(file, words, touched, header)
			}
		}
	})
}

type crash struct {
	t      *rapid.T
	table  *Table
	keys   []Key
	now    int64
	given  map[id]map[int64]int64 // tokens, by window
	header []byte                 // that is being written
}

// step changes the table, and says which cell it was about.
func (c *crash) step() (touched id) {
	touched = id{rapid.SampledFrom(c.keys).Draw(c.t, "key"), window.Period(rapid.IntRange(0, 1).Draw(c.t, "period"))}
	switch rapid.IntRange(0, 7).Draw(c.t, "op") {
	case 0:
		c.now += rapid.Int64Range(1, 70).Draw(c.t, "seconds")
	case 1:
		c.header = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(c.t, "header")
		if err := c.table.SetHeader(c.header); err != nil {
			c.t.Fatal(err)
		}
	case 2:
		c.table.Sweep(Shard(touched.key), overAt(c.now))
	default:
		c.enter(touched)
	}
	return touched
}

func (c *crash) enter(i id) {
	start := i.period.At(c.now * 1_000_000).Start
	if c.given[i] == nil {
		c.given[i] = map[int64]int64{}
	}
	cell := c.table.Insert(i.key, i.period, overAt(c.now))
	if _, ok := c.given[i][start]; ok { // once a window
		cell.TakeFor(i.key, i.period, uint32(start))
		return
	}
	n := rapid.Int64Range(1, 5).Draw(c.t, "tokens")
	c.given[i][start] = n
	cell.enter(uint32(start), n, c.table.trace)
}

// open checks the table of a process that was killed.
func (c *crash) open(file string, before map[id]Word, touched id, header []byte) {
	tab, err := Open(file, Options{Boot: boot, Capacity: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	defer tab.Close()
	if !tab.Recovered() {
		c.t.Fatal("what a killed process leaves is in doubt")
	}
	if h := tab.Header(); !bytes.Equal(h, header) && !bytes.Equal(h, c.header) {
		c.t.Fatalf("header %q, neither %q nor %q", h, header, c.header)
	}
	there := all(tab)
	for i, w := range before {
		cell := there[i]
		if i != touched && c.current(i, w) && (cell == nil || cell.Word() != w) {
			c.t.Fatalf("%v is lost or has other tokens", i)
		}
	}
	for i, cell := range there {
		if w := cell.Word(); w.entered() && w.Tokens() > c.given[i][int64(cell.Start.Load())] {
			c.t.Fatalf("%v has %d tokens that nobody gave it", i, w.Tokens())
		}
		if over := overAt(c.now)(cell); over && cell.Word().In(c.start(i)) {
			c.t.Fatalf("%v seems over while it has tokens", i)
		}
	}
}

func (c *crash) start(i id) uint32 {
	start := i.period.At(c.now * 1_000_000).Start
	return uint32(start)
}

// current says whether a word is of the window that i is in now.
func (c *crash) current(i id, w Word) bool { return w.In(c.start(i)) }

// TestKilledWhileMade: a file that is not ready is void.
func TestKilledWhileMade(t *testing.T) {
	name := shortLived(t)
	tab := open(t, name, Options{Boot: boot, Capacity: 1})
	tab.Insert(Key{1, 1}, window.Minute, never).Enter(uint32(noon), 5)
	stores := &killed{t: t, file: name}
	if err := tab.pool.back.(*file).reset(stores.store); err != nil || len(stores.left) < 2 {
		t.Fatal(err, len(stores.left))
	}
	for i, name := range stores.left {
		tab, err := Open(name, Options{Boot: boot, Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		if ready := i == len(stores.left)-1; tab.Recovered() != ready || tab.Len() != 0 {
			t.Errorf("store %d: recovered %v, %d cells", i, tab.Recovered(), tab.Len())
		}
		closeTable(t, tab)
	}
}
