package plugintest

import (
	"net/textproto"
	"slices"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// Header is a plugin.Header over a slice. Once it has room for its fields no
// method allocates, given canonical names.
type Header struct {
	fields []plugin.Field
}

// NewHeader makes a header of alternating names and values.
func NewHeader(fields ...string) *Header {
	h := &Header{fields: make([]plugin.Field, 0, 16)}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

// Get implements plugin.Header.
func (h *Header) Get(name string) string {
	if i := h.index(name); i >= 0 {
		return h.fields[i].Value
	}
	return ""
}

// Has implements plugin.Header.
func (h *Header) Has(name string) bool { return h.index(name) >= 0 }

// Each implements plugin.Header.
func (h *Header) Each(name string, f func(value string) bool) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	for _, field := range h.fields {
		if field.Name == name && !f(field.Value) {
			return
		}
	}
}

// All implements plugin.Header.
func (h *Header) All(f func(name, value string) bool) {
	for _, field := range h.fields {
		if !f(field.Name, field.Value) {
			return
		}
	}
}

// Set implements plugin.Header.
func (h *Header) Set(name, value string) {
	i := h.index(name)
	if i < 0 {
		h.Add(name, value)
		return
	}
	h.fields[i].Value = value
	h.remove(i+1, name)
}

// Add implements plugin.Header.
func (h *Header) Add(name, value string) {
	h.fields = append(h.fields, plugin.Field{Name: textproto.CanonicalMIMEHeaderKey(name), Value: value})
}

// Del implements plugin.Header.
func (h *Header) Del(name string) { h.remove(0, name) }

// Map gives all fields, for comparisons.
func (h *Header) Map() map[string][]string {
	m := map[string][]string{}
	for _, field := range h.fields {
		m[field.Name] = append(m[field.Name], field.Value)
	}
	return m
}

// Clear removes everything and keeps the room.
func (h *Header) Clear() { h.fields = h.fields[:0] }

func (h *Header) index(name string) int {
	name = textproto.CanonicalMIMEHeaderKey(name)
	return slices.IndexFunc(h.fields, func(f plugin.Field) bool { return f.Name == name })
}

// remove drops the fields of a name from index i on.
func (h *Header) remove(i int, name string) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	tail := slices.DeleteFunc(h.fields[i:], func(f plugin.Field) bool { return f.Name == name })
	h.fields = h.fields[:i+len(tail)]
}
