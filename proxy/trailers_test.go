package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bothWays is a world whose routes /1 and /2 lead to a service that speaks
// HTTP/1.1 and to one that speaks HTTP/2, and a client of each version.
type bothWays struct {
	*world
	clients map[string]*http.Client
}

const clearListener = 3 // of secure: both versions, without TLS

func newBothWays(t *testing.T, route object, h http.HandlerFunc) *bothWays {
	w, roots := secure(t)
	for path, protocol := range map[string]string{"/1": "http", "/2": "grpc"} {
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(protocol == "http")
		s.Config.Protocols.SetUnencryptedHTTP2(protocol == "grpc")
		s.Start()
		t.Cleanup(s.Close)
		fields := merged(object{"paths": []string{path}}, route)
		w.route(w.service(s.URL, object{"protocol": protocol, "read_timeout": 20_000}), fields)
	}
	w.start()
	return &bothWays{w, map[string]*http.Client{
		"HTTP/1.1": protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP1(true) }),
		"HTTP/2":   protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
	}}
}

// each runs a test in the four directions.
func (b *bothWays) each(t *testing.T, run func(t *testing.T, client *http.Client, url string)) {
	for _, from := range []string{"HTTP/1.1", "HTTP/2"} {
		for path, to := range map[string]string{"/1": "HTTP/1.1", "/2": "HTTP/2"} {
			t.Run(from+" to "+to, func(t *testing.T) {
				run(t, b.clients[from], "http://"+b.proxy.Addrs()[clearListener].String()+path)
			})
		}
	}
}

// announced gives the names that a message says its trailer will have, before
// the trailer has come.
func announced(trailer http.Header) string {
	var names []string
	for name, values := range trailer {
		if values == nil {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// TestRequestTrailers: a trailer reaches the service, announced as the client has
// announced it, without what has no place in one.
func TestRequestTrailers(t *testing.T) {
	for _, length := range []int64{-1, 4} {
		for _, buffering := range []bool{true, false} {
			t.Run(fmt.Sprint("length ", length, " buffering ", buffering), func(t *testing.T) {
				w := newBothWays(t, object{"request_buffering": buffering}, func(w http.ResponseWriter, r *http.Request) {
					names := announced(r.Trailer)
					body, err := io.ReadAll(r.Body)
					fmt.Fprint(w, names, " ", string(body), " ", r.Trailer, " ", err)
				})
				w.each(t, func(t *testing.T, client *http.Client, url string) {
					if length >= 0 && client == w.clients["HTTP/1.1"] {
						return // HTTP/1.1 has trailers in chunked messages only
					}
					req, err := http.NewRequest("POST", url, io.MultiReader(strings.NewReader("body")))
					if err != nil {
						t.Fatal(err)
					}
					req.ContentLength = length
					req.Trailer = http.Header{"Check": {"9"}, "X-Consumer-Id": {"forged"}}
					got := w.from(client, req)
					if want := "Check body map[Check:[9]] <nil>"; got.body != want {
						t.Errorf("the service saw %q, want %q", got.body, want)
					}
				})
			})
		}
	}
}

// from sends a request with a client of its own.
func (b *bothWays) from(client *http.Client, req *http.Request) *answer {
	b.t.Helper()
	shared := b.client
	defer func() { b.client = shared }()
	b.client = client
	return b.send(req)
}

// TestResponseTrailers: the same for answers, of which both versions take
// unannounced trailers.
func TestResponseTrailers(t *testing.T) {
	w := newBothWays(t, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		if length := r.Header.Get("X-Length"); length != "" && r.ProtoMajor > 1 {
			w.Header().Set("Content-Length", length)
		}
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		fmt.Fprint(w, "body")
		w.Header().Set("Sum", "7")
		w.Header().Set(http.TrailerPrefix+"Other", "8")
		w.Header().Set(http.TrailerPrefix+"X-Consumer-Id", "forged")
	})
	for _, length := range []string{"", "4"} {
		t.Run("length "+length, func(t *testing.T) {
			w.each(t, func(t *testing.T, client *http.Client, url string) {
				req, err := http.NewRequest("GET", url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Length", length)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if names := announced(resp.Trailer); names != "Sum" {
					t.Errorf("announced are %q, want Sum", names)
				}
				body, err := io.ReadAll(resp.Body)
				want := http.Header{"Sum": {"7"}, "Other": {"8"}}
				if string(body) != "body" || err != nil || !cmp.Equal(resp.Trailer, want) {
					t.Errorf("%q, %v, trailer %v, want %v", body, err, resp.Trailer, want)
				}
			})
		})
	}
}
