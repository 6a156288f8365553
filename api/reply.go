package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// reply is an answer before it is written.
type reply struct {
	status int
	header http.Header // beyond what every answer has; may be nil
	body   []byte      // JSON, or nil for an empty body
	// index is the log index of the configuration that the answer shows or made; 0 shows none.
	index uint64
	// stream, if not nil, writes the answer itself.
	stream http.Handler
}

// set adds a header and returns the reply.
func (r *reply) set(name, value string) *reply {
	if r.header == nil {
		r.header = make(http.Header)
	}
	r.header.Set(name, value)
	return r
}

// jsonReply makes a reply of a value.
func jsonReply(status int, v any) (*reply, error) {
	body, err := encodeJSON(v)
	if err != nil {
		return nil, err
	}
	return &reply{status: status, body: body}, nil
}

// messageReply makes Kong's plain answer: {"message": "..."}.
func messageReply(status int, message string) *reply {
	body, err := encodeJSON(map[string]string{"message": message})
	if err != nil {
		body = []byte(`{}`) // a map of strings always encodes
	}
	return &reply{status: status, body: body}
}

// encodeJSON writes a value as JSON without escaping HTML: what an operator stored is what curl shows.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// The escapes that encoding/json writes for the characters that matter in HTML. Entities pass through it on
// their way into the log.
var htmlEscapes = map[string]byte{"003c": '<', "003e": '>', "0026": '&'}

// appendPlain appends JSON with HTML escapes undone.
func appendPlain(b, raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`\u00`)) {
		return append(b, raw...)
	}
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 || i+1 == len(raw) {
			break
		}
		b = append(b, raw[:i]...)
		raw = raw[i:]
		if raw[1] == 'u' && len(raw) >= 6 {
			if c, ok := htmlEscapes[string(raw[2:6])]; ok {
				b, raw = append(b, c), raw[6:]
				continue
			}
		}
		b, raw = append(b, raw[:2]...), raw[2:] // also "\\", whose second half begins no escape
	}
	return append(b, raw...)
}
