package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// lookAtMemory is how often it is judged how much garbage may wait.
	lookAtMemory = 3 * time.Second
	// calmLooks is how many looks in a row have to find no collection at all
	// before memory is spared.
	calmLooks = 4
	// busyMarking is how many bytes may be marked between two looks before memory
	// is not spared any more: some 3 % of a core.
	busyMarking = 200 << 20
	// smallHeap is a heap that is not worth sparing.
	smallHeap = 32 << 20
	// manyCollections between two looks are worth some memory: five a second.
	manyCollections = 15
	// roomForGarbage is about what a small heap's garbage may take then: somewhat more,
	// as the runtime counts stacks as in use, too. lookAtRoom is how often it is seen to
	// that it takes no more while the heap grows.
	roomForGarbage = 32 << 20
	lookAtRoom     = 100 * time.Millisecond
)

// percent is Go's GOGC: how much garbage may wait to be collected, in percent of
// what is in use.
const (
	usualPercent  = 100
	sparedPercent = 5
)

// fitMemory starts to fit the collection of garbage to what the node does. A
// configuration may be large, and it lies still: with GOGC=100 a node keeps as much
// again for garbage that it does not make, and for minutes what an import left
// behind. So while no collection is needed, the rest goes back to the system and
// little garbage may wait; while many are needed, all is as Go does it by itself.
// The other way round, a small heap that makes much garbage (HTTP/2, gRPC) gets some
// room for it: with 30,000 requests of HTTP/2 a second that is 7 to 9 % of their time.
// Who set GOGC or GOMEMLIMIT has decided otherwise.
func (g *gateway) fitMemory(context.Context) error {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		watchMemory(ctx)
	}()
	g.onClose(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return nil
}

func watchMemory(ctx context.Context) {
	tick, between := time.NewTicker(lookAtMemory), time.NewTicker(lookAtRoom)
	between.Stop()
	defer tick.Stop()
	defer between.Stop()
	thrift := thrift{percent: usualPercent}
	for {
		was := thrift.percent
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			thrift.look(collections())
		case <-between.C:
			_, live := collections()
			thrift.lookBetween(live)
		}
		if thrift.percent == was {
			continue
		}
		debug.SetGCPercent(thrift.percent)
		switch {
		case thrift.percent == sparedPercent:
			between.Stop()
			runtime.GC() // what pools hold is garbage from the second one on
			debug.FreeOSMemory()
			thrift.cycles, _ = collections() // its own is none that was needed
		case thrift.percent == usualPercent:
			between.Stop()
		case was <= usualPercent:
			between.Reset(lookAtRoom)
		}
	}
}

// collections gives how many there have been since the process began, and how many
// bytes the last one left.
func collections() (cycles, live uint64) {
	seen := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(seen)
	return seen[0].Value.Uint64(), seen[1].Value.Uint64()
}

// thrift decides how much garbage may wait.
type thrift struct {
	percent int
	calm    int    // looks in a row without a collection
	cycles  uint64 // at the last look
}

// look judges anew by what collections gives.
func (t *thrift) look(cycles, live uint64) {
	since := cycles - t.cycles
	t.cycles = cycles
	if t.calm++; since > 0 {
		t.calm = 0
	}
	switch small := live < smallHeap; {
	case small && since >= manyCollections:
		t.percent = room(live)
	case small && t.percent > usualPercent && t.calm < calmLooks: // keeps its room
	case !small && t.calm >= calmLooks:
		t.percent = sparedPercent
	case !small && t.percent == sparedPercent && since*live <= busyMarking: // is spared yet
	default:
		t.percent = usualPercent
	}
}

// lookBetween takes room from a heap that has grown since.
func (t *thrift) lookBetween(live uint64) {
	if t.percent > usualPercent {
		t.percent = min(t.percent, room(live))
	}
}

// room is the percent by which a heap's garbage takes its room, or the usual one: in
// steps, because to set it stops the world.
func room(live uint64) int {
	const step = 50
	return max(usualPercent, int(usualPercent*roomForGarbage/max(live, 1<<20))/step*step)
}
