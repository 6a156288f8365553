package machine

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Apart is how long a change of memory by core a takes to be seen by core b and an
// answer to be seen by a, halved: the least of some hundreds of exchanges. Cores that
// share a cache are some 40 ns apart, others several times as much; a host may move a
// virtual machine's cores from one to the other. Both cores are busy for about a
// millisecond. 0: one of them cannot be had.
func Apart(a, b int) time.Duration {
	const rounds, exchanges = 8, 400
	var ball atomic.Int64
	pinned := make(chan error, 2)
	play := make(chan bool, 2)
	best := make(chan time.Duration, 2)
	player := func(core int, mine int64) {
		runtime.LockOSThread() // never unlocked: its affinity is not for others
		pinned <- pin([]int{core})
		if !<-play {
			return
		}
		least := time.Duration(1 << 62)
		begin := time.Now()
		for n := range int64(rounds * exchanges) {
			for spins := 1; ball.Load() != 2*n+mine; spins++ {
				if spins%(1<<16) == 0 && time.Since(begin) > time.Second {
					best <- 0 // the other one is gone, or never runs
					return
				}
			}
			ball.Add(1)
			if n%exchanges == exchanges-1 {
				least = min(least, time.Since(begin)/(2*exchanges))
				begin = time.Now()
			}
		}
		best <- least
	}
	go player(a, 0)
	go player(b, 1)
	first, second := <-pinned, <-pinned
	both := first == nil && second == nil
	play <- both
	play <- both
	if !both {
		return 0
	}
	return min(<-best, <-best)
}
