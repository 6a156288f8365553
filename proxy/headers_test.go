package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/proxy/http1"
)

// toHTTP gives fields in net/http's form.
func toHTTP(fields *http1.Fields) http.Header {
	out := http.Header{}
	for i := range fields.Len() {
		out.Add(fields.At(i).Name, fields.At(i).Value)
	}
	return out
}

func TestPrepareRequest(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      http.Header
		major   int
		want    http.Header
		upgrade string
	}{
		{"end to end fields stay", http.Header{"A": {"1", "2"}, "Trailer": {"X"}, "Proxy-Authorization": {"x"}}, 1,
			http.Header{"A": {"1", "2"}, "Trailer": {"X"}, "Proxy-Authorization": {"x"}}, ""},
		{"forbidden in a trailer", http.Header{"Trailer": {"Host, X", "x-consumer-id,Y", "a b,"}}, 1, http.Header{"Trailer": {"X, Y"}}, ""},
		{"nothing left of Trailer", http.Header{"Trailer": {"Content-Length"}}, 1, http.Header{}, ""},
		{"hop by hop", http.Header{"Connection": {"keep-alive"}, "Keep-Alive": {"5"}, "Proxy-Connection": {"x"},
			"Transfer-Encoding": {"chunked"}, "Proxy": {"evil"}}, 1, http.Header{}, ""},
		{"named by Connection", http.Header{"Connection": {"X-Hop , x-other", "close"}, "X-Hop": {"1"}, "X-Other": {"2"}, "X": {"3"}}, 1,
			http.Header{"X": {"3"}}, ""},
		{"TE", http.Header{"Te": {"gzip, trailers;q=0.5"}, "Connection": {"TE"}}, 1, http.Header{"Te": {"trailers"}}, ""},
		{"named by several Connection lines", http.Header{"Connection": {"X-Hop", "X-Other"}, "A": {"1"}, "X-Hop": {"1"}, "X-Other": {"2"}, "X": {"3"}}, 1,
			http.Header{"A": {"1"}, "X": {"3"}}, ""},
		{"TE without trailers", http.Header{"Te": {"gzip"}}, 1, http.Header{}, ""},
		{"WebSocket", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}}, 1,
			http.Header{"Sec-Websocket-Key": {"k"}}, "websocket"},
		{"upgrade not in Connection", http.Header{"Upgrade": {"websocket"}}, 1, http.Header{}, ""},
		{"h2c", http.Header{"Connection": {"upgrade, http2-settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"x"}}, 1, http.Header{}, ""},
		{"upgrade over HTTP/2", http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}}, 2, http.Header{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := fromHTTP(c.in)
			upgrade := prepareRequest(fields, c.major == 1)
			if diff := cmp.Diff(c.want, toHTTP(fields), cmpopts.EquateEmpty()); diff != "" || upgrade != c.upgrade {
				t.Errorf("upgrade %q, want %q; fields (-want +got):\n%s", upgrade, c.upgrade, diff)
			}
		})
	}
}

func TestForwardedFields(t *testing.T) {
	client := []string{"X-Forwarded-For", "10.9.9.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "said.example",
		"X-Forwarded-Port", "1", "X-Forwarded-Path", "/said", "X-Forwarded-Prefix", "/said", "X-Real-IP", "10.8.8.8",
		"X-Kong-Request-Id", "mine", "Via", "1.0 fred"}
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		path    string
		client  []string
		want    map[string]string
	}{
		{name: "plain", path: "/r/a", want: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "example.com",
			"X-Forwarded-Port": "PORT", "X-Forwarded-Path": "/r/a", "X-Forwarded-Prefix": "/r", "Via": "1.1 kong/3.9.1", "Connection": "keep-alive",
		}},
		{name: "not trusted", path: "/r", client: client, want: map[string]string{
			"X-Forwarded-For": "10.9.9.9, 127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "example.com",
			"X-Forwarded-Port": "PORT", "X-Forwarded-Path": "/r", "X-Forwarded-Prefix": "/r", "Via": "1.0 fred, 1.1 kong/3.9.1",
		}},
		{name: "trusted", trusted: prefixes("127.0.0.0/8"), path: "/r", client: client, want: map[string]string{
			"X-Forwarded-For": "10.9.9.9, 127.0.0.1", "X-Real-Ip": "10.8.8.8", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "said.example",
			"X-Forwarded-Port": "1", "X-Forwarded-Path": "/said", "X-Forwarded-Prefix": "/said",
		}},
		{name: "trusted, nothing said", trusted: prefixes("127.0.0.0/8"), path: "/r", want: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/r",
		}},
		{name: "prefix of nothing", path: "/", client: []string{"X-Forwarded-Prefix", "/said"}, want: map[string]string{"X-Forwarded-Prefix": ""}},
		{name: "not stripped", path: "/keep", want: map[string]string{"X-Forwarded-Prefix": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := make(chan http.Header, 1)
			w := newWorld(t)
			w.config.TrustedIPs = c.trusted
			w.behind(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
			for e := range w.machine.View().All("services") {
				w.route(e.ID, object{"paths": []string{"/"}})
				w.route(e.ID, object{"paths": []string{"/keep"}, "strip_path": false})
			}
			a := w.get(c.path, append([]string{"Host", "Example.com:8000"}, c.client...)...).want(t, 200, "")
			got := <-seen
			_, port, _ := strings.Cut(w.addr(), ":")
			for name, want := range c.want {
				if value := strings.Join(got[name], " | "); value != strings.ReplaceAll(want, "PORT", port) {
					t.Errorf("%s: %q, want %q", name, value, want)
				}
			}
			if id := got.Get("X-Kong-Request-Id"); len(id) != 32 || id != a.Header.Get("X-Kong-Request-Id") {
				t.Errorf("request id %q upstream, %q to the client", id, a.Header.Get("X-Kong-Request-Id"))
			}
		})
	}
}

