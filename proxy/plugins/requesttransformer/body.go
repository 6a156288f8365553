package requesttransformer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// The types of bodies that are changed.
const (
	formType      = "application/x-www-form-urlencoded"
	jsonType      = "application/json"
	multipartType = "multipart/form-data"
)

// mediaType is the type of the request's body, without parameters.
func mediaType(ex *plugin.Exchange) string {
	kind, _, _ := strings.Cut(ex.Request.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// editor changes a body. nil: it is as it was. The error is for the client.
type editor func(data []byte, values []string) ([]byte, error)

// editor gives what changes a body of the request's type; nil for other types.
func (p *Plugin) editor(ex *plugin.Exchange) editor {
	switch mediaType(ex) {
	case formType:
		return func(data []byte, values []string) ([]byte, error) {
			text, changed := p.body.editParams(string(data), values)
			if !changed {
				return nil, nil
			}
			return []byte(text), nil
		}
	case jsonType:
		return p.body.editJSON
	case multipartType:
		if boundary := boundaryOf(ex.Request.Header.Get("Content-Type")); boundary != "" {
			return func(data []byte, values []string) ([]byte, error) { return p.body.editParts(data, boundary, values) }
		}
	}
	return nil
}

// member is one member of a JSON object; raw is its value as it was sent.
type member struct {
	name string
	raw  json.RawMessage
}

type object []member

// parseObject splits a JSON object. Of members of one name the last one counts, as
// for every reader. Nothing at all is an object without members.
func parseObject(data []byte) (object, bool) {
	if len(data) == 0 {
		return nil, true
	}
	if !json.Valid(data) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	var o object
	places := map[string]int{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, false
		}
		m := member{}
		m.name, _ = key.(string)
		if err := dec.Decode(&m.raw); err != nil {
			return nil, false
		}
		if at, ok := places[m.name]; ok {
			o[at] = m
			continue
		}
		places[m.name] = len(o)
		o = append(o, m)
	}
	return o, true
}

func (o object) find(name string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.name == name })
}

func (o object) without(name string) object {
	return slices.DeleteFunc(o, func(m member) bool { return m.name == name })
}

func (o object) encode() []byte {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, quote(m.name)...), ':'), m.raw...)
	}
	return append(b, '}')
}

// quote is a JSON string, without the escapes for HTML.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil { // a string always encodes
		return []byte(`""`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// editJSON changes the members of an object; nil: it is as it was, or none.
func (c *changes) editJSON(data []byte, values []string) ([]byte, error) {
	o, ok := parseObject(data)
	if !ok {
		return nil, nil
	}
	changed := false
	for _, name := range c.remove {
		changed = changed || o.find(name) >= 0
		o = o.without(name)
	}
	for i := range c.rename {
		e := &c.rename[i]
		if to := e.value(values); o.find(e.name) >= 0 && to != e.name {
			o, changed = o.without(to), true
			o[o.find(e.name)].name = to
		}
	}
	for i := range c.replace {
		e := &c.replace[i]
		switch at := o.find(e.name); {
		case at < 0:
			continue
		case e.bare:
			o = o.without(e.name)
		default:
			o[at].raw = quote(e.value(values))
		}
		changed = true
	}
	for i := range c.add {
		if e := &c.add[i]; !e.bare && o.find(e.name) < 0 {
			o, changed = append(o, member{e.name, quote(e.value(values))}), true
		}
	}
	for i := range c.append {
		if e := &c.append[i]; !e.bare {
			o, changed = o.grown(e.name, quote(e.value(values))), true
		}
	}
	if !changed {
		return nil, nil
	}
	return o.encode(), nil
}

// grown adds a value to a member, which becomes a list if it is none.
func (o object) grown(name string, value []byte) object {
	at := o.find(name)
	if at < 0 {
		return append(o, member{name, slices.Concat([]byte("["), value, []byte("]"))})
	}
	old := bytes.TrimSpace(o[at].raw)
	switch {
	case string(old) == "null":
		old = nil
	case old[0] == '[':
		old = bytes.TrimSpace(old[1 : len(old)-1])
	}
	if len(old) > 0 {
		old = append(slices.Clone(old), ',')
	}
	o[at].raw = slices.Concat([]byte("["), old, value, []byte("]"))
	return o
}
