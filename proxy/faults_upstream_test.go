//go:build linux

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// badServices are services that do one thing wrong, and what the client is to
// see of it: a status, or 0 for an answer that is cut after its head.
var badServices = map[string]struct {
	serve  func(net.Conn, *bufio.Reader)
	status int
	body   string
}{
	"stalls before the head": {stall(""), 504, ""},
	"stalls in the head":     {stall("HTTP/1.1 200 OK\r\nA: "), 504, ""},
	"stalls in the body":     {stall("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), 0, "abc"},
	"stalls in a size":       {stall("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1"), 0, "abc"},
	"stalls in a chunk":      {stall("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), 0, "abc"},
	"stalls in the trailer":  {stall("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n"), 0, "abc"},

	"closes before the head":  {says(""), 502, ""},
	"closes in the head":      {says("HTTP/1.1 200 OK\r\nA: "), 502, ""},
	"closes in the body":      {says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), 0, "abc"},
	"closes in a size":        {says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1"), 0, "abc"},
	"closes in a chunk":       {says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), 0, "abc"},
	"closes after an interim": {says("HTTP/1.1 103 Early Hints\r\n\r\n"), 502, ""},

	"resets before the head": {resets(""), 502, ""},
	"resets in the head":     {resets("HTTP/1.1 200"), 502, ""},

	"garbage":            {says("220 smtp.example.com ESMTP\r\n"), 502, ""},
	"zeros":              {says(strings.Repeat("\x00", 1000)), 502, ""},
	"an endless head":    {says("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 200<<10)), 502, ""},
	"a bad size":         {says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), 0, "abc"},
	"endless interims":   {says(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)), 502, ""},
	"switches unasked":   {says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), 502, ""},
	"more than declared": {says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"), 200, "abc"},
	"half-closes and answers": {func(c net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nabc")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}, 200, "abc"},
}

func says(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(c, text) }
}

func stall(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, r) // until the proxy gives up
	}
}

func resets(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

// withGood puts a route /good next to /bad, whose service is told as far as the
// head of each request.
func withGood(w *world, bad func(net.Conn, *bufio.Reader)) {
	good := rawService(w.t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			text := req.URL.Path + string(body)
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text); err != nil {
				return
			}
		}
	})
	to := rawService(w.t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := readHead(r); err == nil {
			bad(c, r)
		}
	})
	quick := object{"read_timeout": 500, "write_timeout": 500, "retries": 0} // more than a busy machine takes to answer
	w.route(w.service(to, quick), object{"paths": []string{"/bad"}})
	w.route(w.service(good, nil), object{"paths": []string{"/good"}})
	w.route(w.service("http://127.0.0.1:1", quick), object{"paths": []string{"/refused"}})
	w.route(w.service("http://no-such-name.invalid:80", quick), object{"paths": []string{"/unknown"}})
}

// TestServicesThatGoWrong: the answer is Kong's or is cut where the client can
// see it, and the next request on the connection gets its own.
func TestServicesThatGoWrong(t *testing.T) {
	for name, c := range badServices {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			withGood(w, c.serve)
			w.start()
			for i := range 3 {
				client := w.dial(0).say("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n", fmt.Sprintf("GET /good/%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
				a := client.hear("GET")
				switch {
				case c.status == 0 && (a.status != 200 || !strings.HasPrefix(c.body, a.body) || a.err == nil):
					t.Fatalf("%+v, want a cut %q", a, c.body)
				case c.status != 0 && (a.status != c.status || a.err != nil || !strings.Contains(a.body, c.body)):
					t.Fatalf("%+v, want %d", a, c.status)
				case c.status == 0:
					if rest := client.ends(); rest != "" {
						t.Fatalf("after a cut answer: %q", rest)
					}
				default:
					if next := client.hear("GET"); next.body != fmt.Sprintf("/%d", i) {
						t.Fatalf("the next answer is %+v", next)
					}
				}
			}
			w.awaitInFlight(0)
		})
	}
}

// TestUnreachableServices is the same for services that are not there.
func TestUnreachableServices(t *testing.T) {
	w := newWorld(t)
	withGood(w, stall(""))
	w.start()
	client := w.dial(0)
	for range 20 {
		for path, status := range map[string]int{"/refused": 502, "/unknown": 503} {
			client.say("GET ", path, " HTTP/1.1\r\nHost: a\r\n\r\nGET /good/x HTTP/1.1\r\nHost: a\r\n\r\n")
			if a := client.hear("GET"); a.status != status {
				t.Fatalf("%s: %+v", path, a)
			}
			if a := client.hear("GET"); a.body != "/x" {
				t.Fatalf("after %s: %+v", path, a)
			}
		}
	}
}

