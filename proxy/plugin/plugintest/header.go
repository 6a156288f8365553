package plugintest

import (
	"net/textproto"

	"github.com/sluicegate/sluice/proxy/http1"
)

// Header is the plugin.Header of the request path, made by hand.
type Header struct{ http1.Fields }

// NewHeader makes a header of alternating names and values.
func NewHeader(fields ...string) *Header {
	h := new(Header)
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

// Map gives all fields under their names' canonical form, for comparisons.
func (h *Header) Map() map[string][]string {
	m := map[string][]string{}
	for i := range h.Len() {
		name := textproto.CanonicalMIMEHeaderKey(h.At(i).Name)
		m[name] = append(m[name], h.At(i).Value)
	}
	return m
}

// Clear removes everything and keeps the room.
func (h *Header) Clear() { h.Reset() }
