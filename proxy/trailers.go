package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/proxy/http1"
)

// keepAnnounced takes the names out of a Trailer field that the trailer will not
// have, because they must not come in one.
func keepAnnounced(h *http1.Fields) {
	if !h.Has("Trailer") {
		return
	}
	var names []string
	for name := range strings.SplitSeq(h.Joined("Trailer"), ",") {
		if name = strings.TrimSpace(name); http1.InTrailer(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		h.Del("Trailer")
		return
	}
	h.Set("Trailer", strings.Join(names, ", "))
}

// announce adds the Trailer field that net/http has made a map of.
func announce(h *http1.Fields, trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	h.Add("Trailer", strings.Join(names, ", "))
}

// trailed says whether a trailer may follow the request's body: after chunks of
// HTTP/1.1 it may always, and in HTTP/2 when it was announced. Where none can
// follow, none is announced to the service.
func (x *exchange) trailed() bool {
	q := &x.Request
	trailed := q.ContentLength < 0
	if q.ProtoMajor > 1 {
		trailed = x.requestFields.Has("Trailer")
	}
	if trailed = trailed && q.Body != nil; !trailed && nameTrailer.In(&x.requestFields) {
		x.requestFields.Del("Trailer")
	}
	return trailed
}
