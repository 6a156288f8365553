package requesttransformer

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
)

// part is one part of a multipart form.
type part struct {
	name   string
	header textproto.MIMEHeader
	data   []byte
}

type parts []part

// boundaryOf gives the boundary of a Content-Type, "" for one that could not be
// written again.
func boundaryOf(contentType string) string {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || multipart.NewWriter(io.Discard).SetBoundary(params["boundary"]) != nil {
		return ""
	}
	return params["boundary"]
}

// parseParts reads a form. False: it is not well-formed, or its end is missing.
func parseParts(data []byte, boundary string) (parts, bool) {
	if len(data) == 0 {
		return nil, true
	}
	var all parts
	for r := multipart.NewReader(bytes.NewReader(data), boundary); ; {
		next, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return all, true
		}
		if err != nil {
			return nil, false
		}
		p := part{name: next.FormName(), header: next.Header}
		if p.data, err = io.ReadAll(next); err != nil {
			return nil, false
		}
		all = append(all, p)
	}
}

func newPart(name, value string) part {
	return part{name: name, data: []byte(value), header: textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="` + quoteName(name) + `"`},
	}}
}

// quoteName writes a name between quotes as browsers do: quotes and line ends are
// escaped as in a URI, and so is here what no header may hold.
func quoteName(name string) string {
	var b []byte
	for i := range len(name) {
		switch c := name[i]; {
		case c < ' ', c == 0x7f, c == '"':
			b = appendEscape(b, c)
		case c == '\\':
			b = append(b, `\\`...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// renamed is the part under another name; what else its header says stays.
func (p part) renamed(to string) part {
	kind, params, err := mime.ParseMediaType(p.header.Get("Content-Disposition"))
	fresh := newPart(to, "")
	if filename, ok := params["filename"]; err == nil && ok {
		fresh.header.Set("Content-Disposition", kind+`; name="`+quoteName(to)+`"; filename="`+quoteName(filename)+`"`)
	}
	for name, values := range p.header {
		if name != "Content-Disposition" {
			fresh.header[name] = values
		}
	}
	fresh.data = p.data
	return fresh
}

func (p parts) has(name string) bool {
	return slices.ContainsFunc(p, func(q part) bool { return q.name == name })
}

func (p parts) without(name string) parts {
	return slices.DeleteFunc(p, func(q part) bool { return q.name == name })
}

func (p parts) replaced(name, value string) parts {
	at := slices.IndexFunc(p, func(q part) bool { return q.name == name })
	p[at] = newPart(name, value)
	return append(p[:at+1], p[at+1:].without(name)...)
}

var errUnwritable = errors.New("request body cannot be transformed")

// encode writes the form.
func (p parts) encode(boundary string) ([]byte, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if w.SetBoundary(boundary) != nil || p.cut(boundary) {
		return nil, errUnwritable
	}
	for _, q := range p {
		out, err := w.CreatePart(q.header)
		if err == nil {
			_, err = out.Write(q.data)
		}
		if err != nil {
			return nil, errUnwritable
		}
	}
	if w.Close() != nil {
		return nil, errUnwritable
	}
	return b.Bytes(), nil
}

// cut says whether a value has the boundary in it, which would end its part.
func (p parts) cut(boundary string) bool {
	mark := []byte("\n--" + boundary)
	return slices.ContainsFunc(p, func(q part) bool {
		return bytes.Contains(q.data, mark) || bytes.HasPrefix(q.data, mark[1:])
	})
}

// editParts changes the parts of a form; nil: it is as it was, or none.
func (c *changes) editParts(data []byte, boundary string, values []string) ([]byte, error) {
	p, ok := parseParts(data, boundary)
	if !ok {
		return nil, nil
	}
	changed := false
	for _, name := range c.remove {
		changed = changed || p.has(name)
		p = p.without(name)
	}
	for i := range c.rename {
		e := &c.rename[i]
		to := e.value(values)
		if !p.has(e.name) || to == e.name {
			continue
		}
		p, changed = p.without(to), true
		for j := range p {
			if p[j].name == e.name {
				p[j] = p[j].renamed(to)
			}
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
			p, changed = append(p, newPart(e.name, e.value(values))), true
		}
	}
	for i := range c.append {
		if e := &c.append[i]; !e.bare {
			p, changed = append(p, newPart(e.name, e.value(values))), true
		}
	}
	if !changed {
		return nil, nil
	}
	return p.encode(boundary)
}
