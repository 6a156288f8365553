package proxy

import (
	"strings"

	"github.com/sluicegate/sluice/proxy/http1"
)

// hopByHop are the fields that prepareRequest and removeHopByHop look at. Most
// messages have none.
var hopByHop = http1.MarksOf("Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Trailer", "TE", "Proxy")

// removeHopByHop removes the fields that are about one connection only (RFC
// 9110, section 7.6.1), among them those that Connection names, and what Trailer
// announces that will not come.
func removeHopByHop(h *http1.Fields) {
	if !h.MayHave(hopByHop) {
		return
	}
	for value, next, ok := h.Next("Connection", 0); ok; value, next, ok = h.Next("Connection", next) {
		if strings.EqualFold(value, "keep-alive") || strings.EqualFold(value, "close") {
			continue // what nearly all of them say
		}
		if n := h.Len(); removeNamed(h, value) < n {
			next = 0 // lines have moved
		}
	}
	h.Del("Connection")
	h.Del("Keep-Alive")
	h.Del("Proxy-Connection")
	h.Del("Transfer-Encoding")
	h.Del("Upgrade")
	keepAnnounced(h)
}

// removeNamed removes the fields that one value of Connection names and says
// how many are left. TE has rules of its own, and Connection itself is still
// being read.
func removeNamed(h *http1.Fields, list string) int {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name != "" && !strings.EqualFold(name, "TE") && !strings.EqualFold(name, "Connection") {
			h.Del(name)
		}
	}
	return h.Len()
}

// prepareRequest makes a client's fields into those that go upstream, as far
// as plugins and the configuration have no say in it. It gives the protocol
// that the client asks to switch to, or "". switches says that the client's
// version of HTTP can do that: 1.1 only (RFC 9110, section 7.8).
func prepareRequest(h *http1.Fields, switches bool) (upgrade string) {
	if !h.MayHave(hopByHop) {
		return ""
	}
	if switches && h.Has("Upgrade") && h.HasToken("Connection", "upgrade") {
		upgrade = h.Joined("Upgrade")
		// HTTP/2 through a proxy would hide the requests of that connection from
		// routing and plugins.
		if namesHTTP2(upgrade) {
			upgrade = ""
		}
	}
	trailers := h.HasToken("TE", "trailers")
	removeHopByHop(h)
	h.Del("TE")
	if trailers {
		h.Set("TE", "trailers")
	}
	// Proxy would set HTTP_PROXY for a CGI program (CVE-2016-5385).
	h.Del("Proxy")
	return upgrade
}

// namesHTTP2 says whether one of the protocols of an Upgrade field is HTTP/2, in
// any version.
func namesHTTP2(protocols string) bool {
	for protocol := range strings.SplitSeq(protocols, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
		if strings.EqualFold(name, "h2c") || strings.EqualFold(name, "h2") {
			return true
		}
	}
	return false
}
