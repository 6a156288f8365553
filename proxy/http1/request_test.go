package http1

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const browser = "GET /students/17?fields=name,marks HTTP/1.1\r\n" +
	"Host: api.example.com:8000\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Cookie: session=4f1c2d9a7b; theme=dark\r\n" +
	"Connection: keep-alive\r\n" +
	"Apikey: 0123456789abcdef0123456789abcdef\r\n" +
	"\r\n"

func TestRequestIsParsed(t *testing.T) {
	var r Request
	n, err := r.Parse([]byte(browser+"rest"), Limits{})
	if err != nil || n != len(browser) {
		t.Fatalf("%d, %v; want %d", n, err, len(browser))
	}
	if r.Method != "GET" || r.Target != "/students/17?fields=name,marks" || r.Minor != 1 {
		t.Errorf("request line: %q %q %d", r.Method, r.Target, r.Minor)
	}
	if r.Host() != "api.example.com:8000" || !r.KeepAlive() || r.Fields.Len() != 8 {
		t.Errorf("host %q, keep-alive %v, %d fields", r.Host(), r.KeepAlive(), r.Fields.Len())
	}
	if got := r.Fields.Get("accept-language"); got != "en-US,en;q=0.5" {
		t.Errorf("Accept-Language %q", got)
	}
	if f, err := r.Framing(); err != nil || f != (Framing{}) {
		t.Errorf("framing %+v, %v", f, err)
	}
}

// requestLine makes a whole request of a request line.
func requestLine(line string) string { return line + "\r\nHost: a\r\n\r\n" }

