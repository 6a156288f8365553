package evloop

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func testUring(t *testing.T) *uring {
	t.Helper()
	r, err := newUring()
	if errors.Is(err, errNoRing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// recv asks for what comes to a socket.
func (r *uring) recv(fd int, id uint64) {
	e := r.next()
	e.opcode, e.fd, e.flags, e.ioprio, e.userData = opRecv, int32(fd), sqeBufferSelect, recvPollFirst, id
}

// answer waits for one answer.
func (r *uring) answer(t *testing.T) cqe {
	t.Helper()
	for end := time.Now().Add(patience); r.answers() == 0; {
		if err := r.enter(knownWait, int64(time.Second)); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("no answer")
		}
	}
	return r.take()
}

// TestUringReceives: what is sent comes in a buffer, the end as nothing; and
// buffers and entries are used again and again.
func TestUringReceives(t *testing.T) {
	r, fds := testUring(t), pair(t)
	defer syscall.Close(fds[0])
	for i := range 3 * uringBuffers {
		r.recv(fds[0], uint64(i))
		if err := r.enter(noWait, 0); err != nil {
			t.Fatal(err)
		}
		if n := r.queued(); n != 0 {
			t.Fatalf("%d requests are left", n)
		}
		text := strings.Repeat(string(rune('a'+i%26)), 1+i%100)
		if _, err := syscall.Write(fds[1], []byte(text)); err != nil {
			t.Fatal(err)
		}
		e := r.answer(t)
		if e.userData != uint64(i) || int(e.res) != len(text) || e.flags&cqeBuffer == 0 {
			t.Fatalf("answer %d is %+v", i, e)
		}
		id := uint16(e.flags >> cqeBufferShift)
		if got := string(r.buffer(id)[:e.res]); got != text {
			t.Fatalf("%q has come, sent was %q", got, text)
		}
		r.give(id)
		r.publish()
	}
	if err := syscall.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	r.recv(fds[0], 1)
	if e := r.answer(t); e.res != 0 {
		t.Errorf("the end is %+v", e)
	}
}

// TestUringLacksBuffers: who is sent something while there is no buffer is told
// so, and the bytes are not lost.
func TestUringLacksBuffers(t *testing.T) {
	r := testUring(t)
	all := make([][2]int, uringBuffers+1)
	for i := range all {
		all[i] = pair(t)
		defer syscall.Close(all[i][0])
		defer syscall.Close(all[i][1])
		r.recv(all[i][0], uint64(i))
		if err := r.enter(noWait, 0); err != nil {
			t.Fatal(err)
		}
	}
	without := 0
	for i := range all {
		if _, err := syscall.Write(all[i][1], []byte("x")); err != nil {
			t.Fatal(err)
		}
		e := r.answer(t)
		switch {
		case int(e.userData) != i:
			t.Fatalf("answer to %d, want %d", e.userData, i)
		case e.res == -int32(syscall.ENOBUFS):
			without++
			var b [2]byte
			if n, err := syscall.Read(all[i][0], b[:]); n != 1 || b[0] != 'x' {
				t.Errorf("%d bytes are left: %v", n, err)
			}
		case e.res != 1:
			t.Errorf("answer %+v", e)
		}
	}
	if without != 1 {
		t.Errorf("%d had no buffer", without)
	}
}

// TestUringKeepsAnswers: none is lost when more come than have room.
func TestUringKeepsAnswers(t *testing.T) {
	r, fds := testUring(t), pair(t)
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	const rounds = 2 * uringAnswers / uringEntries
	for range rounds {
		for i := range uringEntries {
			e := r.next()
			if e == nil {
				t.Fatalf("room for %d requests only", i)
			}
			e.opcode, e.fd, e.len, e.opFlags = opPollAdd, int32(fds[0]), 0, syscall.EPOLLOUT
		}
		if r.next() != nil {
			t.Fatal("more room than there is")
		}
		if err := r.enter(noWait, 0); err != nil {
			t.Fatal(err)
		}
	}
	if !r.pending() {
		t.Error("the kernel keeps nothing, or does not say so")
	}
	got := 0
	for ; got < rounds*uringEntries; got++ {
		if e := r.answer(t); e.res&syscall.EPOLLOUT == 0 {
			t.Fatalf("answer %+v", e)
		}
	}
	if r.answers() != 0 {
		t.Error("there are more answers than requests")
	}
}

// TestUringWaits: a wait ends with its limit.
func TestUringWaits(t *testing.T) {
	r := testUring(t)
	begun := time.Now()
	if err := r.enter(knownWait, int64(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 15*time.Millisecond || took > patience {
		t.Errorf("waited %v", took)
	}
}

// TestUringSendsInPart: a send that does not wait and finds too little room says
// how much has left; one that is done to the end says nothing.
func TestUringSendsInPart(t *testing.T) {
	r, fds := testUring(t), pair(t)
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	send := func(p []byte, id uint64) {
		e := r.next()
		e.opcode, e.fd, e.flags, e.userData = opSend, int32(fds[0]), sqeSkipSuccess, id
		e.addr, e.len = uint64(uintptr(unsafe.Pointer(&p[0]))), uint32(len(p))
		e.opFlags = sendFlags
		if err := r.enter(noWait, 0); err != nil {
			t.Fatal(err)
		}
	}
	small, large := make([]byte, 100), make([]byte, 4<<20)
	send(small, 1)
	if r.answers() != 0 {
		t.Fatalf("a send that was done was answered %+v", r.take())
	}
	send(large, 2)
	e := r.answer(t)
	if e.userData != 2 || e.res <= 0 || int(e.res) >= len(large) {
		t.Fatalf("a send of too much was answered %+v", e)
	}
	send(small, 3)
	if e := r.answer(t); e.userData != 3 || e.res != -int32(syscall.EAGAIN) {
		t.Fatalf("a send without room was answered %+v", e)
	}
	got := 0
	for {
		n, err := syscall.Read(fds[1], large)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if got != len(small)+int(e.res) {
		t.Errorf("%d bytes have come, %d should", got, len(small)+int(e.res))
	}
}
