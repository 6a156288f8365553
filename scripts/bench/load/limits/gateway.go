package limits

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// KeyHeader carries the key that a request is counted under.
const KeyHeader = "X-Key"

var errAnswer = errors.New("not an answer of HTTP/1.1 with a length")

// Gateway decides by a GET: 200 is admitted, 429 refused. It keeps its
// connection, and goes on with the next address after an error, as a balancer
// in front of several nodes would.
type Gateway struct {
	Addresses []string // host:port
	First     int      // of Addresses, modulo their number
	Path      string

	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// Decide implements Decider.
func (g *Gateway) Decide(ctx context.Context, key string) (bool, error) {
	status, err := g.get(ctx, key)
	if err == nil && status != http.StatusOK && status != http.StatusTooManyRequests {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		g.Close()
		g.First++
	}
	return status == http.StatusOK, err
}

func (g *Gateway) get(ctx context.Context, key string) (status int, err error) {
	if g.conn == nil {
		conn, err := dial(ctx, g.Addresses[g.First%len(g.Addresses)])
		if err != nil {
			return 0, err
		}
		g.conn, g.in = conn, bufio.NewReaderSize(conn, 4096)
	}
	g.out = append(append(g.out[:0], "GET "...), g.Path...)
	g.out = append(append(g.out, " HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"+KeyHeader+": "...), key...)
	g.out = append(g.out, "\r\n\r\n"...)
	if err := g.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := g.conn.Write(g.out); err != nil {
		return 0, err
	}
	return readAnswer(g.in)
}

// Close implements Decider.
func (g *Gateway) Close() {
	if g.conn != nil {
		_ = g.conn.Close()
	}
	g.conn = nil
}

// readAnswer reads an answer with a Content-Length, and drops its body.
func readAnswer(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	const version = "HTTP/1.1 "
	if len(line) < len(version)+4 || string(line[:len(version)]) != version {
		return 0, fmt.Errorf("%w: %q", errAnswer, line)
	}
	if status, err = strconv.Atoi(string(line[len(version) : len(version)+3])); err != nil {
		return 0, fmt.Errorf("%w: %q", errAnswer, line)
	}
	length := -1
	err = eachField(in, func(name, value []byte) error {
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.ParseUint(string(value), 10, 31)
			if err != nil || length >= 0 {
				return fmt.Errorf("%w: Content-Length %q", errAnswer, value)
			}
			length = int(n)
		}
		return nil
	})
	if err == nil && length < 0 {
		err = errAnswer
	}
	if err == nil {
		_, err = in.Discard(length)
	}
	return status, err
}

// eachField reads a head's fields and the empty line at its end. What it passes
// is good until take returns.
func eachField(in *bufio.Reader, take func(name, value []byte) error) error {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			return nil
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return fmt.Errorf("%w: field %q", errAnswer, line)
		}
		if err := take(name, bytes.TrimSpace(value)); err != nil {
			return err
		}
	}
}
