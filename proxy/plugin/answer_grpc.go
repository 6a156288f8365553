package plugin

import (
	"fmt"
	"strconv"
	"strings"
)

// grpcStatus maps an HTTP status to the gRPC status code that stands for it.
var grpcStatus = map[int]int{
	400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4,
}

// isGRPC says whether the client speaks gRPC and so wants its answers in it.
func (ex *Exchange) isGRPC() bool {
	return ex.Request.ProtoMajor == 2 &&
		strings.HasPrefix(ex.Request.Header.Get("Content-Type"), "application/grpc")
}

// answerGRPC answers without a body. The HTTP status stays, as in Kong, so that
// logs and metrics tell a refusal from a success.
func (ex *Exchange) answerGRPC(status int, message string, fields []Field) Verdict {
	code, ok := grpcStatus[status]
	switch {
	case ok:
	case 500 <= status && status < 600:
		code = grpcStatus[500]
	case 400 <= status && status < 500:
		code = grpcStatus[400]
	case 200 <= status && status < 300:
		code = 0
	default:
		code = 2 // unknown
	}
	ex.Response.Header.Set("Grpc-Status", strconv.Itoa(code))
	ex.Response.Header.Set("Grpc-Message", percentEncode(message))
	return ex.answer(status, "application/grpc", []byte{}, fields)
}

// percentEncode is the encoding of grpc-message: all but printable ASCII, and
// "%", as escapes.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
