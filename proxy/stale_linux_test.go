package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// TestServiceClosesAKeptConnection at the second request on each: that one is
// sent again, on a new connection, if it may be repeated and nothing of an answer
// has come.
func TestServiceClosesAKeptConnection(t *testing.T) {
	for _, c := range []struct {
		method, body, farewell string
		status                 int
		requests               int64 // that the service has seen
	}{
		{"GET", "", "", 200, 3},
		{"DELETE", "", "", 200, 3},
		{"PUT", "Content-Length: 4\r\n\r\nbody", "", 200, 3},
		{"POST", "Content-Length: 4\r\n\r\nbody", "", 502, 2},
		{"PUT", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "", 502, 2},
		{"GET", "", "HTTP/1.1 103 Early Hints\r\n\r\n", 502, 2},
		{"GET", "", "HTTP/1.1 100 Continue\r\n\r\n", 502, 2},
		{"GET", "", "HTTP/1.1 200 OK\r\n", 502, 2},
	} {
		t.Run(fmt.Sprintf("%s %.10q %.12q", c.method, c.body, c.farewell), func(t *testing.T) {
			var requests atomic.Int64
			w := newWorld(t)
			to := rawService(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				for i := 0; ; i++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					requests.Add(1)
					if i > 0 {
						_, _ = io.WriteString(conn, c.farewell)
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			w.config.Loops = 1 // the second request finds the connection of the first
			w.route(w.service(to, object{"retries": 0}), object{"paths": []string{"/"}})
			w.start()
			client := w.dial(0)
			body := c.body
			if body == "" {
				body = "\r\n"
			}
			for i, want := range []int{200, c.status} {
				client.say(c.method, " / HTTP/1.1\r\nHost: a\r\n", body)
				if a := client.hear(c.method); a.status != want {
					t.Errorf("request %d: %d, %v, want %d", i, a.status, a.err, want)
				}
			}
			if n := requests.Load(); n != c.requests {
				t.Errorf("the service saw %d requests, want %d", n, c.requests)
			}
		})
	}
}
