//go:build linux

package proxy

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowClients are what those that dribble say at first, and how many say it. The
// first dribble a head, all others a body.
var slowClients = []struct {
	say  string
	many int
}{
	{"GET /r HTTP/1.1\r\nHost: a\r\nX: ", 1000},
	{"POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", 500}, // gathered
	{"POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 250},
	{"POST /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n", 250},
}

const (
	slowReaders = 20
	// slowMemory is what a slow client may cost at most, on average, with what the
	// test itself holds for it.
	slowMemory = 48 << 10
)

// TestSlowloris: 2,000 clients that say little and some that read nothing leave
// the others served, cost little and are cut in the end. What they do to the
// latency of the others is measured by "make bench" (slowloris).
func TestSlowloris(t *testing.T) {
	part := allowedPart(t, 2*4000)
	w := newWorld(t)
	w.config.ReadHeaderTimeout, w.config.BodyTimeout, w.config.SendTimeout = 4*time.Second, 4*time.Second, 2*time.Second
	w.behind(echo)
	w.route(serviceID(w), object{"paths": []string{"/s"}, "request_buffering": false})
	w.route(w.service(rawService(t, speakOn), nil), object{"paths": []string{"/endless"}})
	good := w.dial(0)
	ask := func() {
		t.Helper()
		for range 20 {
			if a := good.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET"); a.status != 200 || a.err != nil {
				t.Fatalf("a good client: %+v", a)
			}
		}
	}
	ask()
	before := memoryInUse()
	slow, slowBodies := openSlow(t, w.addr(), part)
	ask()
	eventually(t, "the requests in work", func() bool { return w.proxy.inFlight.sum() == int64(slowBodies) })
	if each := (memoryInUse() - before) / int64(len(slow)); each > slowMemory {
		t.Errorf("a slow client costs %d bytes", each)
	}
	for range slowReaders {
		say(t, w.addr(), "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	for range 5 {
		for _, c := range slow {
			_, _ = io.WriteString(c, "x")
		}
		ask()
	}
	for i, c := range slow {
		said, _ := io.ReadAll(c) // whatever the end is, but for a hang
		if text := string(said); text != "" && !strings.HasPrefix(text, "HTTP/1.1 408 ") {
			t.Errorf("slow client %d is told %.100q", i, text)
		}
		c.Close()
	}
	ask()
	good.Close()
	w.awaitInFlight(0)
	eventually(t, "no connection", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
	eventually(t, "408 for each body", func() bool { return strings.Count(w.access.String(), `" 408 `) == slowBodies })
}

// speakOn is a service that speaks as long as it is listened to.
func speakOn(c net.Conn) {
	if _, err := readHead(bufio.NewReader(c)); err != nil {
		return
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	for piece := make([]byte, 64<<10); ; {
		if _, err := c.Write(piece); err != nil {
			return
		}
	}
}

// allowedPart raises the limit of open files to n, if it has to, or as far as it
// may, and gives how many times fewer there have to be. Both ends of each
// connection are this process's.
func allowedPart(t *testing.T, n uint64) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < n {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	part := 1
	if limit.Cur < n {
		part = int((n + limit.Cur - 1) / limit.Cur)
		t.Logf("only one in %d of the slow clients: %d open files are allowed, all need %d", part, limit.Cur, n)
	}
	return part
}

// openSlow opens one in part of those that dribble. bodies is how many of them
// dribble a body.
func openSlow(t *testing.T, addr string, part int) (slow []net.Conn, bodies int) {
	for i, kind := range slowClients {
		many := kind.many / part
		for range many {
			slow = append(slow, say(t, addr, kind.say))
		}
		if i > 0 {
			bodies += many
		}
	}
	return slow, bodies
}

// say opens a connection, without a buffer, and says something on it.
func say(t *testing.T, addr, text string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// memoryInUse is what heap and stacks take after a collection of garbage.
func memoryInUse() int64 {
	runtime.GC()
	runtime.GC() // pools give up what they hold at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
