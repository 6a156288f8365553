// Package reqbody is how plugins look into the bodies of requests and change them.
package reqbody

import (
	"bytes"
	"io"
	"strconv"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// Found is what Peek found.
type Found uint8

const (
	// Whole says that all of the body was read.
	Whole Found = iota
	// TooLarge says that there is more than was asked for.
	TooLarge
	// Broken says that the body breaks off: who reads on meets the same error.
	Broken
)

// Peek reads a body of at most so many bytes and puts it back, so that the
// upstream gets the same bytes and the same error. One that is announced to be
// larger is not read at all. The bytes must not be changed.
func Peek(ex *plugin.Exchange, most int) ([]byte, Found) {
	r := &ex.Request
	switch {
	case r.Body == nil || r.ContentLength == 0:
		return nil, Whole
	case r.ContentLength > int64(most):
		return nil, TooLarge
	}
	rest := r.Body
	data, err := io.ReadAll(io.LimitReader(rest, int64(most)+1))
	if err != nil {
		r.Body = io.MultiReader(bytes.NewReader(data), &failing{err})
		return nil, Broken
	}
	r.Body = io.MultiReader(bytes.NewReader(data), rest)
	if len(data) > most {
		return nil, TooLarge
	}
	return data, Whole
}

// Replace gives the request another body, which must not be changed afterwards.
func Replace(ex *plugin.Exchange, data []byte) {
	r := &ex.Request
	r.Body, r.ContentLength = bytes.NewReader(data), int64(len(data))
	if r.Header.Has("Content-Length") {
		r.Header.Set("Content-Length", strconv.Itoa(len(data)))
	}
}

// Remove takes the request's body away, and what describes it.
func Remove(ex *plugin.Exchange) {
	ex.Request.Body, ex.Request.ContentLength = nil, 0
	ex.Request.Header.Del("Content-Length")
	ex.Request.Header.Del("Content-Type")
}

// failing is a reader that has broken before and still is.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
