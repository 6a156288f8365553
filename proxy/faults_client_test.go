//go:build linux

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestClientThatLeavesAtAnyPoint: whenever a client leaves, by closing or with a reset, the
// service is released and the exchange logged as 499.
func TestClientThatLeavesAtAnyPoint(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		say     string // by the service
		wait    bool   // for the answer's first bytes
	}{
		"while the service thinks":  {request: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n"},
		"in the head of the answer": {request: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", say: "HTTP/1.1 200 OK\r\n"},
		"in the answer":             {request: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", say: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", wait: true},
		"in an answer in chunks":    {request: "GET /r HTTP/1.1\r\nHost: a\r\n\r\n", say: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", wait: true},
		"in a body of known length": {request: "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"},
		"in a body in chunks":       {request: "POST /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"},
		"after a body":              {request: "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"},
		"with more in the pipeline": {request: "GET /r HTTP/1.1\r\nHost: a\r\n\r\nGET /r HTTP/1.1\r\nHost: a\r\n\r\n"},
		"before it may continue":    {request: "POST /s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"},
		"in a body answered early":  {request: "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", say: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", wait: true},
	} {
		for _, way := range []string{"close", "reset"} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				asked, released := make(chan struct{}, 1), make(chan struct{}, 1)
				to := rawService(t, func(s net.Conn) {
					r := bufio.NewReader(s)
					if _, err := readHead(r); err != nil {
						return
					}
					_, _ = io.WriteString(s, c.say)
					asked <- struct{}{}
					_, _ = io.Copy(io.Discard, r)
					released <- struct{}{}
				})
				w := newWorld(t).start()
				service := w.service(to, nil)
				w.route(service, object{"paths": []string{"/r"}})
				w.route(service, object{"paths": []string{"/s"}, "request_buffering": false})
				client := w.dial(0).say(c.request)
				<-asked
				if c.wait {
					if _, err := client.r.ReadString('c'); err != nil {
						t.Fatal(err)
					}
				}
				if way == "close" {
					client.Close()
				} else {
					client.reset()
				}
				select {
				case <-released:
				case <-time.After(patience):
					t.Fatal("the service is not released")
				}
				w.awaitInFlight(0)
				eventually(t, "a line with 499", func() bool { return strings.Contains(w.access.String(), `" 499 `) })
			})
		}
	}
}

// TestClientThatLeavesAPlugin: a plugin that waits for the request's context is
// released as well.
func TestClientThatLeavesAPlugin(t *testing.T) {
	for _, way := range []string{"close", "reset"} {
		for _, request := range []string{
			"GET /r HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET /r HTTP/1.1\r\nHost: a\r\n\r\nGET /r HTTP/1.1\r\nHost: a\r\n\r\n",
		} {
			w := serving(t, echo)
			waiting := make(chan struct{}, 2)
			w.hook("wait", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
				waiting <- struct{}{}
				<-ex.Context().Done()
				return plugin.Continue
			}))
			w.plugin("test-mid", "wait", nil)
			c := w.dial(0).say(request)
			<-waiting
			if way == "close" {
				c.Close()
			} else {
				c.reset()
			}
			w.awaitInFlight(0)
			eventually(t, "a line with 499", func() bool { return strings.Contains(w.access.String(), `" 499 `) })
			w.stop()
		}
	}
}

// TestHalfCloseWithTheRequest: whoever closes his direction together with the
// request waits for the answer.
func TestHalfCloseWithTheRequest(t *testing.T) {
	release := make(chan struct{})
	w := serving(t, echoSlowly(release))
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	for _, text := range []string{
		"GET /r/1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /r/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /r/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /r/1 HTTP/1.0\r\n\r\n",
	} {
		for range 20 {
			c := w.dial(0)
			// Corked, data and end leave in one segment.
			corkPlain(c.Conn.(*net.TCPConn))
			c.say(text).closeWrite()
			if a := c.hear("GET"); a.status != 200 || a.err != nil || !strings.Contains(a.body, " /1 ") {
				t.Fatalf("%q: %+v", text, a)
			}
			c.ends()
		}
	}
}

// TestPipeline: many requests in one write, in two writes that part at any byte,
// with bodies of both kinds, are answered in order.
func TestPipeline(t *testing.T) {
	w := serving(t, echo)
	w.route(serviceID(w), object{"paths": []string{"/s"}, "request_buffering": false})
	one := func(i int) string {
		switch i % 4 {
		case 0:
			return fmt.Sprintf("GET /r/%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 1:
			return fmt.Sprintf("POST /r/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", i)
		case 2:
			return fmt.Sprintf("POST /s/%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n", i)
		}
		return fmt.Sprintf("POST /none/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", i)
	}
	check := func(c *faultyClient, n int) {
		t.Helper()
		for i := range n {
			a := c.hear("GET")
			want := fmt.Sprintf(" /%d ", i)
			if i%4 == 3 {
				want = "no Route matched"
			}
			if a.err != nil || !strings.Contains(a.body, want) || i%4 > 0 && i%4 < 3 && !strings.HasSuffix(a.body, "body=hello") {
				t.Fatalf("answer %d is %+v", i, a)
			}
		}
	}
	for _, n := range []int{2, 4, 100, 1000} {
		var all strings.Builder
		for i := range n {
			all.WriteString(one(i))
		}
		c := w.dial(0)
		go c.say(all.String())
		check(c, n)
	}
	all := one(0) + one(1) + one(2) + one(3) + one(4)
	c := w.dial(0)
	for at := 1; at < len(all); at++ {
		c.say(all[:at])
		if at%3 == 0 {
			time.Sleep(time.Millisecond) // so that the parts come apart most of the time
		}
		c.say(all[at:])
		check(c, 5)
	}
}

// TestLostEdge: a request that comes just while the answer to the one before is
// being written is found.
func TestLostEdge(t *testing.T) {
	w := serving(t, echo)
	w.hook("answer", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		if strings.Contains(ex.Request.Path, "wait") {
			select {
			case <-ex.Context().Done():
			case <-time.After(time.Duration(rand.IntN(300)) * time.Microsecond):
			}
		}
		if strings.Contains(ex.Request.Path, "here") {
			return ex.Exit(200, "here")
		}
		return plugin.Continue
	}))
	w.plugin("test-mid", "answer", nil)
	var wg sync.WaitGroup
	for _, path := range []string{"here", "there", "wait-here", "wait-there"} {
		wg.Go(func() {
			c := w.dial(0)
			sent := make(chan struct{}, 1)
			go func() {
				for range 500 {
					c.say("GET /r/", path, " HTTP/1.1\r\nHost: a\r\n\r\n")
					for range rand.IntN(2000) { // a moment
					}
					if rand.IntN(4) == 0 {
						time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
					}
				}
				sent <- struct{}{}
			}()
			for i := range 500 {
				if a := c.hear("GET"); a.status != 200 {
					t.Errorf("%s, answer %d: %+v", path, i, a)
					break
				}
			}
			c.Close()
			<-sent
		})
	}
	wg.Wait()
}
