package http1

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// decode feeds a decoder with pieces of wire; piece says how long the next is.
// It gives the body, what is left behind it, and the error.
func decode(c *Chunked, wire string, piece func() int) (body, rest string, err error) {
	for wire != "" && !c.Done() {
		in := []byte(wire[:min(max(piece(), 1), len(wire))])
		used := 0
		for used < len(in) && !c.Done() {
			data, n, err := c.Next(in[used:])
			if err != nil {
				return body, "", err
			}
			if n == 0 {
				return body, "", errors.New("no progress")
			}
			body += string(data)
			used += n
		}
		wire = wire[used:]
	}
	return body, wire, nil
}

// TestChunked says what is decoded, and how each split of it ends: 0 done, -1
// not complete, else the status.
func TestChunked(t *testing.T) {
	tests := map[string]struct {
		wire, body, rest string
		trailer          []Field
		want             int
	}{
		"one chunk":                    {wire: "5\r\nhello\r\n0\r\n\r\n", body: "hello"},
		"two chunks":                   {wire: "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", body: "hello!"},
		"no chunk":                     {wire: "0\r\n\r\n"},
		"many zeros":                   {wire: "000\r\n\r\n"},
		"next request":                 {wire: "0\r\n\r\nGET / HTTP/1.1\r\n", rest: "GET / HTTP/1.1\r\n"},
		"letters":                      {wire: "A\r\n0123456789\r\n00b\r\n0123456789a\r\n0\r\n\r\n", body: "01234567890123456789a"},
		"15 digits":                    {wire: "000000000000002\r\nab\r\n0\r\n\r\n", body: "ab"},
		"16 digits":                    {wire: "0000000000000002\r\nab\r\n0\r\n\r\n", want: 400},
		"large size":                   {wire: "fffffffffffffff\r\nab", body: "ab", want: -1},
		"CR LF in the data":            {wire: "4\r\n\r\n\r\n\r\n0\r\n\r\n", body: "\r\n\r\n"},
		"not there yet":                {wire: "5\r\nhel", body: "hel", want: -1},
		"no last line":                 {wire: "5\r\nhello\r\n0\r\n", body: "hello", want: -1},
		"no size":                      {wire: "\r\nhello\r\n", want: 400},
		"extension without size":       {wire: ";a\r\n", want: 400},
		"minus":                        {wire: "-5\r\nhello", want: 400},
		"plus":                         {wire: "+5\r\nhello", want: 400},
		"0x":                           {wire: "0x5\r\nhello", want: 400},
		"space before":                 {wire: " 5\r\nhello", want: 400},
		"space after":                  {wire: "5 \r\nhello", want: 400},
		"underscore":                   {wire: "1_0\r\nhello", want: 400},
		"LF after the size":            {wire: "5\nhello\r\n0\r\n\r\n", want: 400},
		"CR after the size":            {wire: "5\rXhello\r\n0\r\n\r\n", want: 400},
		"LF after the data":            {wire: "5\r\nhello\n0\r\n\r\n", body: "hello", want: 400},
		"longer than said":             {wire: "5\r\nhello!\r\n0\r\n\r\n", body: "hello", want: 400},
		"shorter than said":            {wire: "5\r\nhell\r\n0\r\n\r\n", body: "hell\r", want: 400},
		"LF at the end":                {wire: "0\r\n\n", want: 400},
		"LF after the last size":       {wire: "0\n\r\n", want: 400},
		"CR at the end":                {wire: "0\r\n\rX", want: 400},
		"extension":                    {wire: "2;a=b;c\r\nhi\r\n0;d=\"e\"\r\n\r\n", body: "hi"},
		"white space and an extension": {wire: "2 \t;a\r\nhi\r\n0\r\n\r\n", want: 400},
		"white space, then not one":    {wire: "2 a\r\nhi\r\n0\r\n\r\n", want: 400},
		"LF in an extension":           {wire: "2;a\nhi\r\n0\r\n\r\n", want: 400},
		"CR in an extension":           {wire: "2;a\rb\r\nhi\r\n0\r\n\r\n", want: 400},
		"NUL in an extension":          {wire: "2;a\x00b\r\nhi\r\n0\r\n\r\n", want: 400},
		"extension with UTF-8":         {wire: "2;\xff\r\nhi\r\n0\r\n\r\n", body: "hi"},
		"trailer":                      {wire: "0\r\nGrpc-Status: 0\r\nX:  y \r\n\r\nrest", rest: "rest", trailer: []Field{{"Grpc-Status", "0"}, {"X", "y"}}},
		"trailer, not there yet":       {wire: "0\r\nX: y\r\n", want: -1},
		"trailer with LF":              {wire: "0\r\nX: y\n\r\n", want: 400},
		"trailer with LF at its end":   {wire: "0\r\nX: y\r\n\n", want: 400},
		"trailer that begins with LF":  {wire: "0\r\n\nX: y\r\n\r\n", want: 400},
		"trailer folded":               {wire: "0\r\nX: y\r\n z\r\n\r\n", want: 400},
		"trailer without a colon":      {wire: "0\r\nX\r\n\r\n", want: 400},
		"trailer with a space":         {wire: "0\r\nX : y\r\n\r\n", want: 400},
		"trailer with NUL":             {wire: "0\r\nX: \x00\r\n\r\n", want: 400},
		"trailer, forbidden": {
			wire: "0\r\nHost: x\r\nA: b\r\ncontent-LENGTH: 5\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\ncontent-type: x\r\n" +
				"X-Consumer-Id: root\r\nConnection: x\r\nhost: y\r\nC: d\r\nX-Forwarded-For: x\r\nSet-Cookie: x\r\nte: x\r\n\r\n",
			trailer: []Field{{"A", "b"}, {"C", "d"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= len(tt.wire); size++ {
				var c Chunked
				body, rest, err := decode(&c, tt.wire, func() int { return size })
				got := statusOf(1, err)
				if got == 0 && !c.Done() {
					got = -1
				}
				if got != tt.want || body != tt.body || rest != tt.rest {
					t.Fatalf("pieces of %d: %d (%v), body %q, rest %q; want %d, %q, %q", size, got, err, body, rest, tt.want, tt.body, tt.rest)
				}
				if diff := cmp.Diff(tt.trailer, append([]Field(nil), c.Trailer().list...)); diff != "" {
					t.Fatalf("trailer (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestChunkedErrorIsFinal(t *testing.T) {
	var c Chunked
	_, _, first := c.Next([]byte("x"))
	data, n, err := c.Next([]byte("2\r\nhi\r\n"))
	if first == nil || !errors.Is(err, first) || n != 0 || data != nil || c.Done() {
		t.Errorf("%v, then %q %d %v", first, data, n, err)
	}
	c.Reset()
	if body, _, err := decode(&c, "2\r\nhi\r\n0\r\n\r\n", func() int { return 100 }); body != "hi" || err != nil {
		t.Errorf("after Reset: %q %v", body, err)
	}
}

// TestChunkExtensionsAreBounded is CVE-2023-39326: a body of nearly nothing but
// extensions.
func TestChunkExtensionsAreBounded(t *testing.T) {
	tests := map[string]struct {
		wire string
		ok   bool
	}{
		"one long":              {"1;" + strings.Repeat("x", 5000) + "\r\na\r\n0\r\n\r\n", false},
		"one":                   {"1;" + strings.Repeat("x", 4000) + "\r\na\r\n0\r\n\r\n", true},
		"many":                  {strings.Repeat("1;abcdefghij\r\na\r\n", 1000) + "0\r\n\r\n", false},
		"white space":           {"1; " + strings.Repeat(" ", 5000) + ";a\r\na\r\n0\r\n\r\n", false},
		"many, with data":       {strings.Repeat("20;abcdefghij\r\n0123456789abcdef0123456789abcdef\r\n", 1000) + "0\r\n\r\n", true},
		"promised data":         {"fffffffffff;" + strings.Repeat("x", 5000) + "\r\na", false},
		"no extension":          {strings.Repeat("1\r\na\r\n", 10000) + "0\r\n\r\n", true},
		"in the last chunk too": {"0;" + strings.Repeat("x", 5000) + "\r\n\r\n", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				var c Chunked
				if _, _, err := decode(&c, tt.wire, func() int { return size }); (err == nil) != tt.ok {
					t.Errorf("pieces of %d: %v", size, err)
				}
			}
		})
	}
}

func TestTrailerIsBounded(t *testing.T) {
	tests := map[string]struct {
		lim  Limits
		wire string
		want int
	}{
		"bytes by default":         {Limits{}, "X: " + strings.Repeat("y", 8<<10) + "\r\n", 431},
		"a line without end":       {Limits{}, strings.Repeat("y", 9<<10), 431},
		"fields by default":        {Limits{}, strings.Repeat("X: y\r\n", 65), 431},
		"within both":              {Limits{}, strings.Repeat("X: 0123456789\r\n", 64), 0},
		"as many bytes as allowed": {Limits{Bytes: 8}, "X: y\r\n", 0},
		"a byte more":              {Limits{Bytes: 7}, "X: y\r\n", 431},
		"as many fields":           {Limits{Fields: 1}, "X: y\r\n", 0},
		"one more":                 {Limits{Fields: 1}, "X: y\r\nZ: y\r\n", 431},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				c := Chunked{TrailerLimits: tt.lim}
				_, _, err := decode(&c, "0\r\n"+tt.wire+"\r\n", func() int { return size })
				if got := statusOf(1, err); got != tt.want {
					t.Errorf("pieces of %d: %d (%v), want %d", size, got, err, tt.want)
				}
			}
		})
	}
}

func TestTrailerStaysAfterOthers(t *testing.T) {
	var c Chunked
	for _, want := range []string{"first", "second"} {
		c.Reset()
		if _, _, err := decode(&c, "0\r\nX: "+want+"\r\n\r\n", func() int { return 3 }); err != nil || c.Trailer().Get("X") != want || c.Trailer().Len() != 1 {
			t.Errorf("%v, %q, want %q", err, c.Trailer().Get("X"), want)
		}
	}
	c.Reset()
	if _, _, err := decode(&c, "0\r\n\r\n", func() int { return 3 }); err != nil || c.Trailer().Len() != 0 {
		t.Errorf("%v, %d fields of another body", err, c.Trailer().Len())
	}
}

// TestChunkedRoundTrip encodes random bodies and decodes them in random pieces.
func TestChunkedRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var want, wire []byte
		for range rnd.IntN(6) {
			data := make([]byte, 1+rnd.IntN(300))
			for i := range data {
				data[i] = "\r\n0a;"[rnd.IntN(5)]
			}
			want = append(want, data...)
			wire = append(AppendChunkSize(wire, len(data)), data...)
			wire = append(wire, ChunkEnd...)
		}
		wire = append(wire, LastChunk...)
		trailer := fieldsOf("X-Sum", "1")
		wire = append(trailer.AppendTo(wire), EndOfHead...)
		var c Chunked
		body, rest, err := decode(&c, string(wire)+"rest", func() int { return 1 + rnd.IntN(50) })
		if body != string(want) || rest != "rest" || err != nil || !c.Done() {
			t.Fatalf("%q: body %q, rest %q, %v", wire, body, rest, err)
		}
		if diff := cmp.Diff(trailer.list, c.Trailer().list); diff != "" {
			t.Fatalf("trailer (-want +got):\n%s", diff)
		}
	}
}
