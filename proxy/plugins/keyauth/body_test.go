package keyauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestHide(t *testing.T) {
	const both = `{"hide_credentials":true,"key_in_body":true,"key_names":["apikey","other"]}`
	type upstream struct {
		Query    string
		HasQuery bool
		Header   bool // still has the key
		Body     string
	}
	tests := map[string]struct {
		config  string
		request request
		want    upstream
	}{
		"header": {`{"hide_credentials":true}`, request{target: "?", header: []string{"apikey", "k1"}}, upstream{"", true, false, ""}},
		"not asked for": {`{}`, request{target: "?apikey=k1", header: []string{"apikey", "k1"}},
			upstream{"apikey=k1", true, true, ""}},
		"only parameter": {`{"hide_credentials":true}`, request{target: "?apikey=k1"}, upstream{}},
		"spelling kept": {`{"hide_credentials":true}`, request{target: "?b=%7e&apikey=k1&a"},
			upstream{"b=%7e&a", true, false, ""}},
		"wherever else it is": {`{"hide_credentials":true}`, request{target: "?apikey=k2&apikey", header: []string{"apikey", "k1"}}, upstream{}},
		"body not looked into": {`{"hide_credentials":true}`,
			request{header: []string{"apikey", "k1"}, contentType: formType, body: "apikey=k1"}, upstream{Body: "apikey=k1"}},
		"form": {both, request{contentType: formType, body: "b=%7e&apikey=k1&a"}, upstream{Body: "b=%7e&a"}},
		"form, all of it": {both, request{contentType: formType, body: "apikey=k1"},
			upstream{Body: ""}},
		"found in the header, also in the body": {both,
			request{header: []string{"apikey", "k1"}, contentType: formType, body: "a=1&apikey=k2"}, upstream{Body: "a=1"}},
		"other names stay": {both, request{target: "?other=k1", header: []string{"apikey", "k1"}},
			upstream{"other=k1", true, false, ""}},
		"JSON": {both, request{contentType: jsonType, body: `{ "n":1.50, "apikey": "k1", "o": {"apikey":1}, "<":[ ] }`},
			upstream{Body: `{"n":1.50,"o":{"apikey":1},"\u003c":[ ]}`}},
		"JSON, all of it":   {both, request{contentType: jsonType, body: `{"apikey":"k2","apikey":"k1"}`}, upstream{Body: `{}`}},
		"JSON without it":   {both, request{header: []string{"apikey", "k1"}, contentType: jsonType, body: `{ "a":1 }`}, upstream{Body: `{ "a":1 }`}},
		"JSON, broken":      {both, request{header: []string{"apikey", "k1"}, contentType: jsonType, body: `{"apikey":`}, upstream{Body: `{"apikey":`}},
		"multipart":         {both, request{contentType: partsType, body: part("a", "1") + part("apikey", "k1") + "--x-7--\r\n"}, upstream{Body: part("a", "1") + "--x-7--\r\n"}},
		"multipart, broken": {both, request{header: []string{"apikey", "k1"}, contentType: partsType, body: part("apikey", "k1")}, upstream{Body: part("apikey", "k1")}},
		"also when the key is wrong": {`{"hide_credentials":true,"anonymous":"guest"}`,
			request{target: "?apikey=k2"}, upstream{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := test.request.exchange()
			ex.Request.Header.Set("Content-Length", strconv.FormatInt(ex.Request.ContentLength, 10))
			if access(t, test.config, ex) != plugin.Continue {
				t.Fatalf("refused: %s", ex.Response.Body)
			}
			got := upstream{ex.Upstream.Query, ex.Upstream.HasQuery, ex.Request.Header.Has("Apikey"), plugintest.ReadBody(t, ex)}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("upstream (-want +got):\n%s", diff)
			}
			length := strconv.Itoa(len(got.Body))
			if ex.Request.ContentLength != int64(len(got.Body)) || ex.Request.Header.Get("Content-Length") != length {
				t.Errorf("length %d, field %s, want %s", ex.Request.ContentLength, ex.Request.Header.Get("Content-Length"), length)
			}
			_, query, _ := strings.Cut(test.request.target, "?")
			if ex.Request.Query != query {
				t.Errorf("what the client asked has become %q", ex.Request.Query)
			}
		})
	}
}

func TestHideUnderscore(t *testing.T) {
	ex := plugintest.Exchange("GET", "/", "Api-Key", "k1", "Api_key", "k1", "X-A", "1")
	access(t, `{"hide_credentials":true,"key_names":["api_key"]}`, ex)
	if h := ex.Request.Header; h.Has("Api-Key") || h.Has("Api_key") || !h.Has("X-A") {
		t.Errorf("header upstream: %v", h.(*plugintest.Header).Map())
	}
}

