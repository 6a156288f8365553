package proxy

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestUnannouncedRequestTrailers: HTTP/1.1 need not announce a trailer. (From
// HTTP/2 x/net's server takes only announced ones.)
func TestUnannouncedRequestTrailers(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, string(body), " ", r.Trailer)
	})
	h2 := frameService(t, nil, func(s *h2ServiceStream) { s.say("200", string(s.body)+" "+s.trailer) })
	w.route(w.service(h2, object{"protocol": "grpc"}), object{"paths": []string{"/2"}})
	for path, want := range map[string]string{"/r": "body map[Check:[9 10]]", "/2": "body check=9 check=10 "} {
		c := w.dial(0)
		c.say("POST ", path, " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			"4\r\nbody\r\n0\r\nCheck: 9\r\nHost: b\r\nCheck: 10\r\n\r\n")
		if a := c.hear("POST"); a.body != want || a.close || a.err != nil {
			t.Errorf("%s: the service saw %q, want %q; close %v, %v", path, a.body, want, a.close, a.err)
		}
	}
}