func TestTrustedProtoIsBelieved(t *testing.T) {
	w := newWorld(t)
	w.config.TrustedIPs = prefixes("127.0.0.1/32")
	w.route("", object{"paths": []string{"/s"}, "protocols": []string{"https"}})
	w.start()
	w.get("/s").want(t, 426, "")
	w.get("/s", "X-Forwarded-Proto", "https").want(t, 503, "no Service")
}

func TestRealIP(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		name, header string
		recursive    bool
		values       []string
		want         string
	}{
		{"no field", "X-Real-Ip", false, nil, "10.0.0.1:80"},
		{"one", "X-Real-Ip", false, []string{"1.2.3.4"}, "1.2.3.4:0"},
		{"with port", "X-Real-Ip", false, []string{"1.2.3.4:99"}, "1.2.3.4:99"},
		{"IPv6", "X-Real-Ip", false, []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"IPv6 with port", "X-Real-Ip", false, []string{"[2001:db8::1]:9"}, "[2001:db8::1]:9"},
		{"mapped", "X-Real-Ip", false, []string{"::ffff:1.2.3.4"}, "1.2.3.4:0"},
		{"garbage", "X-Real-Ip", false, []string{"unknown"}, "10.0.0.1:80"},
		{"last of a list", "X-Forwarded-For", false, []string{"1.1.1.1, 2.2.2.2, 10.0.0.2"}, "10.0.0.2:0"},
		{"recursive", "X-Forwarded-For", true, []string{"1.1.1.1, 2.2.2.2, 10.0.0.2"}, "2.2.2.2:0"},
		{"recursive over lines", "X-Forwarded-For", true, []string{"1.1.1.1, 2.2.2.2", "10.0.0.3", "10.0.0.2"}, "2.2.2.2:0"},
		{"recursive, all trusted", "X-Forwarded-For", true, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"recursive up to garbage", "X-Forwarded-For", true, []string{"1.1.1.1, x, 10.0.0.2"}, "10.0.0.2:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := trust{prefixes: trusted, header: c.header, recursive: c.recursive}
			h := fromHTTP(http.Header{c.header: c.values})
			if got := tr.client(netip.MustParseAddrPort("10.0.0.1:80"), h).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestHeadersSetting(t *testing.T) {
	all := []string{"Server", "Via", "X-Kong-Proxy-Latency", "X-Kong-Upstream-Latency", "X-Kong-Response-Latency",
		"X-Kong-Upstream-Status", "X-Kong-Request-Id"}
	for _, c := range []struct {
		setting                 []string
		proxied, made, upstream string
	}{
		{nil, "Via X-Kong-Proxy-Latency X-Kong-Upstream-Latency X-Kong-Request-Id", "Server X-Kong-Response-Latency X-Kong-Request-Id", "X-Kong-Request-Id"},
		{[]string{"off"}, "", "", "X-Kong-Request-Id"},
		{[]string{"server_tokens"}, "Via", "Server", "X-Kong-Request-Id"},
		{[]string{"latency_tokens"}, "X-Kong-Proxy-Latency X-Kong-Upstream-Latency", "X-Kong-Response-Latency", "X-Kong-Request-Id"},
		{[]string{"x-kong-upstream-status", "via"}, "Via X-Kong-Upstream-Status", "", "X-Kong-Request-Id"},
	} {
		t.Run(strings.Join(c.setting, ","), func(t *testing.T) {
			w := newWorld(t)
			w.config.Headers = c.setting
			w.behind(func(http.ResponseWriter, *http.Request) {})
			for path, want := range map[string]string{"/r": c.proxied, "/none": c.made} {
				var got []string
				a := w.get(path)
				for _, name := range all {
					if value := a.Header.Get(name); value != "" {
						got = append(got, name)
						if strings.HasSuffix(name, "Latency") {
							if ms, err := strconv.Atoi(value); err != nil || ms < 0 || ms > 60000 {
								t.Errorf("%s: %q", name, value)
							}
						}
					}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s: got %v, want %s", path, got, want)
				}
			}
		})
	}
	for _, bad := range []Config{{Headers: []string{"X-Other"}}, {HeadersUpstream: []string{"Via"}}} {
		if _, err := newHeaderPolicy(bad.Headers, bad.HeadersUpstream, ""); !errors.Is(err, ErrConfig) {
			t.Errorf("%v: %v", bad.Headers, err)
		}
	}
}

func TestAnswerFields(t *testing.T) {
	w := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Server", "own/1")
		h.Set("Via", "1.1 inner")
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=5")
		h["Set-Cookie"] = []string{"a=1", "b=2"}
		h["Content-Type"] = nil
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "<html>")
	})
	a := w.get("/r").want(t, 418, "<html>")
	for name, want := range map[string]string{"Server": "own/1", "Via": "1.1 inner, 1.1 kong/3.9.1", "X-Hop": "", "Keep-Alive": "", "Content-Type": ""} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := a.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"a=1", "b=2"}) {
		t.Errorf("Set-Cookie: %q", got)
	}
}

func TestRequestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 10000 {
		id := new(exchange).newRequestID()
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// TestHopByHopAlone: no field is taken for absent.
func TestHopByHopAlone(t *testing.T) {
	for _, name := range []string{"connection", "KEEP-ALIVE", "Proxy-Connection", "transfer-encoding", "Upgrade", "TE", "PROXY"} {
		var h http1.Fields
		h.Add(name, "x")
		prepareRequest(&h, true)
		if h.Len() > 0 {
			t.Errorf("a request has %s", name)
		}
		if h.Add(name, "x"); name == "TE" || name == "PROXY" {
			continue
		}
		if removeHopByHop(&h); h.Len() > 0 {
			t.Errorf("an answer has %s", name)
		}
	}
	var h http1.Fields
	h.Add("trailer", "Content-Length")
	if removeHopByHop(&h); h.Len() > 0 {
		t.Error("a trailer is announced that does not come")
	}
}

func TestHexDigits(t *testing.T) {
	for _, n := range []uint32{0, 0x01234567, 0x89abcdef, 0xfedcba98, 0xffffffff, 0x9a9a9a9a} {
		digits := binary.BigEndian.AppendUint64(nil, hexDigits(n))
		if want := fmt.Sprintf("%08x", n); string(digits) != want {
			t.Errorf("%q, want %q", digits, want)
		}
	}
}

func TestSplitTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/":                "/||false|true",
		"/a?b=c?d":         "/a|b=c?d|true|true",
		"/a?":              "/a||true|true",
		"/a#b?c":           "/a||false|true",
		"http://h/a?b":     "/a|b|true|true",
		"http://h":         "/||false|true",
		"http://h?b":       "/|b|true|true",
		"http://h/a://b/c": "/a://b/c||false|true",
		"*":                "||false|false",
		"host:443":         "||false|false",
		"":                 "||false|false",
	} {
		path, query, hasQuery, ok := splitTarget(target)
		if got := fmt.Sprintf("%s|%s|%t|%t", path, query, hasQuery, ok); got != want {
			t.Errorf("%q: %s, want %s", target, got, want)
		}
	}
}

func FuzzSplitTarget(f *testing.F) {
	for _, s := range []string{"/a?b", "http://h/a?b#c", "*", "//", "http://?", "/?#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query, hasQuery, ok := splitTarget(target)
		if !ok {
			return
		}
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#") || query != "" && !hasQuery {
			t.Fatalf("%q: path %q query %q %t", target, path, query, hasQuery)
		}
	})
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "[::1]:80", "::1", "[", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ap, ok := parseAddr(s); ok && (!ap.Addr().IsValid() || ap.Addr().Zone() != "" || ap.Addr().Is4In6()) {
			t.Fatalf("%q: %v", s, ap)
		}
	})
}
