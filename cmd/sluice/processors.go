package main

import (
	"runtime"
	"time"
)

// loopHold is how long an event loop of the proxy keeps its processor at least
// after an event: longer than most pauses between requests where it makes a
// difference, and less than the 10 ms after which the runtime interrupts it.
const loopHold = 8 * time.Millisecond

// shareProcessors gives the proxy as many event loops as the process may use
// cores, and raises GOMAXPROCS by as many again: a loop that waits in the kernel
// keeps its processor (in the runtime's sense), and the rest of the node (raft,
// the Admin API, the garbage collector) must not wait for it. Which thread then
// runs on a core is the kernel's to decide, and it is fair, so that a flood of
// requests does not starve the cluster's heartbeat.
func shareProcessors() (loops int, hold time.Duration) {
	loops = runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(2 * loops)
	return loops, loopHold
}
