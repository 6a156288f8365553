package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answerLimit is for one answer. A transaction may take its node a minute.
const answerLimit = 90 * time.Second

// client is one connection that is kept alive, and asks one thing after another. It writes and reads in the
// goroutine that asks: the two more of net/http's client would be part of every time that is measured. Not safe
// for concurrent use.
type client struct {
	conn    net.Conn
	r       *bufio.Reader
	head    []byte
	body    bytes.Buffer
	host    string
	release func() bool
}

// dial connects to a node's address. The end of the context ends what is being asked.
func dial(ctx context.Context, address string) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), host: address}
	c.release = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return c, nil
}

func (c *client) close() {
	c.release()
	_ = c.conn.Close()
}

// answer is one to a request.
type answer struct {
	what   string // method and path
	status int
	header http.Header
	body   []byte // valid until the client's next request
	took   time.Duration
}

// do asks, with JSON as the body if there is one. took is from before the first byte is sent until the last one
// is read.
func (c *client) do(method, path string, body []byte) (*answer, error) {
	a := &answer{what: method + " " + path}
	c.head = append(c.head[:0], method...)
	c.head = append(append(append(c.head, ' '), path...), " HTTP/1.1\r\nHost: "...)
	c.head = append(append(c.head, c.host...), "\r\n"...)
	if body != nil {
		c.head = append(c.head, "Content-Type: application/json\r\nContent-Length: "...)
		c.head = append(strconv.AppendInt(c.head, int64(len(body)), 10), "\r\n"...)
	}
	c.head = append(c.head, "\r\n"...)
	start := time.Now()
	if err := c.conn.SetDeadline(start.Add(answerLimit)); err != nil {
		return nil, fmt.Errorf("%s: %w", a.what, err)
	}
	buffers := net.Buffers{c.head, body} // one system call
	if _, err := buffers.WriteTo(c.conn); err != nil {
		return nil, fmt.Errorf("%s: %w", a.what, err)
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.what, err)
	}
	c.body.Reset()
	if _, err := io.Copy(&c.body, resp.Body); err != nil {
		return nil, fmt.Errorf("%s: %w", a.what, err)
	}
	a.took = time.Since(start)
	_ = resp.Body.Close() // read to its end
	a.status, a.header, a.body = resp.StatusCode, resp.Header, c.body.Bytes()
	if resp.Close {
		return nil, fmt.Errorf("%s: the connection is not kept alive after %s", a.what, a.describe())
	}
	return a, nil
}

func (a *answer) describe() string {
	return fmt.Sprintf("%d %.300s", a.status, a.body)
}

// is wants a status.
func (a *answer) is(status int) error {
	if a.status != status {
		return fmt.Errorf("%s: %s, and not %d", a.what, a.describe(), status)
	}
	return nil
}

// has wants a status and a field of the body with a value, which is JSON as the node writes it.
func (a *answer) has(status int, field, value string) error {
	if err := a.is(status); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &fields); err != nil {
		return fmt.Errorf("%s: %s: %w", a.what, a.describe(), err)
	}
	if string(fields[field]) != value {
		return fmt.Errorf("%s: %s is %s, and not %s", a.what, field, fields[field], value)
	}
	return nil
}

// empty wants a status and no body.
func (a *answer) empty(status int) error {
	if err := a.is(status); err != nil {
		return err
	}
	if len(a.body) > 0 {
		return fmt.Errorf("%s: a body where there should be none: %s", a.what, a.describe())
	}
	return nil
}

// index is the log's, of the change that is answered.
func (a *answer) index() (uint64, error) {
	index, err := strconv.ParseUint(a.header.Get("X-Sluice-Index"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: X-Sluice-Index: %w", a.what, err)
	}
	return index, nil
}

// served wants every node that was waited for to serve the change.
func (a *answer) served() error {
	if late := a.header.Get("X-Sluice-Not-Served"); late != "" {
		return fmt.Errorf("%s: not served by %s", a.what, late)
	}
	return nil
}
