package cells

import "github.com/sluicegate/sluice/limiter/window"

// keyOf is as good as random, and the same every time.
func keyOf(i uint64) Key {
	mix := func(x uint64) uint64 { // splitmix64's
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	return Key{mix(2*i + 1), mix(2*i + 2)}
}

// keysIn returns n keys of a shard.
func keysIn(shard, n int) []Key {
	var keys []Key
	for i := uint64(0); len(keys) < n; i++ {
		if k := keyOf(i); Shard(k) == shard {
			keys = append(keys, k)
		}
	}
	return keys
}

// overAt says which cells may be taken over at a time in unix seconds.
func overAt(now int64) func(*Cell) bool {
	return func(c *Cell) bool {
		start := int64(c.Start.Load())
		if start == 0 {
			return true
		}
		end := c.Period().At(start*1_000_000).Until / 1_000_000
		return end <= now
	}
}

func never(*Cell) bool { return false }

// all returns what Each gives, of all shards.
func all(t *Table) map[id]*Cell {
	m := map[id]*Cell{}
	for s := range Shards {
		t.Each(s, func(k Key, p window.Period, c *Cell) bool {
			m[id{k, p}] = c
			return true
		})
	}
	return m
}

type id struct {
	key    Key
	period window.Period
}
