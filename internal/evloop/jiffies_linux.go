package evloop

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// jiffies keeps the kernel from setting its clock anew at each wait of a loop.
//
// A kernel without a tick on idle processors (NO_HZ_IDLE, which all distributions
// have) moves the tick away when a processor has nothing to do, and back when it has:
// unless some timer is due before, the hardware's timer is set each time. On a virtual
// machine that is an exit to the host, some 5.5 us, and the way back is charged to the
// thread that wakes up: at 4,000 requests a second a tenth of all that a request
// costs. So while a loop waits often, there is always an alarm at the instant
// of the next tick, which the hardware's timer can stay at. The kernel has one interrupt
// more for each tick in which it would have been idle throughout.
//
// The alarms are nobody's to hear. They belong to the loop's leader.
type jiffies struct {
	period Time // between two ticks; 0: is not known, and nothing is done
	ahead  Time // how far the system's clock is ahead of the group's
	end    Time // of this period, on the group's clock
	waits  int  // in it
	alarms [2]int
	turn   int // of the alarms
}

const (
	// worthAlarm is how many waits in a period an alarm is worth: it costs a system
	// call of half a microsecond, and the interrupt.
	worthAlarm = 4

	clockMonotonic, clockMonotonicCoarse = 1, 6
)

// open makes the alarms, which the loop closes.
func (j *jiffies) open(g *Group) error {
	j.alarms = [2]int{-1, -1}
	for i := range j.alarms {
		var err error
		if j.alarms[i], err = newAlarm(); err != nil {
			return err
		}
	}
	// The coarse clock goes with the tick.
	period, now := clock(syscall.SYS_CLOCK_GETRES, clockMonotonicCoarse), clock(syscall.SYS_CLOCK_GETTIME, clockMonotonic)
	if time.Duration(period) >= 500*time.Microsecond && time.Duration(period) <= 20*time.Millisecond {
		j.period, j.ahead = period, now-g.Now()
	}
	return nil
}

// beforeWait is told of each wait, and roughly when that is.
func (j *jiffies) beforeWait(now Time) {
	if j.waits++; now < j.end || j.period == 0 {
		return
	}
	if at := j.nextPeriod(now); at != 0 {
		setAlarm(j.alarms[j.turn], at, absolute)
		j.turn = 1 - j.turn
	}
}

// nextPeriod begins a period. It gives when an alarm is to go off, on the system's
// clock: not at the end of this period, for which the last one was set, but at that of
// the next; 0 is none.
func (j *jiffies) nextPeriod(now Time) (at Time) {
	// Ticks are at multiples of the period, on the system's clock.
	end := (now+j.ahead)/j.period*j.period + j.period
	if j.waits >= worthAlarm {
		at = end + j.period
	}
	j.end, j.waits = end-j.ahead, 0
	return at
}

// newAlarm makes a timer with a descriptor.
func newAlarm() (int, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, fmt.Errorf("timerfd: %w", errno)
	}
	return int(fd), nil
}

// When an alarm goes off.
const (
	relative = 0 // from now on
	absolute = 1 // on the system's clock
)

// setAlarm has an alarm go off once, and not at the time that was set before.
func setAlarm(fd int, at Time, from uintptr) bool {
	once := struct{ interval, value syscall.Timespec }{value: syscall.NsecToTimespec(int64(at))}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(fd), from, uintptr(unsafe.Pointer(&once)), 0, 0, 0)
	return errno == 0
}

// clock asks for a time of one of the system's clocks; 0 if it is not to be had.
func clock(call, which uintptr) Time {
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(call, which, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return Time(t.Nano())
}
