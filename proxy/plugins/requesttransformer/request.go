package requesttransformer

import (
	"fmt"
	"net/textproto"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/expr"
)

// template is a value that depends on the request.
type template = expr.Template[*request]

// request is what templates look values up in, and what they have given.
type request struct {
	ex       *plugin.Exchange
	captures map[string]string
	captured bool

	dynamic []*template
	values  []string // of dynamic
	path    []byte
}

func newRequest(dynamic []*template) *request {
	return &request{dynamic: dynamic, values: make([]string, len(dynamic))}
}

// begin evaluates the templates, before anything is changed.
func (r *request) begin(ex *plugin.Exchange) {
	r.ex = ex
	for i, t := range r.dynamic {
		r.values[i] = t.Render(r)
	}
}

// end keeps nothing of the request.
func (r *request) end() {
	clear(r.values)
	r.ex, r.captures, r.captured = nil, nil, false
}

// uri evaluates a path, escaped as it goes on the wire.
func (r *request) uri(t *template) string {
	r.path = t.Append(r.path[:0], r, appendEscaped)
	for _, c := range r.path {
		if !inURI(c) {
			return string(appendURI(nil, string(r.path)))
		}
	}
	return string(r.path)
}

// lookUp gives the meaning of a template's variable.
func lookUp(n expr.Name) (func(*request) expr.Value, error) {
	path := n.Path()
	if len(n.Words) != 2 || strings.HasSuffix(path, "()") {
		return nil, fmt.Errorf("%s cannot be evaluated: there are headers, query_params, uri_captures and shared, each with one name", path)
	}
	key := n.Words[1]
	switch n.Words[0] {
	case "headers":
		return header(key), nil
	case "query_params":
		return func(r *request) expr.Value { return r.param(key) }, nil
	case "uri_captures":
		return func(r *request) expr.Value { return r.capture(key) }, nil
	case "shared":
		return func(r *request) expr.Value { return expr.TextOr(r.ex.SharedText(key)) }, nil
	}
	return nil, fmt.Errorf("unknown variable %s: there are headers, query_params, uri_captures and shared", n.Words[0])
}

func header(key string) func(*request) expr.Value {
	if strings.EqualFold(key, "host") {
		return func(r *request) expr.Value { return expr.Text(r.ex.Request.Host) }
	}
	name, dashed := textproto.CanonicalMIMEHeaderKey(key), textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(key, "_", "-"))
	return func(r *request) expr.Value {
		h := r.ex.Request.Header
		if h.Has(name) {
			return expr.Text(h.Get(name))
		}
		return expr.TextOr(h.Get(dashed), h.Has(dashed))
	}
}

// param gives the first parameter of a name; one without a value is true, as in
// Kong.
func (r *request) param(key string) expr.Value {
	for p := range plugin.Params(r.ex.Upstream.Query) {
		switch {
		case p.Name != key:
		case p.Bare:
			return expr.Bool(true)
		default:
			return expr.Text(p.Value)
		}
	}
	return expr.Value{}
}

func (r *request) capture(key string) expr.Value {
	if !r.captured {
		r.captured = true
		if r.ex.Captures != nil {
			r.captures = r.ex.Captures.Captures()
		}
	}
	text, ok := r.captures[key]
	return expr.TextOr(text, ok)
}

// inURI says whether a byte may stand in a path or a query as it is.
func inURI(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte("\"#<>\\^`{|}", c) < 0
}

const hexDigits = "0123456789ABCDEF"

func appendEscape(b []byte, c byte) []byte {
	return append(b, '%', hexDigits[c>>4], hexDigits[c&15])
}

// appendURI appends a text with what cannot stand in a URI escaped.
func appendURI(b []byte, s string) []byte {
	for i := range len(s) {
		if inURI(s[i]) {
			b = append(b, s[i])
		} else {
			b = appendEscape(b, s[i])
		}
	}
	return b
}

// appendEscaped appends a value to a URI. It cannot begin a query; escapes in it
// stay what they are.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, c)
		case c == '%', c == '?', !inURI(c):
			b = appendEscape(b, c)
		default:
			b = append(b, c)
		}
	}
	return b
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