// TestUploadsToServicesThatGoWrong: the client of an upload gets the answer or
// Kong's error, whatever the service does with the body.
func TestUploadsToServicesThatGoWrong(t *testing.T) {
	const early = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
	for name, c := range map[string]struct {
		serve    func(net.Conn, *bufio.Reader)
		statuses string
	}{
		"never reads": {stallUnread, "504"},
		"answers early and reads on": {func(c net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(c, early)
			_, _ = io.Copy(io.Discard, r)
		}, "413"},
		"answers early and ends": {func(c net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(c, early)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r)
		}, "413"},
		// What it said may be lost with its reset.
		"answers early and closes": {says(early), "413 502"},
		"reads some and resets": {func(c net.Conn, r *bufio.Reader) {
			_, _ = io.CopyN(io.Discard, r, 100)
			_ = c.(*net.TCPConn).SetLinger(0)
		}, "502"},
		"closes at once": {says(""), "502"},
	} {
		for _, size := range []int{100, 60 << 10, 10 << 20} {
			if name == "never reads" && size < 10<<20 {
				continue // fits into the sockets: that is a stall before the head
			}
			t.Run(fmt.Sprintf("%s, %d", name, size), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				withGood(w, c.serve)
				w.start()
				for range 3 {
					client := w.dial(0)
					var wg sync.WaitGroup
					wg.Go(func() {
						client.say(fmt.Sprintf("POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size), strings.Repeat("x", size))
					})
					if a := client.hear("POST"); !strings.Contains(c.statuses, fmt.Sprint(a.status)) || a.status == 0 {
						t.Errorf("%+v", a)
					}
					client.Close()
					wg.Wait()
				}
				w.awaitInFlight(0)
			})
		}
	}
}

func stallUnread(c net.Conn, _ *bufio.Reader) { awaitEnd(c) }

// TestOwnAnswers: interleaved requests over few connections, with services that
// close, answer slowly, early, in pieces and in error, always get what is theirs.
func TestOwnAnswers(t *testing.T) {
	ownAnswers(t, func(w *world) *faultyClient { return w.dial(0) }, newWorld(t))
}

func TestOwnAnswersOverTLS(t *testing.T) {
	w, roots := secure(t)
	ownAnswers(t, func(w *world) *faultyClient { return w.dialTLS(1, roots) }, w)
}

func ownAnswers(t *testing.T, dial func(*world) *faultyClient, w *world) {
	const clients, rounds = 8, 40
	to := rawService(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := readHead(r)
			if err != nil {
				return
			}
			if !whimsical(c, req) {
				return
			}
		}
	})
	w.start()
	service := w.service(to, object{"read_timeout": 2000})
	w.route(service, object{"paths": []string{"/r"}})
	w.route(service, object{"paths": []string{"/streamed"}, "request_buffering": false})
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			var c *faultyClient
			for round := range rounds {
				if c == nil {
					c = dial(w)
				}
				var ids, methods []string
				var all strings.Builder
				for i := range 1 + rng.IntN(6) {
					id := fmt.Sprintf("%d-%d-%d", n, round, i)
					method, text := randomRequest(rng, id)
					ids, methods = append(ids, id), append(methods, method)
					all.WriteString(text)
				}
				done := make(chan struct{})
				go func(c *faultyClient) { c.say(all.String()); close(done) }(c)
				for i, id := range ids {
					a := c.hear(methods[i])
					if a.status == 200 && a.err == nil && (methods[i] != "HEAD" && !strings.HasPrefix(a.body, "<"+id+">") || a.header.Get("Id") != id) {
						t.Errorf("request %s got %q of %s", id, a.body[:min(len(a.body), 40)], a.header.Get("Id"))
					}
					if a.err != nil || a.close {
						c.Close()
						<-done
						c = nil
						break
					}
				}
				if c != nil {
					<-done
				}
			}
		})
	}
	wg.Wait()
	w.awaitInFlight(0)
}

// randomRequest gives a request that names itself in path, field and body.
func randomRequest(rng *rand.Rand, id string) (method, text string) {
	path := []string{"/r/", "/streamed/"}[rng.IntN(2)] + id
	size := []int{0, 1, 1000, 20_000, 70_000}[rng.IntN(5)]
	body := strings.Repeat(id+" ", size/(len(id)+1))
	switch rng.IntN(4) {
	case 0:
		return "GET", "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"
	case 1:
		return "HEAD", "HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"
	case 2:
		return "POST", fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	text = "PUT " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for len(body) > 0 {
		n := min(len(body), 1+rng.IntN(9000))
		text += fmt.Sprintf("%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return "PUT", text + "0\r\n\r\n"
}

// whimsical answers with the request's own id, or not at all. False: the
// connection is over.
func whimsical(c net.Conn, req *http.Request) bool {
	id := strings.TrimPrefix(req.URL.Path, "/")
	whim := rand.IntN(20)
	if whim == 0 {
		return false
	}
	if whim > 2 { // otherwise it answers early
		body, err := io.ReadAll(req.Body)
		if err != nil || len(body) > 0 && !strings.HasPrefix(string(body), id+" ") {
			return false
		}
	}
	text := "<" + id + ">" + strings.Repeat("x", []int{0, 10, 5000, 50_000, 200_000}[rand.IntN(5)])
	head := "HTTP/1.1 200 OK\r\nId: " + id + "\r\n"
	switch {
	case req.Method == "HEAD":
		_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", head, len(text))
	case whim < 8:
		_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n", head)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(40_000))
			_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	case whim == 8: // cut
		_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(text)+1, text)
		return false
	case whim == 9:
		_, _ = io.WriteString(c, head+"\r\n"+text)
		return false
	case whim == 10:
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		fallthrough
	default:
		_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(text), text)
	}
	return whim > 2 // the rest of a body is in the way
}
