package logentry

import (
	"strings"

	"github.com/sluicegate/sluice/internal/obs"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// maxFields and maxParams are how many fields and parameters are logged, as in
// Kong. It also bounds the time for finding those of one name.
const (
	maxFields = 100
	maxParams = 100
)

// fieldList is the fields of a message on their way into an entry.
type fieldList struct {
	list []plugin.Field
	// skip, if not nil, says which fields are left out.
	skip func(name string) bool
	take func(name, value string) bool
}

func newFieldList() *fieldList {
	f := &fieldList{list: make([]plugin.Field, 0, 32)}
	f.take = func(name, value string) bool {
		if f.skip == nil || !f.skip(name) {
			f.list = append(f.list, plugin.Field{Name: name, Value: value})
		}
		return len(f.list) < maxFields
	}
	return f
}

// collect adds the fields of a header to the list.
func (f *fieldList) collect(h plugin.Header, skip func(string) bool) {
	f.skip = skip
	h.All(f.take)
}

// ofRequest adds what Kong would show of a request: its fields with the changes of
// plugins, but as the client sent them those that the proxy removes, or writes for
// the service.
func (f *fieldList) ofRequest(r *plugin.Request) {
	f.collect(r.Header, isProxys)
	if len(f.list) < maxFields {
		f.collect(r.Received, isNotProxys)
	}
	if !r.Received.Has("Host") { // HTTP/2
		f.list = append(f.list, plugin.Field{Name: "host", Value: r.Host})
	}
}

func isNotProxys(name string) bool { return !isProxys(name) }

// isProxys says whether the proxy removes a field, or writes it for the service.
func isProxys(name string) bool {
	switch len(name) {
	case len("TE"), len("Via"), len("Host"), len("Proxy"), len("Expect"), len("Upgrade"), len("X-Real-IP"), len("Connection"):
		for _, own := range [...]string{"TE", "Via", "Host", "Proxy", "Expect", "Upgrade", "Trailer", "X-Real-IP", "Connection", "Keep-Alive"} {
			if strings.EqualFold(name, own) {
				return true
			}
		}
		return false
	}
	const forwarded = "X-Forwarded-"
	if len(name) > len(forwarded) && strings.EqualFold(name[:len(forwarded)], forwarded) {
		switch strings.ToLower(name[len(forwarded):]) {
		case "for", "proto", "host", "port", "path", "prefix":
			return true
		}
		return false
	}
	return strings.EqualFold(name, "Transfer-Encoding") || strings.EqualFold(name, "Proxy-Connection") || strings.EqualFold(name, "X-Kong-Request-Id")
}

// append appends the fields as an object, and empties the list.
func (f *fieldList) append(b []byte) []byte {
	b = append(b, '{')
	first := true
	for i := range f.list {
		name := f.list[i].Name
		if name == "" {
			continue // among those of an earlier one
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendLower(append(b, '"'), name)
		b = append(b, `":`...)
		if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Proxy-Authorization") {
			b = append(b, `"REDACTED"`...)
			f.rest(i, nil)
			continue
		}
		at := len(b)
		b = obs.AppendJSONString(b, f.list[i].Value)
		more := false
		f.rest(i, func(value string) {
			if !more {
				b = append(b, 0)
				copy(b[at+1:], b[at:])
				b[at] = '['
				more = true
			}
			b = obs.AppendJSONString(append(b, ','), value)
		})
		if more {
			b = append(b, ']')
		}
	}
	clear(f.list)
	f.list, f.skip = f.list[:0], nil
	return append(b, '}')
}

// rest calls see with the later values of a name, and marks them as seen.
func (f *fieldList) rest(i int, see func(value string)) {
	for j := i + 1; j < len(f.list); j++ {
		if other := &f.list[j]; len(other.Name) == len(f.list[i].Name) && strings.EqualFold(other.Name, f.list[i].Name) {
			if see != nil {
				see(other.Value)
			}
			other.Name = ""
		}
	}
}

// appendLower appends a field's name, which is ASCII and needs no escapes.
func appendLower(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

// appendQuery appends the parameters of a query as an object.
func appendQuery(b []byte, query string) []byte {
	if query == "" {
		return append(b, "{}"...)
	}
	list := make([]plugin.Param, 0, 8)
	for p := range plugin.Params(query) {
		if list = append(list, p); len(list) == maxParams {
			break
		}
	}
	b = append(b, '{')
	for i := range list {
		if list[i].Raw == "" {
			continue // among those of an earlier one
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = obs.AppendJSONString(b, list[i].Name)
		b = append(b, ':')
		same := list[i+1:]
		values := 1
		for j := range same {
			if same[j].Raw != "" && same[j].Name == list[i].Name {
				values++
			}
		}
		if values == 1 {
			b = appendParam(b, &list[i])
			continue
		}
		b = appendParam(append(b, '['), &list[i])
		for j := range same {
			if same[j].Raw != "" && same[j].Name == list[i].Name {
				b = appendParam(append(b, ','), &same[j])
				same[j].Raw = ""
			}
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendParam appends a value; a parameter without "=" is true.
func appendParam(b []byte, p *plugin.Param) []byte {
	if p.Bare {
		return append(b, "true"...)
	}
	return obs.AppendJSONString(b, p.Value)
}
