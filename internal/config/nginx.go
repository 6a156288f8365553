package config

import (
	"math"
	"time"
)

// The directives of nginx that have a meaning here, under the two names that Kong
// gives them: nginx_http_ for all of nginx, and nginx_proxy_ for the proxy, which
// is stronger.
const (
	prefixHTTP  = "nginx_http_"
	prefixProxy = "nginx_proxy_"
)

// nginxSettings are the rows of these directives. Defaults are Kong's, or nginx's
// where Kong has none; only the head of a request may be twice as large.
func nginxSettings() []*Setting {
	var rows []*Setting
	add := func(directive, preset string, k kind, help string) {
		rows = append(rows,
			&Setting{Name: prefixHTTP + directive, Kong: true, kind: k, Default: preset, Help: help},
			&Setting{Name: prefixProxy + directive, Kong: true, kind: orUnset(k), Help: "the same under Kong's other name for it; counts more than " + prefixHTTP + directive})
	}
	add("client_max_body_size", "0", sizeKind(0), "largest request body, more is answered with 413; 0: no bound")
	add("client_body_buffer_size", "8k", sizeKind(1), "how much of a request's body is kept in memory at a time")
	add("client_header_timeout", "60s", timeKind(false), "time for a client to send a whole request head")
	add("client_body_timeout", "60s", timeKind(false), "time between two reads of a request's body")
	add("send_timeout", "60s", timeKind(false), "time between two writes of an answer")
	add("keepalive_timeout", "75s", timeKind(true), "how long a connection waits for its next request; 0: none is kept")
	add("keepalive_requests", "10000", countKind(1, math.MaxInt32), "requests on one connection, which is closed after them")
	add("large_client_header_buffers", "8 8k", kind{name: "number size", parse: parseHeaderBuffers},
		"bound of a request's head: number times size")
	return rows
}

// upstreamSettings are the rows about connections to services.
func upstreamSettings() []*Setting {
	return []*Setting{
		{Name: "headers_upstream", Kong: true, kind: kind{name: "list", list: true, parse: parseHeadersUpstream}, Default: "X-Kong-Request-Id",
			Help: "headers of our own in requests to services, by commas; off for none"},
		{Name: "upstream_keepalive_pool_size", Kong: true, kind: countKind(0, math.MaxInt32), Default: "512",
			Help: "idle connections kept for each service's address; 0: none"},
		{Name: "upstream_keepalive_max_requests", Kong: true, kind: countKind(0, math.MaxInt32), Default: "10000",
			Help: "requests on one connection to a service; 0: no bound"},
		{Name: "upstream_keepalive_idle_timeout", Kong: true, kind: timeKind(true), Default: "60",
			Help: "how long an idle connection to a service is kept, in seconds or with a unit; 0: until the service closes it"},
	}
}

// orUnset lets a setting be empty.
func orUnset(k kind) kind {
	parse := k.parse
	k.parse = func(text string) (any, error) {
		if text == "" {
			return nil, nil
		}
		return parse(text)
	}
	return k
}

// directive is the value of one of nginx's directives for the proxy.
func directive[T any](c *Config, name string) T {
	if v, ok := c.values[prefixProxy+name].parsed.(T); ok {
		return v
	}
	return value[T](c, prefixHTTP+name)
}

// ClientMaxBodySize bounds a request's body, in bytes; 0: no bound.
func (c *Config) ClientMaxBodySize() int64 { return directive[int64](c, "client_max_body_size") }

// ClientBodyBufferSize is how much of a request's body is kept in memory, in
// bytes.
func (c *Config) ClientBodyBufferSize() int64 { return directive[int64](c, "client_body_buffer_size") }

// ClientHeaderTimeout is for a whole head, ClientBodyTimeout between two reads of
// a body, SendTimeout between two writes of an answer. All are above 0.
func (c *Config) ClientHeaderTimeout() time.Duration {
	return directive[time.Duration](c, "client_header_timeout")
}

// ClientBodyTimeout: see ClientHeaderTimeout.
func (c *Config) ClientBodyTimeout() time.Duration {
	return directive[time.Duration](c, "client_body_timeout")
}

// SendTimeout: see ClientHeaderTimeout.
func (c *Config) SendTimeout() time.Duration { return directive[time.Duration](c, "send_timeout") }

// KeepaliveTimeout is how long a client's connection may be idle; 0: no
// connection is kept, and KeepaliveRequests is 1.
func (c *Config) KeepaliveTimeout() time.Duration {
	return directive[time.Duration](c, "keepalive_timeout")
}

// KeepaliveRequests is how many requests a client's connection carries, at least
// 1.
func (c *Config) KeepaliveRequests() int {
	if c.KeepaliveTimeout() == 0 {
		return 1
	}
	return directive[int](c, "keepalive_requests")
}

// HeaderBuffers bounds a request's head.
func (c *Config) HeaderBuffers() HeaderBuffers {
	return directive[HeaderBuffers](c, "large_client_header_buffers")
}

// MaxHeadBytes is how long a request's head may be, in bytes: HeaderBuffers
// taken together.
func (c *Config) MaxHeadBytes() int {
	b := c.HeaderBuffers()
	return int(int64(b.Number) * b.Size)
}

// HeadersUpstream gives Kong's names of headers for requests to services, or off.
func (c *Config) HeadersUpstream() []string { return c.list("headers_upstream") }

// UpstreamKeepalivePoolSize is how many idle connections are kept to one address
// of a service; 0: none.
func (c *Config) UpstreamKeepalivePoolSize() int {
	return value[int](c, "upstream_keepalive_pool_size")
}

// UpstreamKeepaliveMaxRequests is how many requests a connection to a service
// carries; 0: no bound.
func (c *Config) UpstreamKeepaliveMaxRequests() int {
	return value[int](c, "upstream_keepalive_max_requests")
}

// UpstreamKeepaliveIdleTimeout is how long a connection to a service may be idle;
// 0: no bound.
func (c *Config) UpstreamKeepaliveIdleTimeout() time.Duration {
	return value[time.Duration](c, "upstream_keepalive_idle_timeout")
}
