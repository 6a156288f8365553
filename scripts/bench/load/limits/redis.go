package limits

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

var errReply = errors.New("redis: not a number")

// Redis decides by a counter for each key and calendar minute: one INCR, one
// round trip, admitted if the answer is within the limit. The EXPIRE that the
// first INCR of a window calls for goes ahead of the connection's next INCR in
// one write, so it costs no round trip: less than the scripts and pipelines of
// the usual limiters do.
type Redis struct {
	Address string // host:port
	Limit   int64  // of a key and minute

	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	name    []byte
	expires bool // out begins with an EXPIRE
}

// keptFor is how long a counter is kept, in seconds: its name has the minute in
// it, so it is of no use when that is over.
const keptFor = "120"

// Decide implements Decider.
func (r *Redis) Decide(ctx context.Context, key string) (bool, error) {
	n, err := r.count(ctx, key)
	if err != nil {
		r.Close()
		return false, err
	}
	return n <= r.Limit, nil
}

func (r *Redis) count(ctx context.Context, key string) (int64, error) {
	if r.conn == nil {
		conn, err := dial(ctx, r.Address)
		if err != nil {
			return 0, err
		}
		r.conn, r.in = conn, bufio.NewReaderSize(conn, 4096)
	}
	now := time.Now()
	r.name = append(append(r.name[:0], "rl:"...), key...)
	r.name = strconv.AppendInt(append(r.name, ':'), now.Unix()/60, 10)
	r.out = appendCommand(r.out, "INCR", r.name)
	err := r.conn.SetDeadline(now.Add(patience))
	if err == nil {
		_, err = r.conn.Write(r.out)
	}
	if err != nil {
		return 0, err
	}
	if r.expires {
		if _, err := readNumber(r.in); err != nil {
			return 0, err
		}
	}
	n, err := readNumber(r.in)
	if err != nil {
		return 0, err
	}
	r.out, r.expires = r.out[:0], n == 1
	if r.expires {
		r.out = appendCommand(r.out, "EXPIRE", r.name, []byte(keptFor))
	}
	return n, nil
}

// Close implements Decider.
func (r *Redis) Close() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	r.conn, r.out, r.expires = nil, r.out[:0], false
}

// dial connects; small writes go out at once, which is Go's default.
func dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	return d.DialContext(ctx, "tcp", address)
}

// appendCommand writes a command as an array of bulk strings (RESP2).
func appendCommand(b []byte, name string, args ...[]byte) []byte {
	b = strconv.AppendInt(append(b, '*'), int64(len(args)+1), 10)
	b = appendBulk(append(b, "\r\n"...), []byte(name))
	for _, a := range args {
		b = appendBulk(b, a)
	}
	return b
}

func appendBulk(b, text []byte) []byte {
	b = strconv.AppendInt(append(b, '$'), int64(len(text)), 10)
	b = append(append(b, "\r\n"...), text...)
	return append(b, "\r\n"...)
}

// readNumber reads an integer reply. An error of the server's, and any other
// kind of reply, is an error.
func readNumber(in *bufio.Reader) (int64, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	body, whole := bytes.CutSuffix(line, []byte("\r\n"))
	if !whole || len(body) < 2 || body[0] != ':' {
		return 0, fmt.Errorf("%w: %q", errReply, body)
	}
	n, err := strconv.ParseInt(string(body[1:]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", errReply, body)
	}
	return n, nil
}
