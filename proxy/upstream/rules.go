package upstream

import (
	"fmt"
	"time"
)

// The rules that are the same whoever speaks HTTP/1.1 to a service: the client
// of this package, or the engine on a Link.

const (
	// maxInterim is how many 1xx answers may come before the final one.
	maxInterim = 8
	// continueTimeout is how long a service's 100 is awaited at most before the
	// body is sent without it.
	continueTimeout = time.Second
)

// Progress is how far a request has come on a connection that failed.
type Progress struct {
	// Kept says that the connection has carried a request before.
	Kept bool
	// Sent says that a byte of the request has left, BodyRead that the streamed
	// body may have been read from.
	Sent, BodyRead bool
	// Answered says that a byte of an answer has come, be it an interim one.
	Answered bool
}

// Repeatable says whether the request may be sent again although the service may
// have begun to work on it.
func (q *Request) Repeatable() bool { return q.Body == nil && Idempotent(q.Method) }

// Again says whether a request is sent once more, on a new connection, after one
// has failed: a kept one may have been closed by the service in the meantime,
// which is no fault of the request.
func (q *Request) Again(p Progress) bool {
	return p.Kept && !p.Answered && !p.BodyRead && (!p.Sent || q.Repeatable())
}

// ContinueWait is how long the service's 100 is awaited before the body is sent
// without it.
func (q *Request) ContinueWait() time.Duration { return min(continueTimeout, q.Read) }

// HeadKind is what the head of an answer means for the exchange.
type HeadKind uint8

// The kinds of heads.
const (
	FinalHead    HeadKind = iota
	SwitchHead            // a 101 that was asked for: final, too
	ContinueHead          // the service wants the body
	InterimHead           // for the client; another head follows
)

var (
	errUnaskedSwitch = fmt.Errorf("%w: it switches protocols unasked", ErrInvalid)
	errManyInterims  = fmt.Errorf("%w: more than %d interim answers", ErrInvalid, maxInterim)
)

// Head says what an answer's head is, after some interim ones. upgrade is its
// field of that name, which matters for a 101 only. An error wraps ErrInvalid.
func (q *Request) Head(status, interims int, upgrade string) (HeadKind, error) {
	switch {
	case status >= 200:
		return FinalHead, nil
	case status == 101 && q.Upgrade != "" && Agreed(q.Upgrade, upgrade):
		return SwitchHead, nil
	case status == 101:
		return 0, errUnaskedSwitch
	case interims >= maxInterim:
		return 0, errManyInterims
	case status == 100:
		return ContinueHead, nil
	}
	return InterimHead, nil
}
