package netns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives two namespaces and the switch between them, and skips the test where
// there cannot be any.
func pair(t *testing.T) (a, b *Space, wire *Switch) {
	t.Helper()
	wire = NewSwitch(1)
	var made []*Space
	t.Cleanup(func() {
		for _, s := range made {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		wire.Close()
	})
	for i := range byte(2) {
		s, err := New(netip.AddrFrom4([4]byte{10, 77, 0, i + 1}))
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EPERM) || errors.Is(err, os.ErrNotExist) {
			t.Skip("no namespaces here:", err)
		} else if err != nil {
			t.Fatal(err)
		}
		made = append(made, s)
		wire.Connect(s)
	}
	return made[0], made[1], wire
}

// echo answers packets in a namespace.
func echo(t *testing.T, s *Space) {
	t.Helper()
	var c net.PacketConn
	err := s.Do(func() (err error) {
		c, err = net.ListenPacket("udp4", s.Addr.String()+":7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
}

// ask sends a packet until there is an answer, or the patience ends.
func ask(t *testing.T, from, to *Space, patience time.Duration) error {
	t.Helper()
	c, err := from.Dial(t.Context(), "udp4", to.Addr.String()+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 10)
	for end := time.Now().Add(patience); ; {
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return err
		}
		_, err := c.Read(buf)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

const patience = 20 * time.Second

func TestSwitch(t *testing.T) {
	a, b, wire := pair(t)
	echo(t, b)
	if err := ask(t, a, b, patience); err != nil {
		t.Fatal(err)
	}
	for _, cut := range [][2]*Space{{a, b}, {b, a}} { // in each direction, as an answer is needed
		wire.Set(cut[0], cut[1], Link{Cut: true})
		if err := ask(t, a, b, 60*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("cut, and yet: %v", err)
		}
		wire.Set(cut[0], cut[1], Link{})
	}
	wire.Set(a, b, Link{Loss: 0.5, Double: 0.5, Delay: time.Millisecond, Jitter: time.Millisecond})
	if err := ask(t, a, b, patience); err != nil {
		t.Error(err)
	}
}

// TestStream: a connection survives a network that loses, doubles and delays.
func TestStream(t *testing.T) {
	a, b, wire := pair(t)
	wire.Set(a, b, Link{Loss: 0.02, Double: 0.05, Delay: time.Millisecond, Jitter: 2 * time.Millisecond})
	var ln net.Listener
	err := b.Do(func() (err error) {
		ln, err = net.Listen("tcp", b.Addr.String()+":9")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const size = 200_000
	got := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- -1
			return
		}
		n, _ := io.Copy(io.Discard, c)
		_ = c.Close()
		got <- n
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := a.Dial(ctx, "tcp4", b.Addr.String()+":9")
	if err == nil {
		_, err = c.Write(make([]byte, size))
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		t.Error(err)
	}
	if err := errors.Join(err, ln.Close()); err != nil {
		t.Error(err)
	}
	if n := <-got; n != size {
		t.Errorf("%d bytes of %d", n, size)
	}
}

func TestHere(t *testing.T) {
	s := Here(netip.MustParseAddr("127.0.0.9"))
	if err := s.Do(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Do(func() error { return nil }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, and yet: %v", err)
	}
}
