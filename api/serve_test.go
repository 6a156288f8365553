package api

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBodies(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) { cfg.MaxBody = 4096 })
	large := "name=" + strings.Repeat("x", 5000)
	bad := `{"message":"Cannot parse JSON body"}`
	cases := []struct {
		name, contentType, body string
		status                  int
		want                    string
	}{
		{"no type, no body", "", "", 400, "required field missing"},
		{"no type", "", "host=h", 415, ""},
		{"text", "text/plain", "host=h", 415, ""},
		{"yaml", "application/yaml", "host: h", 415, ""},
		{"form", formType + "; charset=utf-8", "host=h", 201, ""},
		{"form in capitals", "Application/X-WWW-Form-URLEncoded", "host=h", 201, ""},
		{"JSON", "application/json;charset=utf-8", `{"host":"h"}`, 201, ""},
		{"empty JSON", jsonType, "", 400, bad},
		{"broken JSON", jsonType, "{", 400, bad},
		{"JSON array", jsonType, "[1]", 400, bad},
		{"JSON string for a number", jsonType, `{"host":"h","port":"80"}`, 400, "port: expected an integer"},
		{"form string for a number", formType, "host=h&port=80", 201, `"port":80`},
		{"large", formType, large, 413, "request body is too large"},
		{"large JSON", jsonType, `{"host":"` + large + `"}`, 413, "request body is too large"},
		{"multipart without a boundary", "multipart/form-data", "host=h", 400, "Cannot parse multipart body"},
		{"multipart cut off", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"host\"\r\n\r\nh", 400, "Cannot parse multipart body"},
		{"multipart without parts", "multipart/form-data; boundary=x", "--x--", 400, "host: required field missing"},
		{"no multipart at all", "multipart/form-data; boundary=x", "host=h", 400, "Cannot parse multipart body"},
		{"binary in a form", formType, "host=h&tags=%ff", 400, "invalid utf-8"},
		{"a name without a value", formType, "host=h&enabled", 201, `"enabled":true`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := h.do("POST", "/services", c.contentType, c.body)
			if r.status != c.status || !strings.Contains(string(r.body), c.want) {
				t.Errorf("%d %s", r.status, r.body)
			}
			if c.status == 415 && len(r.body) != 0 {
				t.Errorf("415 with body %s", r.body)
			}
		})
	}
	if r := h.do("POST", "/services", formType, "host=h", "Content-Type", jsonType); r.status != 400 {
		t.Errorf("two content types: %d %s", r.status, r.body)
	}
	if r := h.do("POST", "/services", formType, "host=h", "Content-Encoding", "gzip"); r.status != 415 ||
		!strings.Contains(string(r.body), "Content-Encoding is not supported") {
		t.Errorf("a coded body: %d %s", r.status, r.body)
	}
	if r := h.do("POST", "/services", formType, "host=h", "Content-Encoding", "identity"); r.status != 201 {
		t.Errorf("a body coded as it is: %d %s", r.status, r.body)
	}
	before := len(h.get("/services").ids(t))
	if r := h.do("GET", "/services", "text/plain", "x"); r.status != 200 || len(r.ids(t)) != before {
		t.Errorf("a GET with a body: %d %s", r.status, r.body)
	}
	if r := h.form("POST", "/services?host=h&name=q", ""); r.status != 400 {
		t.Errorf("query arguments became fields: %d %s", r.status, r.body)
	}
	if r := h.get("/services?" + strings.Repeat("a=1&", maxArguments+1)); r.status != 400 || r.message(t) != "Too many arguments" {
		t.Errorf("too many query arguments: %d %s", r.status, r.body)
	}
}

