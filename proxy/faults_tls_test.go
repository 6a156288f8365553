//go:build linux

package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// flooded is a world of one loop, so that whoever stops it stops all. Others ask
// all the while, over plain and TLS connections that they keep.
func flooded(t *testing.T, change func(*Config), flood func(w *world, config *tls.Config)) {
	w, roots := secure(t)
	w.config.Loops = 1
	if change != nil {
		change(&w.config)
	}
	w.behind(echo)
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i, c := range []*faultyClient{w.dial(0), w.dialTLS(1, roots), w.dialTLS(2, roots)} {
		others.Go(func() {
			for n := 0; ; n++ {
				if a := c.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET"); a.status != 200 || a.err != nil {
					t.Errorf("client %d, request %d: %+v", i, n, a)
					break
				}
				select {
				case <-stop:
					c.Close()
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	flood(w, &tls.Config{RootCAs: roots, ServerName: "example.com"})
	close(stop)
	others.Wait()
	w.awaitInFlight(0)
	eventually(t, "no connection", func() bool { return w.proxy.Stats().ConnectionsActive == 0 })
}

// atOnce runs several at a time.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// bothVersions are TLS 1.2, with the only ciphers that rawTLS knows of it, and 1.3.
func bothVersions(config *tls.Config) []*tls.Config {
	old := config.Clone()
	old.MaxVersion = tls.VersionTLS12
	old.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	return []*tls.Config{old, config}
}

// TestKeyUpdateFlood: thousands of new keys are taken as long as something comes
// between them, and nobody's memory or loop is.
func TestKeyUpdateFlood(t *testing.T) {
	flooded(t, nil, func(w *world, config *tls.Config) {
		const head = "GET /r HTTP/1.1\r\nHost: a\r\nX: "
		atOnce(4, func(i int) {
			r, c := w.dialRaw(1+i%2, config)
			r.data(head, len(head))
			for range 3000 {
				r.update(false).data("x", 1)
			}
			if err := r.data("\r\n\r\n", 4).flush(); err != nil {
				t.Error(err)
			}
			if a := c.hear("GET"); a.status != 200 {
				t.Errorf("a request in very many keys: %+v", a)
			}
			c.socket().(*recordingConn).Close()
		})
		// One that asks for as many keys as it sends, and reads none.
		atOnce(4, func(i int) {
			r, c := w.dialRaw(1, config)
			r.data(head, len(head))
			for n := range 3000 {
				if r.update(true).data("x", 1); n%100 == 0 && r.flush() != nil {
					break
				}
			}
			_ = r.flush()
			c.socket().(*recordingConn).Close()
		})
		// Nothing but new keys is the end.
		r, c := w.dialRaw(1, config)
		for range 3000 {
			r.update(false)
		}
		_ = r.flush()
		c.ended()
	})
}

// TestRenegotiation: a client that begins another handshake, or asks for one, is
// cut; so is one that dribbles half a message or sends other nonsense after the
// handshake.
func TestRenegotiation(t *testing.T) {
	hello := clientHello(t, &tls.Config{ServerName: "example.com", MaxVersion: tls.VersionTLS12})[5:] // without the record's head
	flooded(t, func(c *Config) { c.IdleTimeout, c.ReadHeaderTimeout = time.Second, time.Second }, func(w *world, config *tls.Config) {
		for _, config := range bothVersions(config) {
			for name, say := range map[string]func(*rawTLS){
				"another hello":    func(r *rawTLS) { r.add(recordHandshake, hello) },
				"very many hellos": func(r *rawTLS) { r.add(recordHandshake, bytes.Repeat(hello, 15_000/len(hello))) },
				"a hello request":  func(r *rawTLS) { r.add(recordHandshake, []byte{0, 0, 0, 0}) },
				"half a message":   func(r *rawTLS) { r.add(recordHandshake, []byte{1, 0, 0xff, 0, 1}) },
				"a huge message":   func(r *rawTLS) { r.add(recordHandshake, []byte{1, 0xff, 0xff, 0xff, 1}) },
				"a dribbled message": func(r *rawTLS) {
					r.add(recordHandshake, []byte{1, 0, 0xff, 0})
					for range 1000 {
						r.add(recordHandshake, []byte{1})
					}
				},
				"within a request": func(r *rawTLS) { r.data("GET /r HTTP", 3).add(recordHandshake, hello) },
				"empty records": func(r *rawTLS) {
					for range 1000 {
						r.add(recordData, nil)
					}
				},
				"warnings": func(r *rawTLS) {
					for range 1000 {
						r.add(recordAlert, []byte{1, 90}) // user_canceled
					}
				},
				"an unknown record": func(r *rawTLS) { r.add(99, []byte("what")) },
				"a forged record": func(r *rawTLS) {
					r.data("GET /r HTTP/1.1\r\nHost: a\r\n\r\n", 99)
					r.out[len(r.out)-1] ^= 1
				},
			} {
				atOnce(5, func(int) {
					r, c := w.dialRaw(1, config)
					say(r)
					_ = r.flush()
					if n, _ := io.Copy(io.Discard, c.r); n != 0 { // whatever the end is
						t.Errorf("%s: %d bytes of an answer", name, n)
					}
					c.Close()
				})
			}
		}
	})
}

// TestTinyRecords: requests whose every byte is a record of its own are served.
func TestTinyRecords(t *testing.T) {
	body := strings.Repeat("0123456789", 200)
	request := "POST /r HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000) + "\r\n"
	requests := []string{
		request + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		request + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
	}
	flooded(t, nil, func(w *world, config *tls.Config) {
		for _, config := range bothVersions(config) {
			atOnce(8, func(i int) {
				r, c := w.dialRaw(1+i%2, config)
				for range 3 {
					if err := r.data(requests[i/2%2], 1).flush(); err != nil {
						t.Error(err)
						return
					}
					if a := c.hear("POST"); a.status != 200 || !strings.HasSuffix(a.body, body) {
						t.Errorf("%+v", a)
					}
				}
				c.socket().(*recordingConn).Close()
			})
		}
	})
}

// clientHello gives the first record of a client.
func clientHello(t *testing.T, config *tls.Config) []byte {
	near, far := net.Pipe()
	defer far.Close()
	go func() { _ = tls.Client(near, config).Handshake(); near.Close() }()
	record := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(far, record, 5)
	if err == nil {
		_, err = io.ReadFull(far, record[n:5+int(record[3])<<8+int(record[4])])
	}
	if err != nil {
		t.Fatal(err)
	}
	return record[:5+int(record[3])<<8+int(record[4])]
}

// TestHandshakesThatDribble: very many that come byte by byte, stop half-way, or
// are no handshakes, are cut in the end.
func TestHandshakesThatDribble(t *testing.T) {
	hello := string(clientHello(t, &tls.Config{ServerName: "example.com"}))
	flooded(t, func(c *Config) { c.ReadHeaderTimeout = time.Second }, func(w *world, _ *tls.Config) {
		atOnce(150, func(i int) {
			c := w.dial(1 + i%2)
			switch i % 5 {
			case 0: // byte by byte
				for at := range hello {
					if _, err := io.WriteString(c.Conn, hello[at:at+1]); err != nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
			case 1:
				c.say(hello[:len(hello)/2])
			case 2: // and then nothing
				c.say(hello)
			case 3:
				c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			case 4:
				c.say(hello[:5], strings.Repeat("\xff", len(hello)-5))
			}
			c.ended()
		})
	})
}

// keptSession has sessions as they were made, for tests to change.
type keptSession struct{ state *tls.ClientSessionState }

func (k *keptSession) Get(string) (*tls.ClientSessionState, bool)  { return k.state, k.state != nil }
func (k *keptSession) Put(_ string, state *tls.ClientSessionState) { k.state = state }

// TestTicketsOfGarbage: a ticket that is none costs its client a full handshake,
// and nothing more.
func TestTicketsOfGarbage(t *testing.T) {
	flooded(t, func(c *Config) { c.SessionTimeout = time.Hour }, func(w *world, config *tls.Config) {
		for _, config := range bothVersions(config) {
			dial := func(kept *keptSession) (resumed bool) {
				config := config.Clone()
				config.ClientSessionCache = kept
				c, err := tls.Dial("tcp", w.proxy.Addrs()[1].String(), config)
				if err != nil {
					t.Error(err)
					return false
				}
				defer c.Close()
				if _, err := askOver(c); err != nil {
					t.Error(err)
				}
				return c.ConnectionState().DidResume
			}
			var first keptSession
			if dial(&first) || first.state == nil {
				t.Fatal("no session")
			}
			ticket, state, err := first.state.ResumptionState()
			if err != nil {
				t.Fatal(err)
			}
			if good, err := tls.NewResumptionState(ticket, state); err != nil || !dial(&keptSession{good}) {
				t.Fatalf("a sound ticket is not taken: %v", err)
			}
			coded, err := state.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			flipped := bytes.Clone(ticket)
			flipped[len(flipped)/2] ^= 1
			garbage := [][]byte{flipped, ticket[:len(ticket)-1], append(bytes.Clone(ticket), 0), {0}, make([]byte, 16), make([]byte, 100), make([]byte, 8000)}
			atOnce(5*len(garbage), func(i int) {
				own, err := tls.ParseSessionState(coded) // it is written to
				if err != nil {
					t.Error(err)
					return
				}
				bad, err := tls.NewResumptionState(garbage[i%len(garbage)], own)
				if err != nil {
					t.Error(err)
				} else if dial(&keptSession{bad}) {
					t.Errorf("a session is resumed by garbage %d", i%len(garbage))
				}
			})
		}
	})
}

// TestNoCloseNotify: a client that was answered for the last time is left soon,
// whether it says goodbye, only closes, or does nothing at all.
func TestNoCloseNotify(t *testing.T) {
	flooded(t, nil, func(w *world, config *tls.Config) {
		atOnce(30, func(i int) {
			r, c := w.dialRaw(1, bothVersions(config)[i%2])
			if err := r.data("GET /r HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 99).flush(); err != nil {
				t.Error(err)
			}
			if a := c.hear("GET"); a.status != 200 {
				t.Errorf("%+v", a)
			}
			tcp := r.conn.(*net.TCPConn)
			switch i % 3 {
			case 0: // nothing: the proxy closes
				c.ended()
			case 1:
				_ = tcp.CloseWrite()
				c.ended()
			case 2:
				tcp.Close()
			}
			if i%3 < 2 && !awaitEnd(tcp) {
				t.Error("the connection is held")
			}
		})
	})
}

// TestEndBehindABody: a request counts although the client's goodbye, or a part of
// it, comes in one segment with the end of its body.
func TestEndBehindABody(t *testing.T) {
	w, roots := secure(t)
	w.behind(echo)
	w.route(serviceID(w), object{"paths": []string{"/s"}, "request_buffering": false})
	body := strings.Repeat("0123456789", 3000)
	for version, config := range bothVersions(&tls.Config{RootCAs: roots, ServerName: "example.com"}) {
		for _, path := range []string{"/r", "/s"} {
			for _, left := range []int{0, 1, 10, 20} { // bytes of the goodbye that come later
				r, c := w.dialRaw(1, config)
				r.data(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", path, len(body)), 99)
				if err := r.flush(); err != nil {
					t.Fatal(err)
				}
				w.awaitInFlight(1)
				r.data(body, 10_000).add(recordAlert, []byte{1, 0})
				rest := r.out[len(r.out)-left:]
				r.out = r.out[:len(r.out)-left]
				if err := r.flush(); err != nil {
					t.Fatal(err)
				}
				// The goodbye itself is no reason to go without the answer: only the
				// end of the connection is.
				if a := c.hear("POST"); a.status != 200 || !strings.HasSuffix(a.body, body) {
					t.Errorf("version %d, %s, %d bytes left: %d, %d bytes, %v", version, path, left, a.status, len(a.body), a.err)
				}
				_, _ = r.conn.Write(rest)
				r.conn.Close()
				w.awaitInFlight(0)
			}
		}
	}
}

// TestALPNNonsense: whatever protocols a client names, it is refused or speaks
// HTTP, and one that breaks its word is cut.
func TestALPNNonsense(t *testing.T) {
	long := strings.Repeat("x", 255)
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("proto-%d", i))
	}
	offers := map[string][]string{
		"unknown": {"nonsense"}, "very long": {long}, "very many": many, "known among many": append(many[:len(many):len(many)], "http/1.1"),
		"twice": {"http/1.1", "http/1.1"}, "other cases": {"HTTP/1.1", "H2"}, "old": {"http/1.0", "spdy/3"}, "zeros": {"\x00"}, "both": {"nonsense", "h2", "http/1.1"},
	}
	flooded(t, func(c *Config) { c.ReadHeaderTimeout, c.IdleTimeout = 2*time.Second, 2*time.Second }, func(w *world, config *tls.Config) {
		for name, offer := range offers {
			for listener := 1; listener <= 2; listener++ {
				config := config.Clone()
				config.NextProtos = offer
				c, err := tls.Dial("tcp", w.proxy.Addrs()[listener].String(), config)
				if err != nil {
					continue // refused
				}
				f := w.faulty(c)
				if c.ConnectionState().NegotiatedProtocol == "h2" {
					f.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").ended()
				} else if a := f.say("GET /r HTTP/1.1\r\nHost: a\r\n\r\n").hear("GET"); a.status != 200 {
					t.Errorf("%s, listener %d: %+v", name, listener, a)
				}
				f.Close()
			}
		}
		// HTTP/2 on a connection that is for HTTP/1.1.
		one := config.Clone()
		one.NextProtos = []string{"http/1.1"}
		for listener := 1; listener <= 2; listener++ {
			c, err := tls.Dial("tcp", w.proxy.Addrs()[listener].String(), one)
			if err != nil {
				t.Fatal(err)
			}
			if said := w.faulty(c).say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").ends(); strings.Contains(said, " 200 ") {
				t.Errorf("%q", said)
			}
		}
		alpnBrokenHellos(t, w)
	})
}

// alpnBrokenHellos sends hellos whose lists of protocols are not well formed.
func alpnBrokenHellos(t *testing.T, w *world) {
	hello := clientHello(t, &tls.Config{ServerName: "example.com", NextProtos: []string{"nonsense"}})
	at := bytes.Index(hello, []byte("\x08nonsense"))
	if at < 0 {
		t.Fatal("no list in the hello")
	}
	atOnce(20, func(i int) {
		broken := bytes.Clone(hello)
		switch i % 4 {
		case 0:
			broken[at] = 0 // an empty name
		case 1:
			broken[at] = 255 // longer than the list
		case 2:
			broken[at-1] = 0 // an empty list
		case 3:
			broken[at-1] = 200 // longer than the extension
		}
		c := w.dial(1 + i%2)
		c.say(string(broken)).ended()
	})
}