// TestUnknownLength has a chunked body, which keeps its framing unless the key
// is cut out.
func TestUnknownLength(t *testing.T) {
	const body = "a=1&apikey=k1"
	for config, want := range map[string]struct {
		body   string
		length int64
	}{
		`{"key_in_body":true}`:                         {body, -1},
		`{"key_in_body":true,"hide_credentials":true}`: {"a=1", 3},
	} {
		ex := plugintest.Exchange("POST", "/", "Content-Type", formType)
		ex.Request.Body, ex.Request.ContentLength = iotest.OneByteReader(strings.NewReader(body)), -1
		if access(t, config, ex) != plugin.Continue {
			t.Fatalf("%s: refused", config)
		}
		if got := plugintest.ReadBody(t, ex); got != want.body || ex.Request.ContentLength != want.length {
			t.Errorf("%s: body %q of length %d", config, got, ex.Request.ContentLength)
		}
		if ex.Request.Header.Has("Content-Length") {
			t.Errorf("%s: a Content-Length appeared", config)
		}
	}
}

// counting says how much of a body has been read.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestLargeBodyStreams(t *testing.T) {
	text := "apikey=k1&a=" + strings.Repeat("x", 1<<20)
	for _, length := range []int64{-1, int64(len(text))} {
		ex := plugintest.Exchange("POST", "/", "Content-Type", formType)
		body := &counting{Reader: strings.NewReader(text)}
		ex.Request.Body, ex.Request.ContentLength = body, length
		if access(t, `{"key_in_body":true}`, ex) != plugin.Stop {
			t.Error("a key was found in a body that is too long")
		}
		if most := maxBody + 1; body.n > most || length > 0 && body.n > 0 {
			t.Errorf("length %d: read %d bytes ahead", length, body.n)
		}
		if plugintest.ReadBody(t, ex) != text {
			t.Errorf("length %d: the upstream gets another body", length)
		}
	}
}

// TestBodyBreaksOff: the upstream has to see the same break.
func TestBodyBreaksOff(t *testing.T) {
	gone := errors.New("client has gone")
	ex := plugintest.Exchange("POST", "/", "Content-Type", formType)
	ex.Request.Body = io.MultiReader(strings.NewReader("apikey=k1"), iotest.ErrReader(gone))
	ex.Request.ContentLength = 20
	if access(t, `{"key_in_body":true}`, ex) != plugin.Stop {
		t.Error("a key was taken from half a body")
	}
	got, err := io.ReadAll(ex.Request.Body)
	if string(got) != "apikey=k1" || !errors.Is(err, gone) {
		t.Errorf("the upstream gets %q and %v", got, err)
	}
}

// FuzzBody: whatever a body holds, nothing panics, what is not cut reaches the
// upstream untouched, and what was cut is not found again.
func FuzzBody(f *testing.F) {
	f.Add(formType, "a=1&apikey=k1", true)
	f.Add(formType, "%61pikey=%6b1&&=", true)
	f.Add(jsonType, `{"a":[1,{"b":null}],"apikey":"k1"}`, true)
	f.Add(jsonType, `{"apikey":["k1"],"apikey":1e9}`, false)
	f.Add(partsType, part("apikey", "k1")+part("a", "1")+"--x-7--\r\n", true)
	f.Add(partsType, "--x-7\r\n\r\n--x-7--", true)
	f.Add(partsType, part("apikey", "k1")+"--x-7\r\n\r\n", true)
	f.Add("multipart/form-data; boundary=\"\xff\"", "--", true)
	f.Fuzz(func(t *testing.T, contentType, text string, hide bool) {
		ex := plugintest.Exchange("POST", "/")
		plugintest.SetBody(ex, contentType, text)
		ex.Directory = directory()
		p := &Plugin{Config: Config{KeyInBody: true, HideCredentials: hide}}
		p.names = []keyName{{plain: "apikey", header: "Apikey"}}
		var b body
		before := p.find(ex, &p.names[0], nil, &b)
		cut := before.count == 1 && !before.unusable && hide && b.format != nil
		p.hide(ex, &p.names[0], &b)
		rest := plugintest.ReadBody(t, ex)
		if ex.Request.ContentLength != int64(len(rest)) {
			t.Fatalf("length %d for %q", ex.Request.ContentLength, rest)
		}
		if !hide && rest != text {
			t.Fatalf("%q became %q", text, rest)
		}
		if !cut {
			return
		}
		if again := b.format.find([]byte(rest), "apikey"); again.count > 0 {
			t.Fatalf("%q still has %+v: %q", text, again, rest)
		}
		if diff := cmp.Diff(others(contentType, []byte(text)), others(contentType, []byte(rest))); diff != "" {
			t.Fatalf("%q became %q:\n%s", text, rest, diff)
		}
	})
}

// others gives what a body holds under names other than apikey, read by the
// standard library alone.
func others(contentType string, data []byte) any {
	kind, params, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/json":
		var m map[string]any
		if json.Unmarshal(data, &m) != nil {
			return nil
		}
		delete(m, "apikey")
		return m
	case "multipart/form-data":
		var list []string
		for r := multipart.NewReader(bytes.NewReader(data), params["boundary"]); ; {
			p, err := r.NextRawPart()
			if err != nil {
				return list
			}
			val, _ := io.ReadAll(p)
			if p.FormName() != "apikey" {
				list = append(list, p.FormName()+"="+string(val))
			}
		}
	}
	return nil
}
