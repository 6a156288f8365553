package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/upstream"
)

func (h *httpExchange) upgrade(fields *http1.Fields, idle time.Duration) (clientTunnel, error) {
	conn, buffered, err := h.control.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the client's connection: %w", err)
	}
	// What came with the request is in the buffer. Reading on through it would
	// cancel the request's context when the client closes its direction.
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		return nil, fmt.Errorf("take over the client's connection: %w", errors.Join(err, conn.Close()))
	}
	t := &hijacked{Conn: conn, early: early, idle: idle}
	var head strings.Builder
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	head.Write(fields.AppendTo(nil))
	head.WriteString("\r\n")
	if _, err := t.Write([]byte(head.String())); err != nil {
		t.cut()
		return nil, fmt.Errorf("write the 101: %w", err)
	}
	return t, nil
}

// hijacked is a client's connection that net/http has given up.
type hijacked struct {
	net.Conn
	early []byte // read before the switch
	idle  time.Duration
}

// Read waits for the idle time at most; its error wraps upstream.ErrTimeout
// then, and reading may go on.
func (t *hijacked) Read(p []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(p, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	if err := t.SetReadDeadline(time.Now().Add(t.idle)); err != nil {
		return 0, err
	}
	n, err := t.Conn.Read(p)
	if isTimeout(err) {
		err = fmt.Errorf("%w: client is quiet", upstream.ErrTimeout)
	}
	return n, err
}

func (t *hijacked) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.idle)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

func (t *hijacked) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return t.Close()
}

// cut closes below TLS, so that it never waits to say goodbye.
func (t *hijacked) cut() {
	conn := t.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	// There is nothing to do about a connection that cannot be closed.
	_ = conn.Close()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
