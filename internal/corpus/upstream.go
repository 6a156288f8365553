package corpus

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// The targets that mean something to Upstream and Judge.
const (
	caseTarget     = "/case"
	FollowUpTarget = "/follow-up" // of the requests that are sent after a case
	smuggledTarget = "/smuggled"
)

// maxRecord bounds what is kept of one connection.
const maxRecord = 16 << 20

// Record is what came in on one connection.
type Record struct {
	Raw      []byte
	Requests []*Request
	// Fault is what ended the reading of requests, nil for a connection that
	// ended between two: io.ErrUnexpectedEOF within one, or an ErrWire.
	Fault error
}

// Upstream is a service that records every byte and reads it strictly. It
// answers /case as its script says, and everything else with Echo. Safe for
// concurrent use.
type Upstream struct {
	// Once closes each connection after one answer, so that what a gateway
	// sends can be told complete without stopping it. Set before Start.
	Once bool
	// TLS makes it a service behind TLS. Set before Start.
	TLS *tls.Config

	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	script  *Case
	played  bool
	later   chan struct{} // closed to send Later
	records []*recording
}

type recording struct {
	conn net.Conn
	mu   *sync.Mutex
	Record
	open bool
}

// Write takes what a TeeReader has read.
func (rec *recording) Write(p []byte) (int, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.Raw)+len(p) <= maxRecord {
		rec.Raw = append(rec.Raw, p...)
	}
	return len(p), nil
}

// Start listens on a free port of the loopback interface; Stop ends it.
func (u *Upstream) Start() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	u.listener = ln
	u.serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if u.TLS != nil {
				c = tls.Server(c, u.TLS)
			}
			rec := &recording{conn: c, mu: &u.mu, open: true}
			u.mu.Lock()
			u.records = append(u.records, rec)
			u.mu.Unlock()
			u.serving.Go(func() { u.serve(rec) })
		}
	})
	return nil
}

// Addr is the address that it listens on.
func (u *Upstream) Addr() *net.TCPAddr { return u.listener.Addr().(*net.TCPAddr) }

// Stop cuts every connection and waits for all goroutines.
func (u *Upstream) Stop() {
	u.listener.Close()
	u.Begin(nil)
	u.serving.Wait()
}

// Begin cuts the connections and forgets the records of the case before, and
// sets the answer to /case: nil for Echo.
func (u *Upstream) Begin(script *Case) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range u.records {
		rec.conn.Close()
	}
	u.records, u.script, u.played, u.later = nil, script, false, make(chan struct{})
}

// Later makes the upstream send what its case has for later, and waits for it.
func (u *Upstream) Later(ctx context.Context) {
	u.mu.Lock()
	if u.script == nil || len(u.script.Later) == 0 || !u.played {
		u.mu.Unlock()
		return
	}
	done := u.later
	u.mu.Unlock()
	select {
	case done <- struct{}{}: // taken by who sends it
	case <-ctx.Done():
		return
	}
	select {
	case <-done: // closed when it is sent
	case <-ctx.Done():
	}
}

// Wait waits until every connection has ended, and gives their records.
func (u *Upstream) Wait(ctx context.Context) ([]Record, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		records, open := u.Records()
		if open == 0 {
			return records, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return records, fmt.Errorf("%d connections to the upstream are open: %w", open, ctx.Err())
		}
	}
}

// Records gives copies of the records so far, and how many connections are
// open.
func (u *Upstream) Records() (all []Record, open int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range u.records {
		if rec.open {
			open++
		}
		r := rec.Record
		r.Raw = bytes.Clone(r.Raw)
		all = append(all, r)
	}
	return all, open
}

func (u *Upstream) serve(rec *recording) {
	defer func() {
		rec.conn.Close()
		u.mu.Lock()
		rec.open = false
		u.mu.Unlock()
	}()
	r := bufio.NewReader(io.TeeReader(rec.conn, rec))
	for {
		if script, head := u.early(); script != nil {
			if err := head(r); err == nil {
				u.play(rec, script)
			}
			break
		}
		q, err := ReadRequest(r)
		u.mu.Lock()
		if err == nil {
			rec.Requests = append(rec.Requests, q)
		} else if !errors.Is(err, io.EOF) {
			rec.Fault = err
		}
		u.mu.Unlock()
		if err != nil {
			break
		}
		if script := u.take(q); script != nil {
			if !u.play(rec, script) {
				break
			}
			continue
		}
		last := u.Once || q.HasToken("Connection", "close")
		if _, err := rec.conn.Write(echo(q, last)); err != nil || last {
			break
		}
	}
	u.linger(rec, r)
}

// linger ends the sending side and records the rest.
func (u *Upstream) linger(rec *recording, r io.Reader) {
	if half, ok := rec.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the connection may be gone
	}
	_, _ = io.Copy(io.Discard, r) // until it ends, in whatever way
}

// early gives the script if its answer does not wait for the request's body,
// and how to read the head that it waits for.
func (u *Upstream) early() (*Case, func(*bufio.Reader) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.script == nil || !u.script.Early || u.played {
		return nil, nil
	}
	return u.script, func(r *bufio.Reader) error {
		if _, err := readLine(r, true); err != nil {
			return err
		}
		_, err := readFields(r)
		u.mu.Lock()
		u.played = true
		u.mu.Unlock()
		return err
	}
}

// take gives the script if the request is to be answered with it.
func (u *Upstream) take(q *Request) *Case {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.script == nil || q.Target != caseTarget || u.played && !u.script.Many {
		return nil
	}
	u.played = true
	return u.script
}

// play sends the script's answer and says whether the connection goes on.
func (u *Upstream) play(rec *recording, script *Case) bool {
	if _, err := rec.conn.Write(script.Raw); err != nil {
		return false
	}
	if len(script.Later) > 0 {
		u.mu.Lock()
		later := u.later
		u.mu.Unlock()
		select {
		case <-later:
			_, _ = rec.conn.Write(script.Later) // a gateway may have closed it
			close(later)
		case <-time.After(10 * time.Second): // nobody has asked for it
		}
	}
	switch script.Then {
	case Close:
		return false
	case Reset:
		conn := rec.conn
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn() // no goodbye
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the close is a reset then; without it, still a close
		}
		conn.Close()
		return false
	case Hold:
		_, _ = io.Copy(io.Discard, io.TeeReader(rec.conn, rec)) // until the gateway gives up
		return false
	}
	return !script.Early
}

// echo is the answer that tells a request from every other.
func echo(q *Request, last bool) []byte {
	body := Echo(q.Method, q.Target, len(q.Body))
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n", len(body))
	if last {
		head += "Connection: close\r\n"
	}
	if q.Method == "HEAD" {
		body = ""
	}
	return []byte(head + "\r\n" + body)
}

// Echo is the body of the upstream's answer to a request.
func Echo(method, target string, bodyLength int) string {
	return fmt.Sprintf("%s %.200s %d\n", method, target, bodyLength)
}
