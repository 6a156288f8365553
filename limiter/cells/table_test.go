package cells

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
	"pgregory.net/rapid"
)

const noon = int64(1781524800) // 2026-06-15 12:00:00 UTC

// TestTableAgainstModel plays random keys, periods and times on one shard of two
// extents, and on a map that says what every open window has left.
func TestTableAgainstModel(t *testing.T) {
	keys := keysIn(5, 900)
	rapid.Check(t, func(t *rapid.T) {
		tab := InMemory(1)
		tab.pool.limit = rapid.IntRange(1, 3).Draw(t, "extents")
		m := model{t: t, table: tab, now: noon, open: map[id]entry{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				m.now += rapid.SampledFrom([]int64{0, 1, 1, 30, 60, 4000}).Draw(t, "seconds")
			case 1:
				first := rapid.IntRange(0, len(keys)-1).Draw(t, "first")
				n := rapid.SampledFrom([]int{1, 10, 300}).Draw(t, "keys")
				for _, k := range keys[first:min(first+n, len(keys))] {
					m.enter(id{k, window.Period(rapid.IntRange(0, 2).Draw(t, "period"))}, 2)
				}
			case 2:
				for i := range keys {
					m.take(id{keys[i], window.Period(i % 3)})
				}
			case 3:
				m.sweep()
			default:
				i := id{keys[rapid.IntRange(0, len(keys)-1).Draw(t, "key")], window.Minute}
				m.enter(i, 3)
				m.take(i)
			}
			m.check()
		}
	})
}

type entry struct {
	start, end, left int64
	cell             *Cell
}

type model struct {
	t     *rapid.T
	table *Table
	now   int64
	open  map[id]entry // windows that are not over are all here
}

func (m *model) live(i id) (entry, bool) {
	e, ok := m.open[i]
	return e, ok && e.end > m.now
}

func (m *model) enter(i id, tokens int64) {
	if _, ok := m.live(i); ok {
		if m.table.Insert(i.key, i.period, overAt(m.now)) != m.open[i].cell {
			m.t.Fatalf("%v moved within its window", i)
		}
		return
	}
	c := m.table.Insert(i.key, i.period, overAt(m.now))
	for range 3 * extentCells / search { // no more than a round at each call
		if c == nil {
			c = m.table.Insert(i.key, i.period, overAt(m.now))
		}
	}
	if c == nil {
		m.mustBeFull()
		return
	}
	if c.Start.Load() == 0 && (c.Credited.Load() != 0 || c.Max.Load() != 0 || c.Flags.Load() != uint32(i.period)) {
		m.t.Fatalf("%v has what another key left", i)
	}
	w := i.period.At(m.now * 1_000_000)
	start, end := w.Start, w.Until/1_000_000
	c.Enter(uint32(start), tokens)
	c.Credited.Store(tokens)
	c.Max.Store(tokens)
	c.Flags.Or(1 << FlagsAt)
	m.open[i] = entry{start, end, tokens, c}
}

func (m *model) mustBeFull() {
	live := 0
	for i := range m.open {
		if _, ok := m.live(i); ok {
			live++
		}
	}
	if live < m.table.pool.limit*extentCells {
		m.t.Fatalf("no room with %d of %d cells live", live, m.table.pool.limit*extentCells)
	}
}

func (m *model) take(i id) {
	c := m.table.Find(i.key, i.period)
	e, ok := m.live(i)
	if c == nil {
		if ok {
			m.t.Fatalf("%v is not found in its window", i)
		}
		return
	}
	start := i.period.At(m.now * 1_000_000).Start
	left, took := c.TakeFor(i.key, i.period, uint32(start))
	if want := ok && e.left > 0; took != want {
		m.t.Fatalf("%v: took %v, want %v", i, took, want)
	}
	if took {
		e.left--
		m.open[i] = e
		if left != e.left {
			m.t.Fatalf("%v: %d left, want %d", i, left, e.left)
		}
	}
}

func (m *model) sweep() {
	before := m.table.Bytes()
	for range 4 {
		freed := m.table.Sweep(5, overAt(m.now))
		if now := m.table.Bytes(); freed > 0 && now > before-freed {
			m.t.Fatalf("swept %d bytes, but %d are %d", freed, before, now)
		}
		before = m.table.Bytes()
	}
}

func (m *model) check() {
	there := all(m.table)
	if len(there) != m.table.Len() {
		m.t.Fatalf("Len %d, but there are %d", m.table.Len(), len(there))
	}
	for i := range m.open {
		if e, ok := m.live(i); ok && (there[i] != e.cell || there[i].Word() != MakeWord(uint32(e.start), e.left)) {
			m.t.Fatalf("%v is lost, or has other tokens", i)
		}
	}
	for i, c := range there {
		if m.table.Find(i.key, i.period) != c {
			m.t.Fatalf("%v is there but not found", i)
		}
	}
}

