package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sluicegate/sluice/fsm/schema"
)

const (
	// maxArguments bounds the arguments of a form or a query, as in Kong.
	maxArguments = 1000
	// maxDepth bounds nesting: no entity is deeper than ten, and what walks a value recurses.
	maxDepth = 100
)

// requestBody is a decoded body. The values of a form are all strings until a schema gives them types.
type requestBody struct {
	fields map[string]any
	form   bool
}

// typed gives a body the types of a schema. The top level is the caller's to change. before, if not nil, is
// the entity to be patched: it picks the subschema when the body does not.
func (b requestBody) typed(s *schema.Schema, before map[string]any) map[string]any {
	if !b.form {
		fields := maps.Clone(b.fields)
		if fields == nil {
			fields = make(map[string]any)
		}
		return fields
	}
	if _, picks := b.fields[s.SubschemaKey]; before != nil && !picks {
		s = s.For(before)
	}
	return s.FromForm(b.fields)
}

// rawBody is a body as it came. The type is "" if none was said.
type rawBody struct {
	contentType string
	data        []byte
}

// readRaw reads a body of so many bytes at most.
func readRaw(w http.ResponseWriter, r *http.Request, most int64) (*rawBody, error) {
	types := r.Header["Content-Type"]
	if len(types) > 1 {
		return nil, errTwoTypes
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, errCoded
	}
	if r.ContentLength > most && r.Header.Get("Expect") != "" {
		return nil, errBodyTooLarge // the client waits to be told; others only hear an answer after sending
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, errBodyTooLarge
	case err != nil:
		return nil, errBodyUnread
	}
	b := &rawBody{data: data}
	if len(types) == 1 {
		b.contentType = strings.TrimSpace(types[0])
	}
	return b, nil
}

// is says whether a body is of a type, whatever its parameters.
func (b *rawBody) is(contentType string) bool {
	return len(b.contentType) >= len(contentType) && strings.EqualFold(b.contentType[:len(contentType)], contentType)
}

// readBody reads and decodes a body by its content type.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) (requestBody, error) {
	b, err := readRaw(w, r, a.cfg.MaxBody)
	if err != nil || b.contentType == "" && len(b.data) == 0 {
		return requestBody{}, err
	}
	return b.decode()
}

// decode decodes a body by its content type.
func (b *rawBody) decode() (requestBody, error) {
	switch {
	case b.is("application/json"):
		fields, err := decodeJSON(b.data)
		return requestBody{fields: fields}, err
	case b.is("application/x-www-form-urlencoded"):
		return formBody(parseForm(string(b.data)))
	case b.is("multipart/form-data"):
		return formBody(parseMultipart(b.data, b.contentType))
	}
	return requestBody{}, errUnsupportedType
}

func formBody(args []argument, err error) (requestBody, error) {
	if err != nil {
		return requestBody{}, err
	}
	tree, err := formTree(args)
	return requestBody{fields: tree, form: true}, err
}

// decodeJSON decodes one JSON object, with numbers as written. encoding/json replaces invalid UTF-8 and
// halves of surrogate pairs without a word, which would store something else than was sent, so those are
// refused here, as Kong refuses them.
func decodeJSON(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errBadJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, errBadJSON
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errBadJSON
	}
	fields, ok := v.(map[string]any)
	if !ok || halfPair(data) {
		return nil, errBadJSON
	}
	if deeper(fields, maxDepth) {
		return nil, errDeepJSON
	}
	return fields, nil
}

// halfPair says that a JSON text has an escape for one half of a surrogate pair without the other (RFC 8259,
// section 8.2). The text must be valid otherwise: then a backslash begins an escape, and \u has four digits.
func halfPair(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		first := escapedUnit(data[i:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		i += 5
		if data[i] != '\\' || utf16.DecodeRune(first, escapedUnit(data[i+1:])) == utf8.RuneError {
			return true
		}
	}
	return false
}

// escapedUnit gives the UTF-16 code unit of an escape whose backslash is cut off, -1 for another escape.
func escapedUnit(escape []byte) rune {
	if escape[0] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(escape[1:5]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

// deeper says whether a value nests deeper than a limit. The decoder itself stops at 10,000.
func deeper(v any, limit int) bool {
	switch value := v.(type) {
	case map[string]any:
		for _, part := range value {
			if limit == 0 || deeper(part, limit-1) {
				return true
			}
		}
	case []any:
		for _, part := range value {
			if limit == 0 || deeper(part, limit-1) {
				return true
			}
		}
	}
	return false
}

// argument is one name and value of a form. The value is a string, or true for a name without "=".
type argument struct {
	name  string
	value any
}

// parseForm splits an application/x-www-form-urlencoded body, leniently as nginx does: "100%" is a value.
func parseForm(body string) ([]argument, error) {
	var args []argument
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		if len(args) == maxArguments {
			return nil, errTooManyArguments
		}
		name, value, hasValue := strings.Cut(pair, "=")
		arg := argument{name: unescape(name), value: true}
		if hasValue {
			arg.value = unescape(value)
		}
		args = append(args, arg)
	}
	return args, nil
}

// unescape decodes + and %HH, and keeps a % that begins no escape.
func unescape(s string) string {
	if !strings.ContainsAny(s, "+%") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(fromHex(s[i+1])<<4 | fromHex(s[i+2]))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// parseMultipart reads each part as an argument; a file's content is its value. A body in which the boundary
// never comes has no parts for mime/multipart; here it is an error.
func parseMultipart(data []byte, contentType string) ([]argument, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, errBadMultipart
	}
	reader := multipart.NewReader(bytes.NewReader(data), params["boundary"])
	closing := []byte("--" + params["boundary"] + "--")
	var args []argument
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) && (len(args) > 0 || len(data) == 0 || bytes.Contains(data, closing)) {
			return args, nil
		}
		if err != nil {
			return nil, errBadMultipart
		}
		if len(args) == maxArguments {
			return nil, errTooManyArguments
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, errBadMultipart
		}
		args = append(args, argument{name: part.FormName(), value: string(value)})
	}
}

// parseQuery parses a query string, as leniently as a form.
func parseQuery(raw string) (url.Values, error) {
	args, err := parseForm(raw)
	if err != nil {
		return nil, err
	}
	values := make(url.Values, len(args))
	for _, arg := range args {
		value, _ := arg.value.(string)
		values[arg.name] = append(values[arg.name], value)
	}
	return values, nil
}
