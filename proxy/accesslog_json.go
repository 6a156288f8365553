package proxy

import (
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/obs"
)

// appendJSON writes the line of the format json. Its names are a promise to
// those who read the log: they stay, more may come. All are there in every line,
// in this order, and null where there is no value.
//
//	time              end of the exchange, RFC 3339 with milliseconds, UTC
//	request_id        X-Kong-Request-Id
//	client            address of the client, as trusted_ips and real_ip_header tell
//	peer              address of the other end of the connection
//	method, uri       as sent; uri is the path and the query
//	host              the Host field or :authority
//	protocol          HTTP/1.1, HTTP/2.0
//	tls               TLSv1.2, TLSv1.3
//	status            the answer's; 499: the client did not wait for it
//	source            who answered: service or kong
//	bytes_sent        head and body of the answer
//	bytes_received    head and body of the request
//	referer           the Referer field
//	user_agent        the User-Agent field
//	latency_request   milliseconds from the first byte of the request to the end
//	latency_kong      milliseconds until the service was asked, or until the end if
//	                  it was not
//	latency_upstream  milliseconds from then to the head of the service's answer, or
//	                  to the end if there was none
//	upstream          host:port of the service, if it was asked
//	upstream_status   the service's, before plugins
//	service, route    their names, or ids for want of one
//	consumer          username, custom_id or id
func (a *accessLog) appendJSON(b []byte, x *exchange) []byte {
	t := &x.Times
	b = append(b, `{"time":"`...)
	b = append(b, a.timeText(t.Finished).utc...)
	b = appendFraction(append(b, '.'), t.Finished.Nanosecond()/int(time.Millisecond))
	b = append(b, `Z","request_id":`...)
	b = appendText(b, x.Request.ID)
	b = append(b, `,"client":`...)
	b = appendJSONAddr(b, x.Client.Addr())
	b = append(b, `,"peer":`...)
	b = appendJSONAddr(b, x.Peer.Addr())
	b = appendJSONRequest(b, x)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, `,"source":`...)
	b = appendText(b, string(x.Response.Source))
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, x.Response.Sent, 10)
	b = append(b, `,"bytes_received":`...)
	b = strconv.AppendInt(b, x.Response.Received, 10)
	b = append(b, `,"referer":`...)
	b = appendText(b, x.received.Get("Referer"))
	b = append(b, `,"user_agent":`...)
	b = appendText(b, x.received.Get("User-Agent"))
	b = append(b, `,"latency_request":`...)
	b = appendMillis(b, t.Finished.Sub(t.Started))
	b = appendJSONUpstream(b, x)
	b = appendJSONEntities(b, x)
	return append(b, "}\n"...)
}

func appendJSONRequest(b []byte, x *exchange) []byte {
	b = append(b, `,"method":`...)
	b = appendText(b, x.Request.Method)
	b = append(b, `,"uri":"`...)
	b = obs.AppendJSONText(b, x.Request.RawPath)
	if x.Request.HasQuery {
		b = append(b, '?')
		b = obs.AppendJSONText(b, x.Request.Query)
	}
	b = append(b, `","host":`...)
	b = appendText(b, x.Request.Host)
	b = append(b, `,"protocol":"`...)
	b = appendProtocol(b, x)
	b = append(b, `","tls":`...)
	if x.Request.TLS == nil {
		return append(b, "null"...)
	}
	return appendText(b, tlsName(x.Request.TLS.Version))
}

func appendJSONUpstream(b []byte, x *exchange) []byte {
	t := &x.Times
	b = append(b, `,"latency_kong":`...)
	if t.UpstreamStarted.IsZero() {
		b = appendMillis(b, t.Finished.Sub(t.Started))
		return append(b, `,"latency_upstream":null,"upstream":null,"upstream_status":null`...)
	}
	b = appendMillis(b, t.UpstreamStarted.Sub(t.Started))
	b = append(b, `,"latency_upstream":`...)
	answered := t.UpstreamAnswered
	if answered.IsZero() {
		answered = t.Finished
	}
	b = appendMillis(b, answered.Sub(t.UpstreamStarted))
	b = append(b, `,"upstream":"`...)
	if host := x.Upstream.Host; strings.IndexByte(host, ':') >= 0 {
		b = append(obs.AppendJSONText(append(b, '['), host), ']')
	} else {
		b = obs.AppendJSONText(b, host)
	}
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(x.Upstream.Port), 10)
	b = append(b, `","upstream_status":`...)
	if x.Response.UpstreamStatus == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(x.Response.UpstreamStatus), 10)
}

func appendJSONEntities(b []byte, x *exchange) []byte {
	var service, route, consumer string
	if s := x.Service; s != nil {
		service = firstOf(s.Name, s.ID)
	}
	if r := x.Route; r != nil {
		route = firstOf(r.Name, r.ID)
	}
	if c := x.Consumer; c != nil {
		consumer = firstOf(c.Username, c.CustomID, c.ID)
	}
	b = append(b, `,"service":`...)
	b = appendText(b, service)
	b = append(b, `,"route":`...)
	b = appendText(b, route)
	b = append(b, `,"consumer":`...)
	return appendText(b, consumer)
}

// appendText writes a string, or null for "".
func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return obs.AppendJSONString(b, s)
}

func appendJSONAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, "null"...)
	}
	return append(addr.WithZone("").AppendTo(append(b, '"')), '"')
}

// appendMillis writes milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	us := max(0, d.Microseconds())
	b = strconv.AppendInt(b, us/1000, 10)
	return appendFraction(append(b, '.'), int(us%1000))
}

// appendFraction writes a number below 1000 as three digits.
func appendFraction(b []byte, n int) []byte {
	return append(b, '0'+byte(n/100), '0'+byte(n/10%10), '0'+byte(n%10))
}

// tlsName is a version in OpenSSL's words (nginx's $ssl_protocol).
func tlsName(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS10:
		return "TLSv1"
	}
	return ""
}

// firstOf gives the first string that is not empty.
func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
