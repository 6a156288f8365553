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
	// smallHeap is a heap that is not worth it.
	smallHeap = 32 << 20
)

// percent is Go's GOGC: how much garbage may wait to be collected, in percent of
// what is in use.
const (
	usualPercent  = 100
	sparedPercent = 5
)

// spareMemory starts to fit the collection of garbage to what the node does. A
// configuration may be large, and it lies still: with GOGC=100 a node keeps as much
// again for garbage that it does not make, and for minutes what an import left
// behind. So while no collection is needed, the rest goes back to the system and
// little garbage may wait; while many are needed, all is as Go does it by itself.
// Who set GOGC or GOMEMLIMIT has decided otherwise.
func (g *gateway) spareMemory(context.Context) error {
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
	tick := time.NewTicker(lookAtMemory)
	defer tick.Stop()
	var thrift thrift
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		was := thrift.spares
		switch thrift.look(collections()); {
		case thrift.spares && !was:
			debug.SetGCPercent(sparedPercent)
			runtime.GC() // what pools hold is garbage from the second one on
			debug.FreeOSMemory()
			thrift.cycles, _ = collections() // its own is none that was needed
		case was && !thrift.spares:
			debug.SetGCPercent(usualPercent)
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

// thrift decides whether memory is spared.
type thrift struct {
	spares bool
	calm   int
	cycles uint64 // at the last look
}

// look judges anew by what collections gives.
func (t *thrift) look(cycles, live uint64) {
	since := cycles - t.cycles
	t.cycles = cycles
	switch {
	case since*live > busyMarking, live < smallHeap:
		t.spares, t.calm = false, 0
	case t.spares:
	case since > 0:
		t.calm = 0
	default:
		t.calm++
		t.spares = t.calm >= calmLooks
	}
}
