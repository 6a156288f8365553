package cells

import (
	"slices"

	"github.com/sluicegate/sluice/limiter/window"
)

// recover makes the table of what is in the memory of a valid file. It returns
// false if the cells are not what a process leaves behind, killed or not; the
// memory may have been changed by then.
func (t *Table) recover(m memory) bool {
	for i := range t.pool.back.extents() {
		owner := m.owner(i).Load()
		if owner == 0 {
			clear(m[dataAt+i*extentBytes:][:extentBytes]) // given back: nothing here counts
			t.pool.free = append(t.pool.free, uint32(i))
			continue
		}
		t.extents[i].Store(m.extent(i))
		if !t.recoverExtent(uint32(i), int(owner&^ownerMark)) {
			return false
		}
		t.pool.used++
	}
	slices.Reverse(t.pool.free)
	t.pool.next = t.pool.back.extents()
	t.recovered = true
	for i := range t.shards {
		if s := &t.shards[i]; s.cells > 0 {
			t.reindex(s)
		}
		t.recovered = t.recovered && t.unique(i)
	}
	return t.recovered
}

func (t *Table) recoverExtent(number uint32, shard int) bool {
	s := &t.shards[shard]
	s.owned = append(s.owned, number)
	x := t.extents[number].Load()
	for i := range x {
		c := &x[i]
		if c.Word() == busy {
			c.own(Key{}, 0, nil)
		}
		k := c.Key()
		if k == (Key{}) {
			continue
		}
		if Shard(k) != shard || !c.Period().Valid() {
			return false
		}
		s.cells++
		t.len.Add(1)
	}
	return true
}

// unique says whether no two cells of a shard are of the same key and period.
func (t *Table) unique(shard int) (ok bool) {
	ok = true
	t.Each(shard, func(k Key, p window.Period, c *Cell) bool {
		ok = t.Find(k, p) == c
		return ok
	})
	return ok
}