func TestFull(t *testing.T) {
	tab := InMemory(1)
	tab.pool.limit = 4
	keys := keysIn(0, 4*extentCells+1)
	for _, k := range keys[:4*extentCells] {
		tab.Insert(k, window.Minute, never).Enter(uint32(noon), 1)
	}
	for range 3 { // also after a round in vain
		if c := tab.Insert(keys[4*extentCells], window.Minute, overAt(noon)); c != nil {
			t.Fatal("a cell of an open window was given away")
		}
	}
	for _, k := range keys[:4*extentCells] {
		if left, ok := tab.Find(k, window.Minute).TakeFor(k, window.Minute, uint32(noon)); !ok || left != 0 {
			t.Fatalf("%v has lost its token", k)
		}
	}
	if c := tab.Insert(keys[4*extentCells], window.Minute, overAt(noon+60)); c == nil {
		t.Error("no cell although all are over")
	}
	if n := tab.Len(); n != 4*extentCells {
		t.Errorf("Len %d", n)
	}
}

// TestCapacity: there is room for so many keys, however they fall into shards.
func TestCapacity(t *testing.T) {
	const capacity = 5000
	for name, key := range map[string]func(int) Key{
		"even":     func(i int) Key { return keyOf(uint64(i)) },
		"low half": func(i int) Key { return Key{Lo: uint64(i + 1)} },
		"high":     func(i int) Key { return Key{Hi: uint64(i+1) << 20} },
	} {
		t.Run(name, func(t *testing.T) {
			tab := InMemory(capacity)
			for i := range capacity {
				if tab.Insert(key(i), window.Day, never) == nil {
					t.Fatalf("no room for key %d", i)
				}
			}
			if n := len(all(tab)); n != capacity {
				t.Errorf("%d keys", n)
			}
		})
	}
}

func TestNoKey(t *testing.T) {
	tab := InMemory(10)
	if tab.Insert(Key{}, window.Second, never) != nil || tab.Find(Key{}, window.Second) != nil {
		t.Error("the zero key has a cell")
	}
	if tab.Insert(Key{1, 1}, window.Periods, never) != nil {
		t.Error("no period has a cell")
	}
}

// TestMemory: what is not used costs next to nothing, what is used at most 100
// bytes a key, and after a flood it comes back.
func TestMemory(t *testing.T) {
	tab := InMemory(DefaultCapacity)
	if n := tab.Bytes(); n > 200<<10 {
		t.Errorf("an empty table has %d bytes", n)
	}
	const keys = 1 << 16
	for i := range uint64(keys) {
		tab.Insert(keyOf(i), window.Second, never).Enter(uint32(noon), 1)
	}
	if n := tab.Bytes(); n > 100*keys {
		t.Errorf("%d bytes a key", n/keys)
	}
	for s := range Shards {
		for tab.Sweep(s, overAt(noon+1)) > 0 {
		}
	}
	if n := tab.Bytes(); n > 200<<10 || tab.Len() != 0 {
		t.Errorf("%d bytes when all is over, %d keys", n, tab.Len())
	}
}

// TestReuse: keys that come and go need no more memory than those of a moment.
func TestReuse(t *testing.T) {
	tab := InMemory(DefaultCapacity)
	const keys, seconds = 10_000, 8
	for s := range int64(seconds) {
		for i := range uint64(keys) {
			tab.Insert(keyOf(uint64(s)*keys+i), window.Second, overAt(noon+s)).Enter(uint32(noon+s), 1)
		}
	}
	if n := tab.Bytes(); n > 150*keys {
		t.Errorf("%d bytes for %d keys at a time", n, keys)
	}
}

func TestHeaderInMemory(t *testing.T) {
	tab := InMemory(10)
	if tab.Header() != nil || tab.Recovered() {
		t.Error("a new table is not empty")
	}
	b := []byte("n1")
	if err := tab.SetHeader(b); err != nil {
		t.Fatal(err)
	}
	b[0] = 'x'
	if h := tab.Header(); !bytes.Equal(h, []byte("n1")) {
		t.Errorf("%q", h)
	}
	if err := tab.SetHeader(make([]byte, MaxHeader+1)); !errors.Is(err, ErrHeaderSize) {
		t.Error(err)
	}
	if err := tab.Close(); err != nil {
		t.Error(err)
	}
	if tab.SetHeader(b) == nil || tab.Insert(Key{1, 1}, window.Second, never) != nil {
		t.Error("a closed table is in use")
	}
}

// TestEachSome: a round in pieces meets every cell that stays, whatever is swept
// meanwhile.
func TestEachSome(t *testing.T) {
	tab := InMemory(20 * extentCells)
	keys := keysIn(3, 10*extentCells)
	for i, k := range keys {
		c := tab.Insert(k, window.Second, never)
		c.Enter(uint32(noon)+uint32(i/extentCells%2), 1) // every second extent is over at noon + 1
	}
	if tab.EachSome(5, -1, func(*Cell) { t.Error("a cell in an empty shard") }) != 0 {
		t.Error("an empty shard has another piece")
	}
	met, pieces := map[Key]bool{}, 0
	for piece := -1; piece != 0; pieces++ {
		n := 0
		piece = tab.EachSome(3, piece, func(c *Cell) { met[c.Key()] = true; n++ })
		if n > extentCells {
			t.Errorf("a piece of %d cells", n)
		}
		tab.Sweep(3, overAt(noon+1))
		tab.Sweep(3, overAt(noon+1))
	}
	for i, k := range keys {
		if i/extentCells%2 == 1 && !met[k] {
			t.Fatalf("the cell of key %d was not met", i)
		}
	}
	if pieces > 12 {
		t.Errorf("%d pieces", pieces)
	}
}
