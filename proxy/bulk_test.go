//go:build linux

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestBulkLeavesTheLoopToOthers: next to transfers that never end, each in a
// kind of its own, one loop serves small requests, and the transfers go on.
func TestBulkLeavesTheLoopToOthers(t *testing.T) {
	for name, download := range map[string]bool{"downloads": true, "uploads": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Loops = 1
			var moved atomic.Int64
			w.route(w.service(bulkService(t, &moved), nil), object{"paths": []string{"/bulk"}})
			w.behind(echo)
			var wg sync.WaitGroup
			var bulk []*faultyClient
			for range 3 {
				c := w.dial(0)
				bulk = append(bulk, c)
				wg.Go(func() { bulkClient(c, download, &moved) })
			}
			small := w.dial(0)
			for i := range 50 {
				before := moved.Load()
				small.say(fmt.Sprintf("GET /r/%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
				if a := small.hear("GET"); a.status != 200 || !strings.Contains(a.body, fmt.Sprintf(" /%d ", i)) {
					t.Fatalf("answer %d: %+v", i, a)
				}
				eventually(t, "more of the transfers", func() bool { return moved.Load() > before })
			}
			for _, c := range bulk {
				c.Close()
			}
			wg.Wait()
			w.awaitInFlight(0)
		})
	}
}

// TestBulkBothWays: an upload and a download at once in one exchange, and in one
// tunnel, of more than a turn's bytes each, come through as they are.
func TestBulkBothWays(t *testing.T) {
	const size = 4 << 20
	data := strings.Repeat("0123456789abcde\n", size/16)
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := readHead(r)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		} else {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		}
		_, _ = io.Copy(c, io.LimitReader(r, size))
	})
	w := newWorld(t).start()
	w.route(w.service(to, nil), object{"paths": []string{"/r"}})
	for name, head := range map[string]string{
		"exchange": fmt.Sprintf("POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size),
		"tunnel":   "GET /r HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		c := w.dial(0).say(head)
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(c.r) // a 101 has no body
		if resp.StatusCode == 200 {
			body = resp.Body
		}
		go c.say(data)
		got := make([]byte, size)
		if n, err := io.ReadFull(body, got); err != nil || string(got) != data {
			t.Errorf("%s: %d bytes of %d, %v", name, n, size, err)
		}
		c.Close()
	}
}
