package requesttransformer

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// params are the parameters of a query or of a form.
type params []plugin.Param

func parseParams(encoded string) params {
	return slices.Collect(plugin.Params(encoded))
}

func newParam(name, value string) plugin.Param {
	return plugin.Param{Raw: escape(name) + "=" + escape(value), Name: name, Value: value}
}

func (p params) has(name string) bool {
	return slices.ContainsFunc(p, func(q plugin.Param) bool { return q.Name == name })
}

func (p params) without(name string) params {
	return slices.DeleteFunc(p, func(q plugin.Param) bool { return q.Name == name })
}

// renamed gives the parameters of one name another one, in their places.
func (p params) renamed(from, to string) params {
	if from == to {
		return p
	}
	p = p.without(to)
	for i := range p {
		if p[i].Name != from {
			continue
		}
		_, value, hasValue := strings.Cut(p[i].Raw, "=")
		p[i].Name, p[i].Raw = to, escape(to)
		if hasValue {
			p[i].Raw += "=" + value
		}
	}
	return p
}

// replaced gives the first parameter of a name another value and drops the others.
func (p params) replaced(name, value string) params {
	at := slices.IndexFunc(p, func(q plugin.Param) bool { return q.Name == name })
	p[at] = newParam(name, value)
	return append(p[:at+1], p[at+1:].without(name)...)
}

func (p params) String() string {
	var b strings.Builder
	for i := range p {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[i].Raw)
	}
	return b.String()
}

// editParams changes a query or a form. One that is not changed is as it was.
func (c *changes) editParams(encoded string, values []string) (string, bool) {
	p := parseParams(encoded)
	changed := false
	for _, name := range c.remove {
		changed = changed || p.has(name)
		p = p.without(name)
	}
	for i := range c.rename {
		if e := &c.rename[i]; p.has(e.name) {
			p, changed = p.renamed(e.name, e.value(values)), true
		}
	}
	for i := range c.replace {
		switch e := &c.replace[i]; {
		case !p.has(e.name):
		case e.bare:
			p, changed = p.without(e.name), true
		default:
			p, changed = p.replaced(e.name, e.value(values)), true
		}
	}
	for i := range c.add {
		if e := &c.add[i]; !e.bare && !p.has(e.name) {
			p, changed = append(p, newParam(e.name, e.value(values))), true
		}
	}
	for i := range c.append {
		if e := &c.append[i]; !e.bare {
			p, changed = append(p, newParam(e.name, e.value(values))), true
		}
	}
	if !changed {
		return encoded, false
	}
	return p.String(), true
}

// escape writes a name or a value so that it can stand in a query and in a form.
func escape(s string) string {
	plain := func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("-._~", c) >= 0
	}
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if plain(s[i]) {
			b = append(b, s[i])
		} else {
			b = appendEscape(b, s[i])
		}
	}
	return string(b)
}

// asQuery gives a form as a query: pairs that could not stand in one are written
// anew.
func asQuery(form string) string {
	p := parseParams(form)
	for i := range p {
		if strings.ContainsFunc(p[i].Raw, func(r rune) bool { return r >= 0x80 || !inURI(byte(r)) }) {
			p[i] = newParam(p[i].Name, p[i].Value)
		}
	}
	return p.String()
}