func TestMultipart(t *testing.T) {
	h := newHarness(t, nil)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	write := func(name, value string) {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	write("name", "m & n=1")
	write("tags[]", "a")
	write("tags[]", "b")
	file, err := w.CreateFormFile("custom_id", "id.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("from a\nfile")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(body.String(), `name="name"`, `name="username"`, 1)
	r := h.do("POST", "/consumers", w.FormDataContentType(), text)
	if r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	got := r.fields(t)
	want := []any{"m & n=1", "from a\nfile", []any{"a", "b"}}
	if diff := cmp.Diff(want, []any{got["username"], got["custom_id"], got["tags"]}); diff != "" {
		t.Error(diff)
	}
}

func TestHeaders(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/services", "name=s&host=h")
	for _, path := range []string{"/", "/services", "/services/s", "/services/nope", "/nope", "/status", "/schemas/services", "/cluster"} {
		get, head := h.get(path), h.do("HEAD", path, "", "")
		if len(head.body) != 0 || head.status != get.status {
			t.Errorf("HEAD %s: %d with %d bytes, GET is %d", path, head.status, len(head.body), get.status)
		}
		if diff := cmp.Diff(get.header, head.header); diff != "" && path != "/status" {
			t.Errorf("HEAD %s: %s", path, diff)
		}
		want := map[string]string{
			"Server": "kong/3.9.1-sluice", "Content-Type": "application/json; charset=utf-8", "Connection": "keep-alive",
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "X-Kong-Admin-Latency": "0",
		}
		for name, value := range want {
			if got := get.header.Get(name); got != value {
				t.Errorf("GET %s: %s is %q, want %q", path, name, got, value)
			}
		}
	}
	r := h.do("DELETE", "/services", "", "")
	if r.status != 405 || r.message(t) != "Method not allowed" || r.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("%d %s, Allow %q", r.status, r.body, r.header.Get("Allow"))
	}
	if r := h.form("POST", "/", ""); r.status != 405 {
		t.Errorf("POST /: %d", r.status)
	}
}

func TestOptions(t *testing.T) {
	h := newHarness(t, nil)
	r := h.do("OPTIONS", "/services/x", "", "", "Origin", "http://manager.test", "Access-Control-Request-Headers", "X-A, X-B")
	want := map[string]string{
		"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT", "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
		"Access-Control-Allow-Headers": "X-A, X-B", "Access-Control-Allow-Origin": "http://manager.test", "Content-Type": "",
	}
	for name, value := range want {
		if got := r.header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if r.status != 204 || len(r.body) != 0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if got := h.do("OPTIONS", "/services", "", "").header.Get("Access-Control-Allow-Headers"); got != "Content-Type" {
		t.Errorf("without a request: %q", got)
	}
	if r := h.do("OPTIONS", "/nope", "", ""); r.status != 404 {
		t.Errorf("unknown path: %d", r.status)
	}
	h = newHarness(t, nil, func(cfg *Config) { cfg.Origins = []string{"http://a.test", "http://b.test"} })
	for origin, want := range map[string]string{"http://b.test": "http://b.test", "http://c.test": "http://a.test", "": "http://a.test"} {
		if got := h.do("GET", "/", "", "", "Origin", origin).header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("origin %q may call from %q, want %q", origin, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	h := newHarness(t, nil)
	h.json("POST", "/consumers", `{"username":"a/b"}`)
	h.json("POST", "/consumers", `{"username":"..%2f +é"}`)
	cases := []struct {
		path   string
		status int
	}{
		{"/consumers/a%2Fb", 200}, {"/consumers/a%2fb/", 200}, {"/consumers/a%2Fb/jwt/", 200}, {"/consumers/a/b", 404},
		{"/consumers/..%252f%20+%C3%A9", 200}, {"/consumers/", 200}, {"//consumers", 404}, {"/consumers//", 404},
		{"/consumers//jwt", 404}, {"/consumers/x/y/z/1/2/3/4/5/6/7", 404}, {"/Consumers", 404}, {"/%63onsumers", 200},
	}
	for _, c := range cases {
		if r := h.get(c.path); r.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.path, r.status, r.body, c.status)
		}
	}
}

// A real connection shows what a recorder hides: framing of HEAD, 204 and large bodies.
func TestOnTheWire(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) { cfg.MaxBody = 100 })
	server := httptest.NewServer(h.api.Handler())
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	send := func(method, path, body string) *http.Response {
		r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", formType)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		discard(resp.Body)
		return resp
	}
	if r := send("POST", "/consumers", "username=a%2Fb"); r.StatusCode != 201 || r.ContentLength <= 0 {
		t.Errorf("POST: %d, %d bytes", r.StatusCode, r.ContentLength)
	}
	get, head := send("GET", "/consumers/a%2Fb", ""), send("HEAD", "/consumers/a%2Fb", "")
	if get.StatusCode != 200 || head.ContentLength != get.ContentLength {
		t.Errorf("GET %d of %d bytes, HEAD of %d", get.StatusCode, get.ContentLength, head.ContentLength)
	}
	if r := send("POST", "/consumers", strings.Repeat("x", 1000)); r.StatusCode != 413 {
		t.Errorf("large body: %d", r.StatusCode)
	}
	if r := send("DELETE", "/consumers/a%2Fb", ""); r.StatusCode != 204 || r.Header.Get("Content-Length") != "" {
		t.Errorf("DELETE: %d, Content-Length %q", r.StatusCode, r.Header.Get("Content-Length"))
	}
}

func TestAccessLog(t *testing.T) {
	var log bytes.Buffer
	h := newHarness(t, nil, func(cfg *Config) { cfg.AccessLog = &log })
	h.do("GET", "/nope?a=%22\\", "", "", "User-Agent", "evil\"\nagent\x7f", "Referer", "http://r.test/")
	h.get("/")
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	want := `192.0.2.1 - - [` + time.Unix(1795447786, 0).Format("02/Jan/2006:15:04:05 -0700") +
		`] "GET /nope?a=%22\x5C HTTP/1.1" 404 23 "http://r.test/" "evil\x22\x0Aagent\x7F"`
	if len(lines) != 2 || lines[0] != want {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

func TestPanic(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) { cfg.Status = func() Connections { panic("broken") } })
	r := h.get("/status")
	if r.status != 500 || r.message(t) != "An unexpected error occurred" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// unread fails the test when it is read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was asked for")
	return 0, io.EOF
}

// A client that waits for 100 Continue is told before it sends a body that is too large.
func TestExpectTooLarge(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) { cfg.MaxBody = 4096 })
	r := httptest.NewRequest("POST", "/services", unread{t})
	r.ContentLength = 4097
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Expect", "100-continue")
	w := httptest.NewRecorder()
	h.api.Handler().ServeHTTP(w, r)
	if w.Code != 413 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
