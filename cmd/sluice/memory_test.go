package main

import "testing"

func TestThrift(t *testing.T) {
	t.Parallel()
	const large, small = 80 << 20, smallHeap - 1
	type look struct {
		collections, live uint64 // since the look before
		spares            bool
	}
	for name, looks := range map[string][]look{
		"a small heap is left alone":             {{1, small, false}, {0, small, false}, {0, small, false}, {0, small, false}, {0, small, false}},
		"a large one that lies still is spared":  {{5, large, false}, {0, large, false}, {0, large, false}, {0, large, false}, {0, large, true}, {0, large, true}},
		"a collection now and then begins again": {{0, large, false}, {0, large, false}, {0, large, false}, {1, large, false}, {0, large, false}, {0, large, false}, {0, large, false}, {0, large, true}},
		"some collections are the price of it":   {{0, large, false}, {0, large, false}, {0, large, false}, {0, large, true}, {2, large, true}, {1, large, true}},
		"many are too many":                      {{0, large, false}, {0, large, false}, {0, large, false}, {0, large, true}, {3, large, false}, {0, large, false}},
		"each costs more if more is in use":      {{0, 10 * large, false}, {0, 10 * large, false}, {0, 10 * large, false}, {0, 10 * large, true}, {1, 10 * large, false}},
		"what has become small is not spared":    {{0, large, false}, {0, large, false}, {0, large, false}, {0, large, true}, {1, small, false}},
	} {
		var thrift thrift
		var cycles uint64
		for i, l := range looks {
			cycles += l.collections
			if thrift.look(cycles, l.live); thrift.spares != l.spares {
				t.Errorf("%s: look %d (%d collections, %d MB in use): spares %t", name, i+1, l.collections, l.live>>20, thrift.spares)
			}
		}
	}
}
