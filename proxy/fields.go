package proxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// fields is a plugin.Header over net/http's representation. The zero value has
// to be given a map before it is used.
type fields struct {
	h http.Header
	// singles holds the values of Set, which would be an allocation each.
	singles []string
}

var _ plugin.Header = (*fields)(nil)

func (f *fields) Get(name string) string { return f.h.Get(name) }

func (f *fields) Has(name string) bool {
	_, ok := f.h[textproto.CanonicalMIMEHeaderKey(name)]
	return ok
}

func (f *fields) Each(name string, yield func(value string) bool) {
	for _, v := range f.h[textproto.CanonicalMIMEHeaderKey(name)] {
		if !yield(v) {
			return
		}
	}
}

// All gives the fields in no particular order of names; net/http does not keep
// it. The values of one name are in their order, which is the one that counts
// (RFC 9110, section 5.3).
func (f *fields) All(yield func(name, value string) bool) {
	for name, values := range f.h {
		name = spelled(name)
		for _, v := range values {
			if !yield(name, v) {
				return
			}
		}
	}
}

func (f *fields) Set(name, value string) {
	if f.singles == nil {
		f.singles = make([]string, 0, 8)
	}
	f.singles = append(f.singles, value)
	n := len(f.singles)
	f.h[textproto.CanonicalMIMEHeaderKey(name)] = f.singles[n-1 : n : n]
}

func (f *fields) Add(name, value string) { f.h.Add(name, value) }
func (f *fields) Del(name string)        { f.h.Del(name) }

// reset empties the fields for another request. With reuse, nothing may refer
// to their values any more; a front may still hold those of an answer.
func (f *fields) reset(reuse bool) {
	clear(f.h)
	if !reuse {
		f.singles = nil
		return
	}
	clear(f.singles)
	f.singles = f.singles[:0]
}

// Next is the router's way to read fields; see router.HeaderSource.
func (f *fields) Next(name string, from int) (value string, next int, ok bool) {
	values := f.h[textproto.CanonicalMIMEHeaderKey(name)]
	if from >= len(values) {
		return "", 0, false
	}
	return values[from], from + 1, true
}

// size is how many bytes the fields take on an HTTP/1.1 connection.
func (f *fields) size() int64 {
	n := 0
	for name, values := range f.h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return int64(n)
}

// copyFields copies fields into a map that is reused, all values in one slice.
func copyFields(into, from http.Header) {
	clear(into)
	total := 0
	for _, values := range from {
		total += len(values)
	}
	all := make([]string, 0, total)
	for name, values := range from {
		start := len(all)
		all = append(all, values...)
		into[name] = all[start:len(all):len(all)]
	}
}

// joined gives the values of a field as one list (RFC 9110, section 5.2), or "".
func (f *fields) joined(name string) string {
	switch values := f.h[name]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ", ")
	}
}
