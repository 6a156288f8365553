package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"
)

// messages are what Error says when it is given no message, for the statuses
// that plugins and the proxy answer with.
var messages = map[int]string{
	400: "Bad request",
	401: "Unauthorized",
	403: "Forbidden",
	404: "Not found",
	405: "Method not allowed",
	408: "Request timeout",
	411: "Length required",
	413: "Payload too large",
	414: "URI too long",
	415: "Unsupported media type",
	417: "Expectation failed",
	426: "Upgrade required",
	429: "Too many requests",
	431: "Request header fields too large",
	494: "Request header or cookie too large",
	500: "An unexpected error occurred",
	501: "Not implemented",
	502: "An invalid response was received from the upstream server",
	503: "The upstream server is currently unavailable",
	504: "The upstream server is timing out",
	505: "HTTP version not supported",
}

const contentTypeJSON = "application/json; charset=utf-8"

// Exit answers the request with a JSON body {"message": ...}, whatever the
// client accepts (Kong's response.exit); for gRPC the message goes into
// grpc-message. It always gives Stop.
func (ex *Exchange) Exit(status int, message string, fields ...Field) Verdict {
	if ex.isGRPC() {
		return ex.answerGRPC(status, message, fields)
	}
	return ex.ExitJSON(status, map[string]string{"message": message}, fields...)
}

// ExitJSON is Exit with a body of the caller's, which gRPC does not see. A body
// that cannot be encoded becomes a 500.
func (ex *Exchange) ExitJSON(status int, body any, fields ...Field) Verdict {
	if ex.isGRPC() {
		message := messages[status]
		if m, ok := body.(map[string]string); ok && m["message"] != "" {
			message = m["message"]
		}
		return ex.answerGRPC(status, message, fields)
	}
	data, err := encode(body)
	if err != nil {
		status, data = 500, []byte(`{"message":"An unexpected error occurred"}`)
	}
	return ex.answer(status, contentTypeJSON, data, fields)
}

// Error answers the request with a message in the form the client accepts:
// JSON unless the Accept field prefers HTML, XML or plain text; for gRPC an
// empty body and the message in grpc-message (Kong's response.error). An empty
// message means the status's usual one. It always gives Stop.
func (ex *Exchange) Error(status int, message string, fields ...Field) Verdict {
	if message == "" {
		message = messages[status]
	}
	if message == "" {
		message = fmt.Sprintf("The upstream server responded with %d", status)
	}
	if ex.isGRPC() {
		return ex.answerGRPC(status, message, fields)
	}
	kind, body := errorBody(ex.Request.Header.Get("Accept"), message, ex.Request.ID)
	return ex.answer(status, kind, []byte(body), fields)
}

func (ex *Exchange) answer(status int, contentType string, body []byte, fields []Field) Verdict {
	ex.Response.Status = status
	ex.Response.Source = FromKong
	ex.Response.Body = body
	ex.Response.Header.Set("Content-Type", contentType)
	for _, f := range fields {
		ex.Response.Header.Set(f.Name, f.Value)
	}
	return Stop
}

// errorBody gives the content type and body of an error in the media type that
// an Accept field prefers.
func errorBody(accept, message, id string) (contentType, body string) {
	switch preferred(accept) {
	case "text/html":
		return "text/html; charset=utf-8", fmt.Sprintf(
			"<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  <body>\n    <h1>Error</h1>\n    <p>%s.</p>\n    <p>request_id: %s</p>\n  </body>\n</html>\n",
			html.EscapeString(message), id)
	case "application/xml":
		return "application/xml; charset=utf-8", fmt.Sprintf(
			"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>%s</message>\n  <requestid>%s</requestid>\n</error>",
			html.EscapeString(message), id)
	case "text/plain":
		return "text/plain; charset=utf-8", fmt.Sprintf("%s\nrequest_id: %s\n", message, id)
	}
	quoted, err := encode(message)
	if err != nil { // a string always encodes
		quoted = []byte(`""`)
	}
	return contentTypeJSON, fmt.Sprintf("{\n  \"message\":%s,\n  \"request_id\":\"%s\"\n}", quoted, id)
}

// encode is json.Marshal without the escapes for HTML, so that "<" and "&" reach
// the client as they were configured.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// preferred picks the media type of an error from an Accept field (RFC 9110,
// section 12.5.1), as Kong does: the type of the highest weight, the first of
// equals; what is not known counts as JSON.
func preferred(accept string) string {
	best, weight := "application/json", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if !strings.Contains(name, "/") {
			continue
		}
		if q := quality(params); q > weight {
			best, weight = name, q
		}
	}
	switch best {
	case "text/html", "application/xml", "text/plain":
		return best
	case "text/*":
		return "text/plain"
	}
	return "application/json"
}

func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, val, ok := strings.Cut(strings.TrimSpace(p), "=")
		if ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(val), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
