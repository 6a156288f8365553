package evloop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestSlots: a slot is given to one socket at a time and again when it is free, what
// was sent through it arrives, and what has left it is closed with its descriptor.
func TestSlots(t *testing.T) {
	r := testUring(t)
	if r.slots.most == 0 {
		t.Skip("the kernel does not let go of what is in slots at once")
	}
	r.slots.most = 2
	var held []int32
	for range 3 {
		fds := pair(t)
		slot := r.hold(fds[0])
		if len(held) == 2 {
			if slot != 0 {
				t.Errorf("slot %d of 2", slot)
			}
			if slot = held[0]; !r.letGo(slot) || r.hold(fds[0]) != slot {
				t.Errorf("slot %d is not given again", slot)
			}
		}
		held = append(held, slot)
		text := []byte(fmt.Sprint("to slot ", slot))
		e := r.next()
		e.opcode, e.flags, e.fd = opSend, sqeFixedFile, slot-1
		e.addr, e.len, e.opFlags = uint64(uintptr(unsafe.Pointer(&text[0]))), uint32(len(text)), sendFlags
		if err := r.enter(noWait, 0); err != nil {
			t.Fatal(err)
		}
		if got := r.answer(t); got.res != int32(len(text)) {
			t.Fatalf("sent %d of %d", got.res, len(text))
		}
		b := make([]byte, 100)
		if n, err := syscall.Read(fds[1], b); string(b[:max(n, 0)]) != string(text) {
			t.Errorf("received %q, %v", b[:max(n, 0)], err)
		}
		if err := syscall.Close(fds[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeptConnectionsEnd: connections that go on long enough for a slot, and more than
// there are slots, work as others do; their peers hear of the end, and every slot is
// free afterwards.
func TestKeptConnectionsEnd(t *testing.T) {
	g, err := New(Config{Loops: 1, Backend: IOUring, Failed: func(err error) { t.Error(err) }})
	if errors.Is(err, errNoRing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := g.Loops()[0]
	if l.uring.slots.most == 0 {
		t.Skip("the kernel does not let go of what is in slots at once")
	}
	const most, times = 5, 3
	l.uring.slots.most = most
	for range times {
		var all []*echo
		var peers []net.Conn
		for range most + 2 {
			fd, peer := tcpPair(t)
			e := &echo{closed: make(chan struct{})}
			e.task.Init(l, e)
			e.conn.KeepReceiving()
			if err := e.conn.Bind(fd, &e.task); err != nil {
				t.Fatal(err)
			}
			all, peers = append(all, e), append(peers, peer)
		}
		for i := range 3 * slotAfter {
			for _, p := range peers {
				text := fmt.Sprint("message ", i)
				say(t, p, text)
				b := make([]byte, len(text))
				if _, err := io.ReadFull(p, b); err != nil || string(b) != text {
					t.Fatalf("%q came back as %q, %v", text, b, err)
				}
			}
		}
		for i, p := range peers {
			if err := p.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			<-all[i].closed
			if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the end is %d bytes, %v", n, err)
			}
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if s := &l.uring.slots; s.used != most || len(s.free) != most {
		t.Errorf("%d slots were used, and %d are free", s.used, len(s.free))
	}
}
