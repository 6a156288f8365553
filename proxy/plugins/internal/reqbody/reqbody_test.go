package reqbody

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

var errGone = errors.New("client has gone")

func TestPeek(t *testing.T) {
	tests := map[string]struct {
		body   io.Reader
		length int64
		want   string
		found  Found
		left   string
	}{
		"none":              {nil, 0, "", Whole, ""},
		"empty":             {strings.NewReader(""), 0, "", Whole, ""},
		"known":             {strings.NewReader("12345"), 5, "12345", Whole, "12345"},
		"unknown":           {iotest.OneByteReader(strings.NewReader("12345")), -1, "12345", Whole, "12345"},
		"unknown, empty":    {strings.NewReader(""), -1, "", Whole, ""},
		"too large":         {strings.NewReader("123456"), 6, "", TooLarge, "123456"},
		"turns out so":      {iotest.HalfReader(strings.NewReader("1234567")), -1, "", TooLarge, "1234567"},
		"breaks off":        {io.MultiReader(strings.NewReader("12"), iotest.ErrReader(errGone)), 5, "", Broken, "12"},
		"breaks off in air": {io.MultiReader(strings.NewReader("12"), iotest.ErrReader(errGone)), -1, "", Broken, "12"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("POST", "/")
			ex.Request.Body, ex.Request.ContentLength = test.body, test.length
			got, found := Peek(ex, 5)
			if string(got) != test.want || found != test.found || ex.Request.ContentLength != test.length {
				t.Errorf("%q, %d, length %d", got, found, ex.Request.ContentLength)
			}
			if test.body == nil {
				return
			}
			left, err := io.ReadAll(ex.Request.Body)
			if string(left) != test.left || errors.Is(err, errGone) != (test.found == Broken) {
				t.Errorf("the upstream gets %q, %v", left, err)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	ex := plugintest.Exchange("POST", "/", "Content-Length", "9")
	Replace(ex, []byte("123"))
	if plugintest.ReadBody(t, ex) != "123" || ex.Request.ContentLength != 3 || ex.Request.Header.Get("Content-Length") != "3" {
		t.Errorf("length %d, field %s", ex.Request.ContentLength, ex.Request.Header.Get("Content-Length"))
	}
	Remove(ex)
	if ex.Request.Body != nil || ex.Request.ContentLength != 0 || ex.Request.Header.Has("Content-Length") {
		t.Error("it is still there")
	}
	Replace(ex, []byte("1"))
	if ex.Request.ContentLength != 1 || ex.Request.Header.Has("Content-Length") {
		t.Error("a field appeared")
	}
}
