package config

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1024": 1024, "8k": 8192, "8K": 8192, "1m": 1 << 20, "2M": 2 << 20, "1g": 1 << 30, "3G": 3 << 30, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "k", "-1", "+1", "1.5m", "1kb", "1 k", "8t", "9223372036854775808", "9223372036854775807k", "8589934592g", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is a size of %d", text, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "60": time.Minute, "60s": time.Minute, "1m": time.Minute, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "1h 30m": 90 * time.Minute,
		"1m 30": 90 * time.Second, "1d": 24 * time.Hour, "1w": 7 * 24 * time.Hour, "1M": 30 * 24 * time.Hour, "1y": 365 * 24 * time.Hour, " 5s ": 5 * time.Second,
		"1s 5ms": 1005 * time.Millisecond, "1s5ms": 1005 * time.Millisecond,
	} {
		if got, err := parseTime(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", " ", "s", "-1s", "1.5s", "1x", "1sec", "75s 60s", "30m 1h", "1 5s", "5ms 1", "11y", "99999999999999999999", "9223372036854775807s", "1S"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q is a time of %v", text, got)
		}
	}
}

func TestNginxDefaults(t *testing.T) {
	c, err := loaded(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(proxySettings{
		MaxHead: 64 << 10, BodyBuffer: 8 << 10, Header: time.Minute, Body: time.Minute, Send: time.Minute, Idle: 75 * time.Second, Requests: 10000,
		Pool: 512, PoolRequests: 10000, PoolIdle: time.Minute, Upstream: []string{"X-Kong-Request-Id"},
	}, settingsOf(c)); diff != "" {
		t.Error(diff)
	}
	if c.HeaderBuffers() != (HeaderBuffers{8, 8 << 10}) || c.ProxyAccessLogFormat() != FormatKong || c.AdminAccessLogFormat() != FormatCombined {
		t.Errorf("%+v, %s, %s", c.HeaderBuffers(), c.ProxyAccessLogFormat(), c.AdminAccessLogFormat())
	}
}

// proxySettings is what the getters give.
type proxySettings struct {
	MaxBody, BodyBuffer          int64
	MaxHead                      int
	Header, Body, Send, Idle     time.Duration
	Requests, Pool, PoolRequests int
	PoolIdle                     time.Duration
	Upstream                     []string
}

func settingsOf(c *Config) proxySettings {
	return proxySettings{
		c.ClientMaxBodySize(), c.ClientBodyBufferSize(), c.MaxHeadBytes(), c.ClientHeaderTimeout(), c.ClientBodyTimeout(), c.SendTimeout(), c.KeepaliveTimeout(),
		c.KeepaliveRequests(), c.UpstreamKeepalivePoolSize(), c.UpstreamKeepaliveMaxRequests(), c.UpstreamKeepaliveIdleTimeout(), c.HeadersUpstream(),
	}
}

// TestNginxSettings: what is said for the proxy counts more than what is said for
// all of nginx, whichever layer says it, as in Kong.
func TestNginxSettings(t *testing.T) {
	c, err := loaded(t, "nginx_proxy_client_max_body_size = 10m\nnginx_http_large_client_header_buffers = 4 16k\nnginx_http_client_header_timeout = 5\n",
		[]string{"KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE=1m", "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE=16k", "KONG_NGINX_PROXY_SEND_TIMEOUT=1m 30s",
			"KONG_UPSTREAM_KEEPALIVE_POOL_SIZE=0", "SLUICE_UPSTREAM_KEEPALIVE_IDLE_TIMEOUT=0", "KONG_HEADERS_UPSTREAM=off", "KONG_NGINX_WORKER_PROCESSES=4"},
		"--nginx-http-client-body-timeout", "250ms", "--nginx-proxy-keepalive-requests=7", "--upstream-keepalive-max-requests", "0")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(proxySettings{
		MaxBody: 10 << 20, MaxHead: 64 << 10, BodyBuffer: 16 << 10, Header: 5 * time.Second, Body: 250 * time.Millisecond, Send: 90 * time.Second,
		Idle: 75 * time.Second, Requests: 7, Upstream: []string{"off"},
	}, settingsOf(c)); diff != "" {
		t.Error(diff)
	}
	if notes := strings.Join(c.Notes(), "\n"); !strings.Contains(notes, "not used by Sluice: KONG_NGINX_WORKER_PROCESSES") || strings.Contains(notes, "BODY") {
		t.Errorf("notes: %s", notes)
	}
}

// TestNoKeepalive: nginx's 0 means one request on a connection.
func TestNoKeepalive(t *testing.T) {
	c, err := loaded(t, "nginx_http_keepalive_timeout = 0\nnginx_http_keepalive_requests = 50\n", nil)
	if err != nil || c.KeepaliveTimeout() != 0 || c.KeepaliveRequests() != 1 {
		t.Errorf("%v, %d, %v", c.KeepaliveTimeout(), c.KeepaliveRequests(), err)
	}
}

func TestHeaderBuffers(t *testing.T) {
	for _, text := range []string{"", "8k", "0 8k", "8 0", "x 8k", "8 x", "4 8k 1", "1 1", "4096 1m", "2147483647 16m", "1 9223372036854775807"} {
		if got, err := parseHeaderBuffers(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestLogFormats(t *testing.T) {
	for text, want := range map[string]LogPlace{
		"off": {}, "off json": {}, "/a": {Path: "/a", Format: FormatKong}, "/a  json": {Path: "/a", Format: FormatJSON}, "stderr combined": {Path: "/dev/stderr", Format: FormatCombined},
		"/a kong_log_format": {Path: "/a", Format: FormatKong}, "/a json buffer=32k flush=1m": {Path: "/a", Format: FormatJSON, Ignored: "buffer=32k flush=1m"},
		"/a gzip": {Path: "/a", Format: FormatKong, Ignored: "gzip"},
	} {
		got, err := Find("proxy_access_log").kind.parse(text)
		if got != want || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// TestProxyProtocol: the setting is taken with its flag, and who forgets the other
// half is told.
func TestProxyProtocol(t *testing.T) {
	listen := "0.0.0.0:80 proxy_protocol"
	c, err := loaded(t, "", nil, "--proxy-listen", listen, "--real-ip-header", "Proxy_Protocol", "--trusted-ips", "10.0.0.0/8")
	if err != nil || c.Notes() != nil || !c.ProxyListen()[0].ProxyProtocol {
		t.Errorf("%+v, %q, %v", c.ProxyListen(), c.Notes(), err)
	}
	for _, args := range [][]string{{"--proxy-listen", listen, "--real-ip-header", "proxy_protocol"}, {"--proxy-listen", listen, "--trusted-ips", "10.0.0.0/8"}} {
		c, err := loaded(t, "", nil, args...)
		if err != nil || len(c.Notes()) != 1 || !strings.Contains(c.Notes()[0], "trusted_ips") {
			t.Errorf("%q: %q, %v", args, c.Notes(), err)
		}
	}
}

func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"8k", "1h 30m", "60", "1y1M1w1d1h1m1s1ms", "4 8k", "9223372036854775807g"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseSize(text); err == nil && n < 0 {
			t.Errorf("%q is a size of %d", text, n)
		}
		if d, err := parseTime(text); err == nil && (d < 0 || d > maxTime) {
			t.Errorf("%q is a time of %v", text, d)
		}
		if b, err := parseHeaderBuffers(text); err == nil {
			if all := int64(b.(HeaderBuffers).Number) * b.(HeaderBuffers).Size; all < leastHead || all > mostHead {
				t.Errorf("%q is %d", text, all)
			}
		}
	})
}
