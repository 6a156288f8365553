package main

import "testing"

func TestThrift(t *testing.T) {
	t.Parallel()
	const large, small, half = 80 << 20, smallHeap - 1, smallHeap / 2
	const usual, spared = usualPercent, sparedPercent
	type look struct {
		collections, live uint64 // since the look before
		percent           int
	}
	for name, looks := range map[string][]look{
		"a small heap is left alone":               {{1, small, usual}, {0, small, usual}, {0, small, usual}, {0, small, usual}, {0, small, usual}},
		"a large one that lies still is spared":    {{5, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}, {0, large, spared}},
		"a collection now and then begins again":   {{0, large, usual}, {0, large, usual}, {0, large, usual}, {1, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}},
		"some collections are the price of it":     {{0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}, {2, large, spared}, {1, large, spared}},
		"many are too many":                        {{0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}, {3, large, usual}, {0, large, usual}},
		"each costs more if more is in use":        {{0, 10 * large, usual}, {0, 10 * large, usual}, {0, 10 * large, usual}, {0, 10 * large, spared}, {1, 10 * large, usual}},
		"a small one with much garbage gets room":  {{14, half, usual}, {15, half, 200}, {3, half, 200}, {0, half, 200}, {0, half, 200}, {0, half, 200}, {0, half, usual}},
		"the more the smaller it is":               {{99, half / 2, 400}, {30, half, 200}, {99, half / 4, 800}, {99, 0, 3200}},
		"what has become large loses it":           {{15, half, 200}, {15, large, usual}},
		"what is spared and becomes small gets it": {{0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}, {20, half, 200}},
		"what has become small is not spared":      {{0, large, usual}, {0, large, usual}, {0, large, usual}, {0, large, spared}, {1, small, usual}},
	} {
		thrift := thrift{percent: usualPercent}
		var cycles uint64
		for i, l := range looks {
			cycles += l.collections
			if thrift.look(cycles, l.live); thrift.percent != l.percent {
				t.Errorf("%s: look %d (%d collections, %d MB in use): %d %%", name, i+1, l.collections, l.live>>20, thrift.percent)
			}
		}
	}
}

// TestThriftBetweenLooks: a heap with room that grows has no more garbage for that.
func TestThriftBetweenLooks(t *testing.T) {
	t.Parallel()
	roomy := thrift{percent: usualPercent}
	roomy.look(manyCollections, 4<<20)
	for _, l := range []struct {
		live    uint64
		percent int
	}{{3 << 20, 800}, {4<<20 + 1, 750}, {8 << 20, 400}, {5 << 20, 400}, {31 << 20, usualPercent}, {512 << 20, usualPercent}, {8 << 20, usualPercent}} {
		if roomy.lookBetween(l.live); roomy.percent != l.percent {
			t.Errorf("with %d MB in use: %d %%, not %d", l.live>>20, roomy.percent, l.percent)
		}
	}
	spared := thrift{percent: sparedPercent}
	if spared.lookBetween(1 << 20); spared.percent != sparedPercent {
		t.Errorf("a spared heap: %d %%", spared.percent)
	}
}
