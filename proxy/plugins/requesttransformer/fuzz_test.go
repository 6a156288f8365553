package requesttransformer

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// FuzzBody: whatever a body holds, nothing panics; what is changed is well-formed,
// and has lost what is removed and kept the rest, as the standard library reads it.
func FuzzBody(f *testing.F) {
	f.Add(formType, "gone=1&kept=%7e&gone")
	f.Add(formType, "%67one=1&=&;kept=1;2")
	f.Add(jsonType, `{"gone":1,"kept":[{"gone":null}],"kept":2}`)
	f.Add(jsonType, `{"\u0067one":1}{`)
	f.Add(partsType, form("gone", "1", "kept", "2"))
	f.Add(partsType, "--x-7\r\n\r\n--x-7--")
	f.Add("multipart/form-data; boundary=\"\xff\"", "--")
	p := plugintest.Instance(f, plugintest.Env(nil), name, `{"remove":{"body":["gone"]}}`).(plugin.Accessor)
	f.Fuzz(func(t *testing.T, kind, text string) {
		ex := sent{kind: kind, body: text}.exchange()
		if p.Access(ex) != plugin.Continue {
			t.Fatalf("refused: %s", ex.Response.Body)
		}
		got := plugintest.ReadBody(t, ex)
		if ex.Request.ContentLength != int64(len(got)) {
			t.Fatalf("length %d for %q", ex.Request.ContentLength, got)
		}
		if got == text {
			return
		}
		before, after := kept(mediaType(ex), text), kept(mediaType(ex), got)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("%q became %q:\n%s", text, got, diff)
		}
		again := sent{kind: kind, body: got}.exchange()
		p.Access(again)
		if plugintest.ReadBody(t, again) != got {
			t.Fatalf("%q still has what is removed", got)
		}
	})
}

// kept gives what a body holds under names other than gone.
func kept(kind, text string) any {
	switch kind {
	case jsonType:
		var m map[string]any
		if json.Unmarshal([]byte(text), &m) != nil {
			return nil
		}
		delete(m, "gone")
		return m
	case multipartType:
		var list []string
		parts, _ := parseParts([]byte(text), "x-7")
		for _, p := range parts {
			if p.name != "gone" {
				list = append(list, p.name+"="+string(p.data))
			}
		}
		return list
	}
	return nil
}

// FuzzQuery: an added parameter is found again as it was configured, whatever the
// query and the value are, and the result can stand in a request line.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&b", "x y&=#")
	f.Add("=&&", "\xff\n%41")
	f.Fuzz(func(t *testing.T, query, value string) {
		if strings.ContainsAny(query, ";") || strings.Contains(query, "added") || value == "" {
			return // net/url refuses semicolons
		}
		c := changes{add: []edit{{name: "added", text: value, fixed: true}}}
		got, changed := c.editParams(query, nil)
		if !changed && !parseParams(query).has("added") {
			t.Fatalf("%q is not changed", query)
		}
		last := got[strings.LastIndexByte(got, '&')+1:]
		parsed, err := url.ParseQuery(last)
		if changed && (err != nil || parsed.Get("added") != value) {
			t.Fatalf("%q: %q is read as %q, %v", value, last, parsed.Get("added"), err)
		}
	})
}

// FuzzParts: a part that is added is found again by another reader, and no value
// can end its part.
func FuzzParts(f *testing.F) {
	f.Add("name", "value", "x-7")
	f.Add("a\"b\r\n", "--x-7--\r\n", "x-7")
	f.Fuzz(func(t *testing.T, name, value, boundary string) {
		if multipart.NewWriter(&bytes.Buffer{}).SetBoundary(boundary) != nil {
			return
		}
		c := changes{add: []edit{{name: name, text: value, fixed: true}}}
		got, err := c.editParts(nil, boundary, nil)
		if err != nil {
			return
		}
		parts, ok := parseParts(got, boundary)
		if !ok || len(parts) != 1 || string(parts[0].data) != value {
			t.Fatalf("%q: %+v, %t", got, parts, ok)
		}
	})
}

// FuzzURI: whatever templates give, the target can stand in a request line, and a
// value begins no query.
func FuzzURI(f *testing.F) {
	f.Add("a b?c#d%")
	f.Add("%41%zz\xff")
	p := plugintest.Instance(f, plugintest.Env(nil), name, `{"replace":{"uri":"/x/$(uri_captures.v)"}}`).(plugin.Accessor)
	f.Fuzz(func(t *testing.T, value string) {
		ex := plugintest.Exchange("GET", "/")
		ex.Captures = captures{"v": value}
		p.Access(ex)
		u := ex.Upstream
		if u.HasQuery || !strings.HasPrefix(u.Path, "/x/") || strings.ContainsFunc(u.Path, func(r rune) bool { return r >= 0x80 || !inURI(byte(r)) }) {
			t.Fatalf("%q: %q, query %q", value, u.Path, u.Query)
		}
		if _, err := url.ParseRequestURI(u.Path); err != nil {
			t.Fatal(err)
		}
	})
}
