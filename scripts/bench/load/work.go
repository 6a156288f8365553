// Package load is the load of the benchmark: a generator of requests and the
// service that they ask, each one thread around epoll(7), so that they cost
// less than the proxy between them. Both check what they get byte by byte.
// Nothing in it is safe for concurrent use. They run on Linux only.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// The service answers by the last part of the path.
const (
	SmallName = "small" // GET: 200 and SmallBody
	LargeName = "large" // GET: 200 and LargeBody
	EchoName  = "echo"  // POST of EchoBody: 200 and EchoAnswer
)

const (
	largeSize = 100 << 10
	echoSize  = 10 << 10
)

// SmallBody is the answer's body for SmallName.
func SmallBody() []byte { return []byte(`{"message":"hello from the service"}`) }

// LargeBody is 100 KiB.
func LargeBody() []byte { return pattern(largeSize) }

// EchoBody is the 10 KiB that a request for EchoName must bring.
func EchoBody() []byte { return pattern(echoSize) }

// EchoAnswer tells the length of what came. The service gives it only if each
// byte was right.
func EchoAnswer() []byte { return fmt.Appendf(nil, `{"received":%d}`, echoSize) }

// pattern has a period that no buffer's size is a multiple of, so a piece that
// is lost, doubled or shifted changes it.
func pattern(size int) []byte {
	const period = "Sluice benchmark: 0123456789 abcdefghijklmnopqrstuvwxyz, 61 b"
	return bytes.Repeat([]byte(period), size/len(period)+1)[:size]
}

// Job is what a generator does.
type Job struct {
	Address     string   // host:port, numeric
	Roots       []byte   // PEM; if set, TLS 1.3 with this trust
	ServerName  string   // for Roots
	Connections int      // kept alive
	Requests    [][]byte // sent in turn
	Status      int      // of each answer
	Body        []byte   // of each answer

	// Rate is the number of requests a second, at even distances, each on a
	// connection that is free (longest free first). 0: a closed loop, each
	// connection sends its next request on the answer.
	Rate     float64
	Warm     time.Duration // load before the time that counts
	Duration time.Duration

	// Alone says that the process does nothing else.
	Alone bool

	// Idle: no load; open Connections, one request on each, and keep them for
	// Duration.
	Idle bool
}

// Result is what a generator saw in the time that counts.
type Result struct {
	Requests int64         // answered, and right
	Failed   int64         // not answered, or wrong
	Fault    string        // the first failure
	Elapsed  time.Duration // of the load
	Latency  Histogram     // until the last byte; since the request was due with a Rate, else since it was sent
	Late     Histogram     // with a Rate: how long after it was due a request was sent
}

func (j *Job) check() error {
	switch {
	case j.Connections < 1 || len(j.Requests) == 0:
		return errors.New("a job needs connections and requests")
	case j.Rate < 0 || j.Warm < 0 || j.Duration <= 0:
		return errors.New("a job needs a duration, and neither times nor rate below 0")
	}
	return nil
}