// fieldLines makes a whole request of field lines.
func fieldLines(lines string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n\r\n" }

// TestRequestStatus says with which status a head is refused; 0 is accepted, -1
// is not complete.
func TestRequestStatus(t *testing.T) {
	tests := map[string]struct {
		wire string
		want int
	}{
		"nothing":                       {"", -1},
		"begun":                         {"GE", -1},
		"request line":                  {"GET / HTTP/1.1\r\n", -1},
		"one empty line before":         {"\r\n" + requestLine("GET / HTTP/1.1"), 0},
		"half an empty line":            {"\r", -1},
		"an empty line":                 {"\r\n", -1},
		"two empty lines before":        {"\r\n\r\n", 400},
		"bare LF before":                {"\n" + requestLine("GET / HTTP/1.1"), 400},
		"LF ends the request line":      {"GET / HTTP/1.1\n", 400},
		"LF ends a field":               {"GET / HTTP/1.1\r\nHost: a\n", 400},
		"LF ends the head":              {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
		"CR ends a field":               {fieldLines("X: y\rZ: z"), 400},
		"CR in the request line":        {requestLine("GET /\r HTTP/1.1"), 400},
		"CR CR LF":                      {fieldLines("X: y\r"), 400},
		"CR begins a line":              {fieldLines("\rX: y"), 400},
		"any token is a method":         {requestLine("M-SEARCH / HTTP/1.1"), 0},
		"lower case method":             {requestLine("get / HTTP/1.1"), 0},
		"method is no token":            {requestLine("G(T / HTTP/1.1"), 400},
		"no method":                     {requestLine(" / HTTP/1.1"), 400},
		"TLS":                           {"\x16\x03\x01\x02\x00\x01", 400},
		"TAB after the method":          {requestLine("GET\t/ HTTP/1.1"), 400},
		"two spaces":                    {requestLine("GET  / HTTP/1.1"), 400},
		"space after the target":        {requestLine("GET /  HTTP/1.1"), 400},
		"space in the target":           {requestLine("GET /a b HTTP/1.1"), 400},
		"space after the version":       {requestLine("GET / HTTP/1.1 "), 400},
		"no target":                     {requestLine("GET HTTP/1.1"), 400},
		"empty target":                  {requestLine("GET  HTTP/1.1"), 400},
		"HTTP/0.9":                      {requestLine("GET /"), 400},
		"HTTP/0.9 with version":         {requestLine("GET / HTTP/0.9"), 505},
		"HTTP/1.2":                      {requestLine("GET / HTTP/1.2"), 505},
		"HTTP/2.0":                      {requestLine("GET / HTTP/2.0"), 505},
		"HTTP/1.10":                     {requestLine("GET / HTTP/1.10"), 400},
		"HTTP/1.":                       {requestLine("GET / HTTP/1."), 400},
		"HTTP/11":                       {requestLine("GET / HTTP/11"), 400},
		"http/1.1":                      {requestLine("GET / http/1.1"), 400},
		"HTTP/1.x":                      {requestLine("GET / HTTP/1.x"), 400},
		"version alone":                 {requestLine("HTTP/1.1"), 400},
		"version and nothing before":    {requestLine(" HTTP/1.1"), 400},
		"the preface":                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"PRI with our version":          {requestLine("PRI * HTTP/1.1"), 400},
		"NUL in the target":             {requestLine("GET /\x00 HTTP/1.1"), 400},
		"DEL in the target":             {requestLine("GET /\x7f HTTP/1.1"), 400},
		"bytes of UTF-8 in the target":  {requestLine("GET /\xc3\xa4 HTTP/1.1"), 0},
		"fragment":                      {requestLine("GET /a#b HTTP/1.1"), 400},
		"escape":                        {requestLine("GET /%2F%zz HTTP/1.1"), 400},
		"escape cut off":                {requestLine("GET /%2 HTTP/1.1"), 400},
		"good escapes":                  {requestLine("GET /%2f%C3%a4 HTTP/1.1"), 0},
		"a query has its own escapes":   {requestLine("GET /?100% HTTP/1.1"), 0},
		"two slashes":                   {requestLine("GET //b/c HTTP/1.1"), 0},
		"relative target":               {requestLine("GET a/b HTTP/1.1"), 400},
		"query alone":                   {requestLine("GET ?a HTTP/1.1"), 400},
		"asterisk":                      {requestLine("OPTIONS * HTTP/1.1"), 0},
		"asterisk with GET":             {requestLine("GET * HTTP/1.1"), 400},
		"asterisk and more":             {requestLine("OPTIONS *a HTTP/1.1"), 400},
		"absolute":                      {requestLine("GET http://a/b HTTP/1.1"), 0},
		"absolute, another scheme":      {requestLine("GET ftp://a/b HTTP/1.1"), 400},
		"absolute, no host":             {requestLine("GET http:///b HTTP/1.1"), 400},
		"absolute, one slash":           {requestLine("GET http:/a/b HTTP/1.1"), 400},
		"absolute, user":                {requestLine("GET http://u@a/b HTTP/1.1"), 400},
		"absolute, user and password":   {requestLine("GET http://a:1@a/b HTTP/1.1"), 400},
		"absolute, backslash":           {requestLine("GET http://a\\@b/ HTTP/1.1"), 400},
		"absolute, other host":          {requestLine("GET http://b/ HTTP/1.1"), 400},
		"absolute, other case":          {requestLine("GET HTTP://A/ HTTP/1.1"), 0},
		"absolute, usual port":          {requestLine("GET http://a:80/ HTTP/1.1"), 0},
		"absolute, empty port":          {requestLine("GET http://a:/ HTTP/1.1"), 0},
		"absolute, usual port of https": {requestLine("GET https://a:443/ HTTP/1.1"), 0},
		"absolute, other port":          {requestLine("GET https://a:80/ HTTP/1.1"), 400},
		"absolute, bad escape":          {requestLine("GET http://a/% HTTP/1.1"), 400},
		"CONNECT":                       {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 0},
		"CONNECT, other host":           {"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", 400},
		"CONNECT, no port":              {requestLine("CONNECT a HTTP/1.1"), 400},
		"CONNECT, empty port":           {requestLine("CONNECT a: HTTP/1.1"), 400},
		"CONNECT with a path":           {requestLine("CONNECT /a HTTP/1.1"), 400},
		"authority with GET":            {requestLine("GET a:443 HTTP/1.1"), 400},

		"no Host":                    {"GET / HTTP/1.1\r\n\r\n", 400},
		"no Host, absolute":          {"GET http://a/ HTTP/1.1\r\n\r\n", 400},
		"no Host in 1.0":             {"GET / HTTP/1.0\r\n\r\n", 0},
		"two Hosts":                  {fieldLines("host: a"), 400},
		"two Hosts in 1.0":           {"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		"empty Host":                 {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		"empty Host in 1.0":          {"GET / HTTP/1.0\r\nHost:\r\n\r\n", 0},
		"empty Host, OPTIONS *":      {"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 0},
		"Host with a list":           {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
		"Host with a path":           {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		"Host with a user":           {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
		"Host with an escape":        {"GET / HTTP/1.1\r\nHost: %61\r\n\r\n", 400},
		"Host with UTF-8":            {"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400},
		"Host with underscore":       {"GET / HTTP/1.1\r\nHost: my_service.local.\r\n\r\n", 0},
		"Host with IPv4":             {"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n", 0},
		"Host with IPv6":             {"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 0},
		"Host with IPv6 and no port": {"GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", 0},
		"Host with IPv6 zone":        {"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", 400},
		"Host with IPv6 not in []":   {"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400},
		"Host with IPv4 in []":       {"GET / HTTP/1.1\r\nHost: [127.0.0.1]\r\n\r\n", 400},
		"Host with open bracket":     {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
		"Host with text after []":    {"GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", 400},
		"Host with a port only":      {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
		"Host with an empty port":    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 0},
		"Host with a large port":     {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
		"Host with a long port":      {"GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", 400},
		"Host with a signed port":    {"GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", 400},
		"Host with two ports":        {"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400},

		"empty value":                    {fieldLines("X:"), 0},
		"space around a value":           {fieldLines("X: \t y \t "), 0},
		"space before the colon":         {fieldLines("X : y"), 400},
		"TAB before the colon":           {fieldLines("X\t: y"), 400},
		"no colon":                       {fieldLines("X"), 400},
		"no name":                        {fieldLines(": y"), 400},
		"name is no token":               {fieldLines("X(Y): y"), 400},
		"name with NUL":                  {fieldLines("X\x00: y"), 400},
		"name with UTF-8":                {fieldLines("\xc3\xa4: y"), 400},
		"folded line":                    {fieldLines("X: y\r\n z"), 400},
		"folded line with TAB":           {fieldLines("X: y\r\n\tz"), 400},
		"space before the first field":   {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
		"NUL in a value":                 {fieldLines("X: a\x00b"), 400},
		"vertical TAB in a value":        {fieldLines("X: \x0by"), 400},
		"DEL in a value":                 {fieldLines("X: a\x7f"), 400},
		"ESC in a long value":            {fieldLines("X: 0123456789abcdef0123456789\x1b[31m"), 400},
		"TAB in a value":                 {fieldLines("X: 0123456\t89abcdef\t0123456789abc\td"), 0},
		"bytes over 0x7f in a value":     {fieldLines("X: \x80\xff\xc3\xa4\xa0\xfe\x9f\x81\x90"), 0},
		"Host twice, once folded":        {"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400},
		"dot line":                       {fieldLines("."), 400},
		"head with a quotation mark":     {fieldLines("\"X\": y"), 400},
		"two fields on one line are one": {fieldLines("X: y Z: z"), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Request
			n, err := r.Parse([]byte(tt.wire), Limits{})
			if got := statusOf(n, err); got != tt.want {
				t.Errorf("%q: %d (%v), want %d", tt.wire, got, err, tt.want)
			}
			if errors.Is(err, ErrPreface) != strings.HasPrefix(tt.wire, "PRI * HTTP/2.0") {
				t.Errorf("%q: %v", tt.wire, err)
			}
		})
	}
}

// statusOf is 0 for what was accepted, -1 for what is not complete.
func statusOf(n int, err error) int {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Status
	case n == 0:
		return -1
	}
	return 0
}

func TestRequestLimits(t *testing.T) {
	const head = "GET /0123456789 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	tests := map[string]struct {
		wire string
		lim  Limits
		want int
	}{
		"as long as allowed":           {head, Limits{Bytes: len(head)}, 0},
		"a byte too long":              {head, Limits{Bytes: len(head) - 1}, 431},
		"what follows does not count":  {head + strings.Repeat("x", 100), Limits{Bytes: len(head)}, 0},
		"not there, and full":          {head[:len(head)-1], Limits{Bytes: len(head) - 1}, 431},
		"as many fields as allowed":    {head, Limits{Fields: 2}, 0},
		"a field too many":             {head, Limits{Fields: 1}, 431},
		"a target too long":            {head, Limits{Bytes: 12}, 414},
		"request line fills the limit": {head, Limits{Bytes: 25}, 414},
		"request line just fits":       {head, Limits{Bytes: 26}, 431},
		"method without end":           {strings.Repeat("A", 50), Limits{Bytes: 50}, 400},
		"default of bytes":             {fieldLines("X: " + strings.Repeat("y", 32<<10)), Limits{}, 431},
		"within the default of bytes":  {fieldLines("X: " + strings.Repeat("y", 31<<10)), Limits{}, 0},
		"default of fields":            {fieldLines(strings.TrimSuffix(strings.Repeat("X: y\r\n", 256), "\r\n")), Limits{}, 431},
		"within the default of fields": {fieldLines(strings.TrimSuffix(strings.Repeat("X: y\r\n", 255), "\r\n")), Limits{}, 0},
		"empty line before, and full":  {"\r\nGET /01234567", Limits{Bytes: 15}, 414},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Request
			n, err := r.Parse([]byte(tt.wire), tt.lim)
			if got := statusOf(n, err); got != tt.want {
				t.Errorf("%d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

func TestHostAndPath(t *testing.T) {
	type parts struct {
		Host, Path, Query string
		HasQuery          bool
	}
	tests := map[string]struct {
		line, host string
		want       parts
	}{
		"origin":                    {"GET /a/b HTTP/1.1", "x.y:80", parts{"x.y:80", "/a/b", "", false}},
		"empty query":               {"GET /a? HTTP/1.1", "x", parts{"x", "/a", "", true}},
		"two question marks":        {"GET /a?b?c HTTP/1.1", "x", parts{"x", "/a", "b?c", true}},
		"two slashes":               {"GET //b/c HTTP/1.1", "x", parts{"x", "//b/c", "", false}},
		"absolute":                  {"GET http://x/a?b HTTP/1.1", "x", parts{"x", "/a", "b", true}},
		"absolute without path":     {"GET http://x HTTP/1.1", "x", parts{"x", "/", "", false}},
		"absolute, query at once":   {"GET http://x?b HTTP/1.1", "x", parts{"x", "/", "b", true}},
		"absolute, spelling of it":  {"GET http://X:80/ HTTP/1.1", "x", parts{"X:80", "/", "", false}},
		"absolute, 1.0, no Host":    {"GET http://x/a HTTP/1.0", "", parts{"x", "/a", "", false}},
		"absolute OPTIONS":          {"OPTIONS http://x HTTP/1.1", "x", parts{"x", "*", "", false}},
		"absolute OPTIONS, query":   {"OPTIONS http://x?a HTTP/1.1", "x", parts{"x", "/", "a", true}},
		"absolute OPTIONS, slash":   {"OPTIONS http://x/ HTTP/1.1", "x", parts{"x", "/", "", false}},
		"asterisk":                  {"OPTIONS * HTTP/1.1", "x", parts{"x", "*", "", false}},
		"asterisk with empty Host":  {"OPTIONS * HTTP/1.1", "", parts{"", "*", "", false}},
		"CONNECT":                   {"CONNECT x:443 HTTP/1.1", "x:443", parts{"x:443", "", "", false}},
		"old client without a Host": {"GET /a HTTP/1.0", "", parts{"", "/a", "", false}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Request
			if n, err := r.Parse([]byte(tt.line+"\r\nHost: "+tt.host+"\r\n\r\n"), Limits{}); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			got := parts{Host: r.Host()}
			got.Path, got.Query, got.HasQuery = r.PathQuery()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOldHostIsForgotten is about a value that is used again.
func TestOldHostIsForgotten(t *testing.T) {
	var r Request
	if _, err := r.Parse([]byte("GET http://x/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"), Limits{}); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Parse([]byte("GET /b HTTP/1.0\r\n\r\n"), Limits{}); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	path, _, _ := r.PathQuery()
	if f, err := r.Framing(); err != nil || f != (Framing{}) || r.Host() != "" || path != "/b" || r.Minor != 0 || r.Fields.Has("Host") {
		t.Errorf("%+v %v, host %q, path %q, minor %d", f, err, r.Host(), path, r.Minor)
	}
}

func TestRequestInPieces(t *testing.T) {
	var whole, r Request
	n, err := whole.Parse([]byte(browser), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for at := 1; at < len(browser); at++ {
		if n, err := r.Parse([]byte(browser[:at]), Limits{}); n != 0 || err != nil {
			t.Fatalf("%d bytes: %d, %v", at, n, err)
		}
	}
	if m, err := r.Parse([]byte(browser), Limits{}); m != n || err != nil {
		t.Fatalf("%d, %v; want %d", m, err, n)
	}
	if diff := cmp.Diff(whole.Fields.list, r.Fields.list); diff != "" {
		t.Errorf("fields (-whole +pieces):\n%s", diff)
	}
}

// TestDribbledHeadIsScannedOnce measures work, not time: that a head is parsed
// at its first byte and at its end, and only looked through between.
func TestDribbledHeadIsScannedOnce(t *testing.T) {
	var p progress = 1
	for at := 2; at < len(browser); at++ {
		if !p.waits([]byte(browser[:at])) || int(p) != at {
			t.Fatalf("after %d bytes: looked at %d", at, p)
		}
	}
	if p.waits([]byte(browser)) {
		t.Error("a whole head is waited for")
	}
	for _, bad := range []string{"GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: a\r\nX: y\n"} {
		if p = progress(len(bad) - 2); p.waits([]byte(bad)) {
			t.Errorf("%q is waited for", bad)
		}
	}
}

// TestGivenUpHead is about a buffer that begins anew with fewer bytes.
func TestGivenUpHead(t *testing.T) {
	var r Request
	if n, err := r.Parse([]byte(browser[:200]), Limits{}); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	const short = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	if n, err := r.Parse([]byte(short), Limits{}); n != len(short) || err != nil {
		t.Fatal(n, err)
	}
}
