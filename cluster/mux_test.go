package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// testMux serves a port whose streams of every kind are echoed.
func testMux(t testing.TB) *mux {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := newMux(ln, hostNetwork{}, zap.NewNop())
	newRaftStreams(m, uuid.Max, newDirectory(func() {}))
	m.queue(streamCall, nil)
	m.queue(streamGossip, nil)
	for _, q := range m.queues {
		m.wg.Go(func() {
			for {
				conn, err := q.Accept()
				if err != nil {
					return
				}
				m.wg.Go(func() {
					_, _ = io.Copy(conn, conn) // ends with the connection
					_ = conn.Close()
				})
			}
		})
	}
	m.serve()
	t.Cleanup(func() {
		for _, q := range m.queues {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestMuxSplitsByTheFirstByte(t *testing.T) {
	t.Parallel()
	m := testMux(t)
	for kind, greeting := range map[streamKind][]byte{streamRaft: uuid.Max[:], streamCall: nil, streamGossip: nil} {
		conn, err := m.dial(t.Context(), m.ln.Addr().String(), kind, greeting)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("kind %d: %q, %v", kind, got, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMuxRefusesOtherProtocols(t *testing.T) {
	t.Parallel()
	m := testMux(t)
	for _, first := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00", "\x00", "\x04", "\x01" + strings.Repeat("z", 16)} {
		conn, err := net.Dial("tcp", m.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%q: %d bytes, %v", first, n, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMuxCapsSilentConnections(t *testing.T) {
	t.Parallel()
	m := testMux(t)
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			_ = c.Close() // it may be refused already
		}
	}()
	for range maxHandshakes {
		conn, err := net.Dial("tcp", m.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	eventually(t, func() error {
		if len(m.handshakes) < maxHandshakes {
			return errors.New("there is still room")
		}
		return nil
	})
	conn, err := net.Dial("tcp", m.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	silent = append(silent, conn)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("one too many was kept")
	}
}

func TestMuxCloseEndsEveryConnection(t *testing.T) {
	t.Parallel()
	m := testMux(t)
	conn, err := m.dial(t.Context(), m.ln.Addr().String(), streamCall, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	for _, q := range m.queues {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the connection outlived the port")
	}
	if _, err := m.dial(t.Context(), m.ln.Addr().String(), streamCall, nil); err == nil {
		t.Error("a closed mux dialled")
	}
	if len(m.streams) > 0 {
		t.Errorf("%d connections are still tracked", len(m.streams))
	}
}

// Whatever arrives, the port goes on serving and forgets the connection.
func FuzzMux(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x02", "\x03", "\xff", "GET / HTTP/1.1\r\n", "\x01" + string(uuid.Max[:]) + "x"} {
		f.Add([]byte(seed))
	}
	m := testMux(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", m.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(data) // it may be refused before it is all written
		_ = conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		body := data
		accepted := len(data) > 0 && (data[0] == byte(streamCall) || data[0] == byte(streamGossip))
		if accepted {
			body = data[1:]
		} else if len(data) > 16 && data[0] == byte(streamRaft) && bytes.Equal(data[1:17], uuid.Max[:]) {
			accepted, body = true, data[17:]
		}
		if accepted && (err != nil || !bytes.Equal(got, body)) {
			t.Errorf("%d bytes came back of %d, %v", len(got), len(body), err)
		}
		if !accepted && len(got) > 0 {
			t.Errorf("a refused connection was answered: %q", got)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Metadata that is accepted survives another round trip within the limit.
func FuzzMeta(f *testing.F) {
	f.Add(meta{Name: "n", Address: "host:8005", Voter: true, Configured: true, Expect: 3, Cluster: uuid.Max.String()}.encode())
	f.Add([]byte(`{"a":"x"}`))
	f.Add([]byte(`{"a":":1","n":"<&>"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMeta(data)
		if err != nil {
			return
		}
		again := m.encode()
		if len(again) > maxMeta {
			t.Fatalf("%d bytes", len(again))
		}
		if len(again) == 0 {
			return // an address of control characters grows: nobody has one
		}
		back, err := decodeMeta(again)
		if err != nil || back.Address != m.Address || back.Cluster != m.Cluster {
			t.Errorf("%+v became %+v, %v", m, back, err)
		}
	})
}

func FuzzSeed(f *testing.F) {
	for _, seed := range []string{"a", "a:1", "dns:a", "[::1]:1", "::", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		if s, err := parseSeed(entry); err == nil && (s.host == "" || s.port == "") {
			t.Errorf("%q gave %+v", entry, s)
		}
	})
}

// Bodies from the network change nothing unless they are what they should be.
func FuzzCalls(f *testing.F) {
	n := open(f, config(f, f.TempDir()))
	waitLeader(f, n)
	put(f, n, "kept")
	f.Add(uint8(0), []byte(`{"v":1,"t":2}`))
	f.Add(uint8(1), []byte(`{"id":"x"}`))
	f.Add(uint8(2), []byte(`{"id":"`+n.ID()+`","leaving":true}`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		path := []string{pathApply, pathJoin, pathRemove, pathCall + "x", pathInfo, pathServed}[which%6]
		if json.Valid(body) && path != pathRemove {
			return // what is well-formed may change things
		}
		answer, _, err := n.client.do(t.Context(), request{method: http.MethodPost, address: n.Address(), path: path, body: body})
		if err == nil && path != pathRemove { // who is no member may leave twice
			t.Errorf("%s %q: %q", path, body, answer)
		}
		if n.Voters() != 1 || !has(n, "kept") {
			t.Fatal("the cluster changed")
		}
	})
}
