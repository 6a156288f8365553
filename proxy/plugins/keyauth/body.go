package keyauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/reqbody"
)

// maxBody bounds the bodies that are looked into, in bytes. Kong's bound is
// nginx's client_body_buffer_size, 8 KiB by default. It is also the most memory
// that a request can make the plugin hold.
const maxBody = 64 << 10

// body is the request body as far as the plugin has looked into it. The zero
// value has not been read yet.
type body struct {
	peeked bool
	format format // nil if there is no body that could hold a key
	data   []byte
}

// format reads one media type.
type format interface {
	// find gives what a body has under a name.
	find(data []byte, name string) found
	// without gives the body without a name, and whether it had it.
	without(data []byte, name string) ([]byte, bool)
}

// find looks for a name in the body of a request.
func (b *body) find(ex *plugin.Exchange, name string) found {
	b.peek(ex)
	if b.format == nil {
		return found{}
	}
	return b.format.find(b.data, name)
}

// cut removes a name from the body that goes upstream.
func (b *body) cut(ex *plugin.Exchange, name string) {
	b.peek(ex)
	if b.format == nil {
		return
	}
	rest, had := b.format.without(b.data, name)
	if !had {
		return
	}
	b.data = rest
	reqbody.Replace(ex, rest)
}

// peek reads a body of a known format and bounded length, and puts it back. A
// body that turns out to be too long, or breaks off, has no format afterwards;
// the upstream gets the same bytes and the same error.
func (b *body) peek(ex *plugin.Exchange) {
	r := &ex.Request
	if b.peeked {
		return
	}
	b.peeked = true
	if r.Body == nil || r.ContentLength == 0 || r.ContentLength > maxBody {
		return
	}
	f := formatOf(r.Header.Get("Content-Type"))
	if f == nil {
		return
	}
	if data, found := reqbody.Peek(ex, maxBody); found == reqbody.Whole {
		b.format, b.data = f, data
	}
}

// formatOf gives the reader of a Content-Type, or nil.
func formatOf(contentType string) format {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/x-www-form-urlencoded":
		return form{}
	case "application/json":
		return object{}
	case "multipart/form-data":
		_, params, err := mime.ParseMediaType(contentType)
		if err != nil {
			return nil
		}
		boundary := params["boundary"]
		// Only a boundary that can be written again is of use.
		if multipart.NewWriter(io.Discard).SetBoundary(boundary) != nil {
			return nil
		}
		return parts{boundary}
	}
	return nil
}

// form is application/x-www-form-urlencoded.
type form struct{}

func (form) find(data []byte, name string) found { return inParams(string(data), name) }

func (form) without(data []byte, name string) ([]byte, bool) {
	rest := plugin.WithoutParam(string(data), name)
	return []byte(rest), len(rest) != len(data)
}

// object is a JSON object; any other value has no names.
type object struct{}

// member is one member of an object; raw is its value as it was sent.
type member struct {
	name string
	raw  json.RawMessage
}

func (object) find(data []byte, name string) found {
	members, ok := membersOf(data)
	if !ok {
		return found{}
	}
	var f found
	for _, m := range members {
		if m.name == name { // the last one of a name counts, as for every JSON reader
			f = valueOf(m.raw)
		}
	}
	return f
}

// valueOf tells what a member's value means as a key: a list or an object is
// more than one key, false is none, and other values are no key but are there.
func valueOf(raw json.RawMessage) found {
	switch raw[0] {
	case '"':
		f := found{count: 1}
		f.unusable = json.Unmarshal(raw, &f.value) != nil
		return f
	case '[', '{':
		return found{count: 2}
	case 'f':
		return found{}
	}
	return found{count: 1, unusable: true}
}

func (object) without(data []byte, name string) ([]byte, bool) {
	members, ok := membersOf(data)
	if !ok {
		return data, false
	}
	had := false
	rest := []byte{'{'}
	for _, m := range members {
		if m.name == name {
			had = true
			continue
		}
		key, err := json.Marshal(m.name)
		if err != nil { // a string always encodes
			return data, false
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(append(rest, key...), ':'), m.raw...)
	}
	if !had {
		return data, false
	}
	return append(rest, '}'), true
}

// membersOf splits a JSON object; numbers and all else inside stay as they
// were written.
func membersOf(data []byte) ([]member, bool) {
	if !json.Valid(data) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	var members []member
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
		members = append(members, m)
	}
	return members, true
}

// parts is multipart/form-data.
type parts struct{ boundary string }

func (p parts) find(data []byte, name string) found {
	var f found
	err := p.each(data, func(part *multipart.Part) error {
		if part.FormName() != name {
			return nil
		}
		val, err := io.ReadAll(part)
		f.count++
		f.value = string(val)
		return err
	})
	if err != nil {
		return found{}
	}
	return f
}

func (p parts) without(data []byte, name string) ([]byte, bool) {
	had := false
	var rest bytes.Buffer
	w := multipart.NewWriter(&rest)
	if err := w.SetBoundary(p.boundary); err != nil {
		return data, false
	}
	err := p.each(data, func(part *multipart.Part) error {
		if part.FormName() == name {
			had = true
			return nil
		}
		copied, err := w.CreatePart(part.Header)
		if err != nil {
			return err
		}
		_, err = io.Copy(copied, part)
		return err
	})
	if err != nil || !had || w.Close() != nil {
		return data, false
	}
	return rest.Bytes(), true
}

// each visits the parts of a body. A body of which the end is missing is an
// error, even if its last part is of no interest, so that find and without
// agree on what can be read.
func (p parts) each(data []byte, visit func(*multipart.Part) error) error {
	r := multipart.NewReader(bytes.NewReader(data), p.boundary)
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(part); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return err
		}
	}
}
