package proxy

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// What an exchange may be waiting for, each with a time of its own.
const (
	waitClientRead  = iota // the rest of the request's body
	waitClientWrite        // room for more of the answer
	waitLinkWrite          // room for more of the request
	waitLinkRead           // the answer, or more of it
	waitContinue           // the service's 100
	waitKinds
)

// wait begins to wait for something, if it has not begun yet.
func (x *h1) wait(kind int, timeout time.Duration) {
	if x.waits[kind] == 0 {
		x.waits[kind] = x.c.task.Now().Add(timeout)
	}
}

// arrived ends a wait.
func (x *h1) arrived(kind int) { x.waits[kind] = 0 }

// overdue says whether a wait has lasted too long.
func (x *h1) overdue(kind int) bool {
	at := x.waits[kind]
	return at != 0 && at <= x.c.task.Now()
}

// setDeadline makes the nearest end of a wait the task's deadline.
func (x *h1) setDeadline() {
	var first evloop.Time
	for _, at := range x.waits {
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	x.c.task.SetDeadline(first)
}

// expire deals with a wait that has lasted too long. False means that none has.
func (x *h1) expire() bool {
	now := x.c.task.Now()
	for kind, at := range x.waits {
		if at == 0 || at > now {
			continue
		}
		x.waits[kind] = 0
		switch t := &x.outgoing.Timeouts; kind {
		case waitContinue:
			x.up.started = true
			continue
		case waitClientRead:
			x.fail(x.body.timedOut())
		case waitClientWrite:
			x.fail(fmt.Errorf("%w: nothing written for %v", errLeft, x.proxy.cfg.SendTimeout))
		case waitLinkWrite:
			x.fail(fmt.Errorf("%w: nothing written for %v", upstream.ErrTimeout, t.Write))
		case waitLinkRead:
			x.fail(fmt.Errorf("%w: nothing read for %v", upstream.ErrTimeout, t.Read))
		}
		return true
	}
	return false
}
