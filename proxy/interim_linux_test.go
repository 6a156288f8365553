package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// heardInterims gives what comes up to the final answer: the interim statuses
// with their Link, and then the answer.
func (c *faultyClient) heardInterims(method string) (interims []string, final *http.Response) {
	c.t.Helper()
	for {
		resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			c.t.Fatal(err)
		}
		if resp.StatusCode >= 200 {
			return interims, resp
		}
		interims = append(interims, strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Link"))))
		for _, name := range []string{"Connection", "Content-Length", "X-Hop"} {
			if resp.Header.Values(name) != nil {
				c.t.Errorf("%d has %s", resp.StatusCode, name)
			}
		}
	}
}

// interimServices gives the addresses of a service for each version of HTTP
// that gives the same interim answers before its final one.
func interimServices(t testing.TB, w *world, path string, statuses ...int) {
	h1 := rawService(t, func(c net.Conn) {
		request := make([]byte, 4096)
		if _, err := c.Read(request); err != nil {
			return
		}
		for i, status := range statuses {
			fmt.Fprintf(c, "HTTP/1.1 %d X\r\nLink: </%d>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n", status, i)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	})
	h2 := frameService(t, func(s *h2ServiceStream) {
		for i, status := range statuses {
			s.send(false, ":status", fmt.Sprint(status), "Link", fmt.Sprintf("</%d>", i))
		}
		s.say("200", "ok")
	}, nil)
	w.route(w.service(h1, object{"retries": 0}), object{"paths": []string{path + "/1"}})
	w.route(w.service(h2, object{"protocol": "grpc", "retries": 0}), object{"paths": []string{path + "/2"}})
}

// TestInterimAnswers: 102, 103 and those that are not known go through in order,
// from and to both versions; 100 does not, if nobody has asked for it; and there
// is an end to it.
func TestInterimAnswers(t *testing.T) {
	w, roots := secure(t)
	w.start()
	many := slices.Repeat([]int{103}, 8)
	interimServices(t, w, "/some", 100, 103, 102, 100, 103, 199)
	interimServices(t, w, "/many", many...)
	interimServices(t, w, "/more", append(many, 103)...)
	some := "103 </1>|102 </2>|103 </4>|199 </5>"
	eight := "103 </0>|103 </1>|103 </2>|103 </3>|103 </4>|103 </5>|103 </6>|103 </7>"
	clients := map[string]func(t *testing.T, path string) (string, int){
		"HTTP/1.1": func(t *testing.T, path string) (string, int) {
			interims, final := w.dial(0).say("GET ", path, " HTTP/1.1\r\nHost: a\r\n\r\n").heardInterims("GET")
			return strings.Join(interims, "|"), final.StatusCode
		},
		"HTTP/1.0": func(t *testing.T, path string) (string, int) {
			interims, final := w.dial(0).say("GET ", path, " HTTP/1.0\r\nHost: a\r\n\r\n").heardInterims("GET")
			return strings.Join(interims, "|"), final.StatusCode
		},
		"HTTP/2": func(t *testing.T, path string) (string, int) {
			client := protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
			return tracedInterims(t, client, "http://"+w.proxy.Addrs()[clearListener].String()+path)
		},
	}
	for name, ask := range clients {
		for _, service := range []string{"/1", "/2"} {
			for path, want := range map[string]struct {
				interims string
				status   int
			}{"/some": {some, 200}, "/many": {eight, 200}, "/more": {eight, 502}} {
				t.Run(name+path+service, func(t *testing.T) {
					interims, status := ask(t, path+service)
					if name == "HTTP/1.0" {
						want.interims = ""
					}
					if interims != want.interims || status != want.status {
						t.Errorf("%q, then %d; want %q, then %d", interims, status, want.interims, want.status)
					}
				})
			}
		}
	}
}

// tracedInterims is what net/http's client sees.
func tracedInterims(t *testing.T, client *http.Client, url string) (string, int) {
	var interims []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			interims = append(interims, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return strings.Join(interims, "|"), resp.StatusCode
}

// TestEarlyHintsAreEarly: an interim answer reaches the client before the
// service goes on, also while the request's body is on its way.
func TestEarlyHintsAreEarly(t *testing.T) {
	var next atomic.Pointer[chan bool] // closed when the client has the hint
	w := newBothWays(t, nil, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Link", "</a.css>")
		rw.WriteHeader(http.StatusEarlyHints)
		select {
		case <-*next.Load():
		case <-time.After(patience):
			rw.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.Copy(rw, r.Body)
	})
	w.each(t, func(t *testing.T, client *http.Client, url string) {
		for _, streamed := range []bool{false, true} {
			hinted := make(chan bool)
			next.Store(&hinted)
			body, feed := io.Pipe()
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(int, textproto.MIMEHeader) error {
					close(hinted)
					go func() {
						_, _ = io.WriteString(feed, "late")
						feed.Close()
					}()
					return nil
				},
			})
			req, err := http.NewRequestWithContext(ctx, "POST", url, body)
			if !streamed {
				req, err = http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("late"))
				feed.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			w.from(client, req).want(t, 200, "late")
		}
	})
}

// TestContinueIsAskedOfHTTP2: the client is told to go on when the service has
// been asked and says so, a refusal spares it the body, and a service that says
// nothing gets the body after a second.
func TestContinueIsAskedOfHTTP2(t *testing.T) {
	w := newWorld(t).start()
	for path, head := range map[string]func(*h2ServiceStream){
		"/yes": func(s *h2ServiceStream) { s.send(false, ":status", "100") },
		"/no": func(s *h2ServiceStream) {
			for _, f := range s.header.RegularFields() {
				if f.Name == "expect" {
					s.send(true, ":status", "417")
				}
			}
		},
		"/mute": nil,
	} {
		to := frameService(t, head, func(s *h2ServiceStream) { s.say("200", "got "+string(s.body)) })
		w.route(w.service(to, object{"protocol": "grpc"}), object{"paths": []string{path}, "request_buffering": false})
	}
	for path, want := range map[string]struct {
		interims string
		status   int
	}{"/yes": {"100", 200}, "/no": {"", 417}, "/mute": {"100", 200}} {
		for _, expect := range []string{"Expect: 100-continue\r\n", ""} {
			if expect == "" && path == "/no" {
				continue
			}
			t.Run(path+" "+expect, func(t *testing.T) {
				c := w.dial(0).say("POST ", path, " HTTP/1.1\r\nHost: a\r\n", expect, "Content-Length: 5\r\n\r\n")
				if expect == "" {
					c.say("hello")
					want.interims = ""
				}
				var interims []string
				resp, err := http.ReadResponse(c.r, nil)
				if err == nil && resp.StatusCode == 100 {
					interims = append(interims, "100")
					c.say("hello")
					resp, err = http.ReadResponse(c.r, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if got := strings.Join(interims, "|"); got != want.interims || resp.StatusCode != want.status || err != nil ||
					want.status == 200 && string(body) != "got hello" {
					t.Errorf("%q, then %d %q, %v; want %q, then %d", got, resp.StatusCode, body, err, want.interims, want.status)
				}
			})
		}
	}
}
