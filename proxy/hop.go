package proxy

import (
	"net/http"
	"strings"
)

// removeHopByHop removes the fields that are about one connection only (RFC
// 9110, section 7.6.1), among them those that Connection names.
func removeHopByHop(h http.Header) {
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "TE") {
				h.Del(name)
			}
		}
	}
	delete(h, "Connection")
	delete(h, "Keep-Alive")
	delete(h, "Proxy-Connection")
	delete(h, "Transfer-Encoding")
	delete(h, "Upgrade")
}

// prepareRequest makes a client's fields into those that go upstream, as far
// as plugins and the configuration have no say in it. It gives the protocol
// that the client asks to switch to, or "".
func prepareRequest(h http.Header, protoMajor int) (upgrade string) {
	if protoMajor == 1 && listHas(h["Connection"], "upgrade") {
		upgrade = h.Get("Upgrade")
		// h2c through a proxy would hide the requests of that connection from
		// routing and plugins.
		if listHas(h["Upgrade"], "h2c") {
			upgrade = ""
		}
	}
	trailers := listHas(h["Te"], "trailers")
	removeHopByHop(h)
	delete(h, "Te")
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	// Proxy would set HTTP_PROXY for a CGI program (CVE-2016-5385).
	delete(h, "Proxy")
	return upgrade
}

// listHas says whether a list field has an element, without regard to case.
// Parameters of the element ("trailers;q=1") do not count.
func listHas(values []string, element string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			part, _, _ = strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(part), element) {
				return true
			}
		}
	}
	return false
}
