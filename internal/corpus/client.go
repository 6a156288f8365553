package corpus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The ends of a client's connection.
const (
	EndClosed = "closed" // by the gateway, in order
	EndReset  = "reset"
	EndOpen   = "open"    // it went on: see FollowUp
	EndSilent = "silent"  // nothing came for the whole patience
	EndBroken = "garbage" // what came is no strict answer
)

// Seen is what a client has seen of a gateway, and what the upstream has.
type Seen struct {
	Answers []*AnswerSeen // the final ones, to the case's own requests
	Interim []int
	// End is how the connection ended, Detail the error if that tells more.
	End, Detail string
	// FollowUp is the answer to a further request on the same connection, Next
	// to one on a new connection.
	FollowUp, Next *AnswerSeen
	Extra          []byte // what came after the last answer
	Upstream       []Record
}

const followUp = "GET " + FollowUpTarget + " HTTP/1.1\r\nHost: corpus.example\r\nConnection: close\r\n\r\n"

// Client plays cases against a gateway. Safe for concurrent use.
type Client struct {
	// Address is the gateway's.
	Address string
	// Patience is how long an answer is awaited that does not come; a gateway
	// that does as expected is never waited for.
	Patience time.Duration
}

// Request sends a case's raw request, and after its answers a further one.
func (c *Client) Request(cs *Case) *Seen {
	s := &Seen{}
	conn, err := net.DialTimeout("tcp", c.Address, c.Patience)
	if err != nil {
		s.End, s.Detail = EndReset, err.Error()
		return s
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * c.Patience))
	var sending sync.WaitGroup
	defer sending.Wait()
	defer conn.Close() // so that the sender ends
	sent := make(chan struct{})
	sending.Go(func() {
		defer close(sent)
		_, _ = conn.Write(cs.Raw) // a gateway may refuse before it has read all
		if cs.Then == Close {
			closeWrite(conn)
		}
	})
	r := bufio.NewReader(conn)
	_ = conn.SetReadDeadline(time.Now().Add(c.Patience))
	if c.readAnswers(s, r, cs.methods()) {
		<-sent
		c.further(s, conn, r)
	} else if s.End == EndSilent {
		closeWrite(conn)
		_ = conn.SetReadDeadline(time.Now().Add(c.Patience))
		s.End = ""
		c.readAnswers(s, r, cs.methods()[:1])
		s.Detail, s.End = "after a half-close: "+s.End, EndSilent
	}
	return s
}

// methods are those of the requests that are to be answered.
func (c *Case) methods() []string {
	var all []string
	for _, e := range c.Expect {
		if e.Kind == Forward && len(all) == 0 {
			for _, w := range e.Messages {
				all = append(all, w.Method)
			}
		}
	}
	if len(all) == 0 {
		first, _, _ := bytes.Cut(c.Raw, []byte(" "))
		all = []string{string(first)}
	}
	for len(all) < c.Sends {
		all = append(all, "GET")
	}
	return all
}

// readAnswers reads an answer for each method and says whether the connection
// may go on.
func (c *Client) readAnswers(s *Seen, r *bufio.Reader, methods []string) bool {
	for _, method := range methods {
		a, err := s.readFinal(r, method)
		if a != nil && (a.Status >= 200 || a.Status == 101) {
			s.Answers = append(s.Answers, a)
		}
		if err != nil {
			s.ended(err)
			return false
		}
		if a.Last { // nothing else is to come
			break
		}
	}
	return true
}

// readFinal passes over interim answers.
func (s *Seen) readFinal(r *bufio.Reader, method string) (*AnswerSeen, error) {
	for {
		a, err := ReadAnswer(r, method)
		if err != nil || a.Status >= 200 || a.Status == 101 {
			return a, err
		}
		s.Interim = append(s.Interim, a.Status)
	}
}

func (s *Seen) ended(err error) {
	s.Detail = err.Error()
	switch {
	case errors.Is(err, ErrWire):
		s.End = EndBroken
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.End = EndSilent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.End, s.Detail = EndClosed, ""
		if errors.Is(err, io.ErrUnexpectedEOF) {
			s.Detail = "within an answer"
		}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		s.End = EndReset
	default:
		s.End = EndBroken
	}
	if s.End == EndReset || s.End == EndSilent { // the error's text has addresses in it
		s.Detail = ""
	}
}

