package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// faultyService answers by the path's last segment: as it should, or with a
// fault of its kind. Every whole answer names its request.
func faultyService(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		kind := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
		id := req.Header.Get("X-Id")
		if kind == "early" { // and the body is left alone
			_, _ = io.WriteString(c, "HTTP/1.1 413 No\r\nConnection: close\r\n"+named(id))
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		switch kind {
		case "ok":
			_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+named(id))
		case "more": // and an answer that nobody has asked for
			_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+named(id)+"HTTP/1.1 200 OK\r\n"+named("nobody"))
		case "garbage":
			_, err = io.WriteString(c, "220 smtp.example.com ESMTP\r\n")
		case "both":
			_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+named(id))
		case "close":
			return
		case "head":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
			return
		case "body":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+id)
			return
		case "stall":
			_, _ = io.Copy(io.Discard, c) // until the proxy gives up
			return
		}
		if err != nil {
			return
		}
	}
}

// named is the rest of an answer whose body is an id.
func named(id string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(id), id) }

// TestFaultsAmongOthers has many clients meet every fault of a service at the
// same time: each whole answer is the one to its request, each fault is told
// apart from an answer, and nothing hangs.
func TestFaultsAmongOthers(t *testing.T) {
	const clients, rounds = 8, 12
	w := newWorld(t)
	patient := w.service(rawService(t, faultyService), object{"read_timeout": 30000})
	w.route(patient, object{"paths": []string{"/s"}})
	hasty := w.service(rawService(t, faultyService), object{"read_timeout": 50})
	w.route(hasty, object{"paths": []string{"/hasty"}})
	w.start()
	faults := []struct {
		path   string
		status int
		cut    bool
	}{
		{"/s/ok", 200, false}, {"/s/more", 200, false}, {"/s/garbage", 502, false}, {"/s/both", 502, false},
		{"/s/close", 502, false}, {"/s/head", 502, false}, {"/s/body", 200, true}, {"/s/early", 413, false},
		{"/hasty/stall", 504, false},
	}
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for round := range rounds {
				for i := range faults {
					f := faults[(i+client)%len(faults)] // not in step with the others
					if fault := askFaulty(w, f.path, fmt.Sprintf("%d-%d-%d", client, round, i), f.status, f.cut); fault != "" {
						t.Errorf("client %d, round %d, %s: %s", client, round, f.path, fault)
					}
				}
			}
		})
	}
	wg.Wait()
}

// askFaulty sends a request with a body and says what is wrong about the
// answer.
func askFaulty(w *world, path, id string, status int, cut bool) string {
	req, err := http.NewRequest("PUT", w.url(path), strings.NewReader("hello"))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Id", id)
	resp, err := w.client.Do(req)
	if err != nil {
		if cut { // it may be cut before its head is sent
			return ""
		}
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode != status:
		return fmt.Sprintf("status %d, want %d: %q", resp.StatusCode, status, body)
	case (err != nil) != cut:
		return fmt.Sprintf("%q, error %v", body, err)
	case status < 500 && string(body) != id:
		return fmt.Sprintf("the answer is to %q, not to %q", body, id)
	}
	return ""
}

// TestClientThatLeavesFreesItsUpstream: whatever the exchange is doing, the
// connection to the service ends when the client's does.
func TestClientThatLeavesFreesItsUpstream(t *testing.T) {
	for _, c := range []struct {
		name, request string
		// serve says with a true that the client may go; its return is the end
		// of the connection as the service sees it.
		serve func(c net.Conn, r *bufio.Reader, arrived chan<- bool)
	}{
		{"before the answer", "GET /r HTTP/1.1\r\nHost: x\r\n\r\n", func(c net.Conn, r *bufio.Reader, arrived chan<- bool) {
			_, _ = http.ReadRequest(r)
			arrived <- true
		}},
		{"after the head", "GET /r HTTP/1.1\r\nHost: x\r\n\r\n", func(c net.Conn, r *bufio.Reader, arrived chan<- bool) {
			_, _ = http.ReadRequest(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			arrived <- true
		}},
		{"within its own body", "POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhello", func(c net.Conn, r *bufio.Reader, arrived chan<- bool) {
			req, err := http.ReadRequest(r)
			if err == nil {
				_, _ = io.ReadFull(req.Body, make([]byte, 5))
			}
			arrived <- true
		}},
		{"within its own chunks", "POST /r HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", func(c net.Conn, r *bufio.Reader, arrived chan<- bool) {
			req, err := http.ReadRequest(r)
			if err == nil {
				_, _ = io.ReadFull(req.Body, make([]byte, 5))
			}
			arrived <- true
		}},
	} {
		for _, how := range []string{"closes", "resets"} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				arrived, released := make(chan bool, 1), make(chan bool, 1)
				w := newWorld(t)
				service := w.service(rawService(t, func(conn net.Conn) {
					r := bufio.NewReader(conn)
					c.serve(conn, r, arrived)
					_, _ = io.Copy(io.Discard, r) // ends with the connection
					released <- true
				}), nil)
				w.route(service, object{"paths": []string{"/r"}})
				w.start()
				conn, err := net.Dial("tcp", w.addr())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, c.request); err != nil {
					t.Fatal(err)
				}
				<-arrived
				if how == "resets" {
					if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
						t.Fatal(err)
					}
				}
				conn.Close()
				select {
				case <-released:
				case <-time.After(30 * time.Second): // the service's timeouts are 60 s
					t.Fatal("the service's connection is held")
				}
				eventually(t, "no connection", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
			})
		}
	}
}

// TestSlowClientsHoldNobody: clients that send their heads byte by byte, that
// send nothing, and that do not read, are many, and others are served.
func TestSlowClientsHoldNobody(t *testing.T) {
	const each = 40
	w := newWorld(t)
	large := strings.Repeat("x", 1<<20)
	w.behind(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, _ = io.WriteString(rw, large)
			return
		}
		fmt.Fprint(rw, "fine")
	})
	var wg sync.WaitGroup
	stop := make(chan bool)
	dial := func(first string) net.Conn {
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var slow []net.Conn
	for range each {
		slow = append(slow, dial(""), dial("GET /r HTTP/1.1\r\nHost: x\r\nX-Slow: "), dial("GET /r/large HTTP/1.1\r\nHost: x\r\n\r\n"),
			dial("POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"))
	}
	wg.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				for i := 1; i < len(slow); i += 4 {
					_, _ = slow[i].Write([]byte("a"))
				}
			}
		}
	})
	for range 50 {
		w.get("/r").want(t, 200, "fine")
	}
	close(stop)
	wg.Wait()
	for _, c := range slow {
		c.Close()
	}
}

// TestDribblingHeadIsCut: the time for a head does not begin anew with each
// byte of it.
func TestDribblingHeadIsCut(t *testing.T) {
	w := newWorld(t)
	w.config.ReadHeaderTimeout = 100 * time.Millisecond
	w.behind(echo)
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /r HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ended := make(chan bool)
	wg.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-ended:
				tick.Stop()
				return
			case <-tick.C:
				_, _ = c.Write([]byte("a")) // it fails once the proxy has cut it
			}
		}
	})
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err = io.Copy(io.Discard, c)
	close(ended)
	wg.Wait()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the head may dribble for ever")
	}
}
