package cells

const (
	// looks is at how many cells Insert looks for one that is over before it
	// takes more memory. With one cell in looks over, a table hardly grows.
	looks = 8
	// search is at how many it looks if there is no more memory, and a whole
	// round was in vain before.
	search = 256
)

// room returns the number of a cell that a key may have. The hand goes around
// the shard's cells; more memory is taken where it meets live ones only. Without
// more memory it goes all the way round, but once that was in vain, only a
// little further at each call: a flood of keys shall not hold the lock long.
func (t *Table) room(s *shard, shard int, over func(*Cell) bool) (number uint32, ok bool) {
	total := len(s.owned) * extentCells
	if number, ok = t.look(s, min(looks, total), over); ok {
		return number, true
	}
	if e, ok := t.grow(shard); ok {
		s.owned = append(s.owned, e)
		s.hand = total + 1
		s.barren = false
		return e * extentCells, true
	}
	if s.barren {
		total = min(search, total)
	}
	number, ok = t.look(s, total, over)
	s.barren = !ok
	return number, ok
}

// look moves the hand over n cells at most.
func (t *Table) look(s *shard, n int, over func(*Cell) bool) (number uint32, ok bool) {
	for range n {
		if s.hand >= len(s.owned)*extentCells {
			s.hand = 0
		}
		number = s.owned[s.hand/extentCells]*extentCells + uint32(s.hand%extentCells)
		s.hand++
		if c := t.cell(number); c.Key() == (Key{}) || over(c) {
			return number, true
		}
	}
	return 0, false
}

// grow gives the shard an extent, all of whose cells are free.
func (t *Table) grow(shard int) (number uint32, ok bool) {
	number, x := t.pool.take(shard, t.trace)
	if x == nil {
		return 0, false
	}
	t.extents[number].Store(x)
	return number, true
}

// Sweep looks at the next 256 cells of a shard, and gives their memory back if
// all of them are free or over. It says how many bytes that were. Called now and
// then for every shard it lets a table shrink after a flood. Under the lock of
// the shard; some microseconds.
func (t *Table) Sweep(shard int, over func(*Cell) bool) (freed int) {
	s := &t.shards[shard]
	if len(s.owned) == 0 {
		return 0
	}
	if s.swept >= len(s.owned) {
		s.swept = 0
	}
	number := s.owned[s.swept]
	x := t.extents[number].Load()
	for i := range x {
		if c := &x[i]; c.Key() != (Key{}) && !over(c) {
			s.swept++
			return 0
		}
	}
	for i := range x {
		if c := &x[i]; c.Key() != (Key{}) {
			t.unlink(s, number*extentCells+uint32(i), c)
			c.own(Key{}, 0, t.trace)
		}
	}
	last := len(s.owned) - 1
	s.owned[s.swept] = s.owned[last]
	s.owned = s.owned[:last]
	if slots := len(s.index.Load().slots); slots > minSlots && 8*s.cells < slots {
		t.reindex(s)
	}
	t.pool.give(number, &t.extents[number], t.trace)
	return extentBytes
}