// further asks on the same connection. No wait is needed to learn whether it
// is closed: this request is answered, or the connection ends.
func (c *Client) further(s *Seen, conn net.Conn, r *bufio.Reader) {
	_ = conn.SetDeadline(time.Now().Add(c.Patience))
	_, _ = io.WriteString(conn, followUp) // the connection may be closed
	a, err := s.readFinal(r, "GET")
	if err != nil {
		s.ended(err)
		s.FollowUp = a
		return
	}
	s.End, s.FollowUp = EndOpen, a
	s.Extra, _ = io.ReadAll(io.LimitReader(r, 1<<16)) // empty, whatever the end
}

// Answer asks for a case whose answer is the corpus's, and then goes on.
func (c *Client) Answer(ctx context.Context, cs *Case, u *Upstream) *Seen {
	s := &Seen{}
	ask := cs.Ask
	if len(ask) == 0 {
		ask = []byte("GET " + caseTarget + " HTTP/1.1\r\nHost: corpus.example\r\n\r\n")
	}
	one := *cs
	one.Raw = ask
	conn, err := net.DialTimeout("tcp", c.Address, c.Patience)
	if err != nil {
		s.End, s.Detail = EndReset, err.Error()
		return s
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.Patience))
	var sending sync.WaitGroup
	defer sending.Wait()
	defer conn.Close()
	sending.Go(func() { _, _ = conn.Write(ask) }) // it may be answered before it is read
	r := bufio.NewReader(conn)
	open := c.readAnswers(s, r, one.methods()[:1])
	u.Later(ctx)
	if open {
		c.further(s, conn, r)
	}
	s.Next = c.next()
	return s
}

// next asks on a new connection.
func (c *Client) next() *AnswerSeen {
	conn, err := net.DialTimeout("tcp", c.Address, c.Patience)
	if err != nil {
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(c.Patience))
	_, _ = io.WriteString(conn, followUp)
	a, err := ReadAnswer(bufio.NewReader(conn), "GET")
	if err != nil {
		return nil
	}
	return a
}

func closeWrite(c net.Conn) {
	if half, ok := c.(*net.TCPConn); ok {
		_ = half.CloseWrite() // it may be closed altogether
	}
}

// requests gives the whole requests that the upstream has read, without the
// further ones.
func (s *Seen) requests() []*Request {
	var all []*Request
	for _, rec := range s.Upstream {
		for _, q := range rec.Requests {
			if q.Target != FollowUpTarget {
				all = append(all, q)
			}
		}
	}
	return all
}

// String is what was seen, on one line.
func (s *Seen) String() string {
	var parts []string
	for _, a := range s.Answers {
		text := fmt.Sprint(a.Status)
		if !a.Whole {
			text += " cut"
		}
		parts = append(parts, text)
	}
	switch {
	case s.End == EndOpen && own(s.FollowUp):
		parts = append(parts, "goes on")
	case s.End == EndOpen:
		parts = append(parts, fmt.Sprintf("goes on with another answer (%d)", s.FollowUp.Status))
	case s.Detail != "":
		parts = append(parts, fmt.Sprintf("%s (%.80s)", s.End, s.Detail))
	default:
		parts = append(parts, s.End)
	}
	for _, q := range s.requests() {
		parts = append(parts, fmt.Sprintf("got %s %.40s %s %d", q.Method, q.Target, q.Framing, len(q.Body)))
	}
	for _, rec := range s.Upstream {
		switch {
		case rec.Fault == nil:
		case errors.Is(rec.Fault, ErrWire):
			parts = append(parts, fmt.Sprintf("got %.80s", rec.Fault))
		default: // whatever the error's text, which has addresses in it
			parts = append(parts, "got a part")
		}
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

// own says whether an answer is the one to the further request.
func own(a *AnswerSeen) bool {
	return a != nil && a.Whole && a.Status == 200 && string(a.Body) == Echo("GET", FollowUpTarget, 0)
}
