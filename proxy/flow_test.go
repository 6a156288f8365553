package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// echo tells what the service was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(599)
		return
	}
	fmt.Fprintf(w, "%s %s host=%s body=%s", r.Method, r.RequestURI, r.Host, body)
}

func TestProxiesARequest(t *testing.T) {
	w := serving(t, echo)
	w.get("/r/students?x=1").want(t, 200, "GET /students?x=1 ")
	w.get("/r?").want(t, 200, "GET /? ")
	w.do("POST", "/r/a", strings.NewReader("hello")).want(t, 200, "POST /a ").want(t, 200, "body=hello")
	w.do("POST", "/r/a", io.MultiReader(strings.NewReader("chunked"))).want(t, 200, "body=chunked")
	large := strings.Repeat("x", 3*maxWhole)
	w.do("PUT", "/r/a", strings.NewReader(large)).want(t, 200, "body="+large)
	w.do("PATCH", "/r/a", nil).want(t, 200, "PATCH /a")
}

func TestAnswersOfTheCore(t *testing.T) {
	w := serving(t, echo)
	w.route("", object{"paths": []string{"/alone"}})
	service := w.service("http://127.0.0.1:1", object{"name": "off", "enabled": false})
	w.route(service, object{"paths": []string{"/off"}})
	for _, status := range []int{426, 301, 302, 307, 308} {
		w.route("", object{"paths": []string{fmt.Sprintf("/https%d", status)}, "protocols": []string{"https"},
			"https_redirect_status_code": status})
	}
	w.route("", object{"paths": []string{"/grpc"}, "protocols": []string{"grpc"}})
	const grpc = "application/grpc"
	for _, c := range []struct {
		path, contentType string
		status            int
		body              string
		fields            map[string]string
	}{
		{path: "/none", status: 404, body: `"message":"no Route matched with those values"`},
		{path: "/alone", status: 503, body: `"message":"no Service found with those values"`},
		{path: "/off", status: 404, body: "no Route matched"},
		{path: "/https426", status: 426, body: "Please use HTTPS protocol", fields: map[string]string{"Upgrade": "TLS/1.2, HTTP/1.1"}},
		{path: "/https301?a=b", status: 301, fields: map[string]string{"Location": "https://example.com/https301?a=b"}},
		{path: "/https302", status: 302, fields: map[string]string{"Location": "https://example.com/https302"}},
		{path: "/https307", status: 307, fields: map[string]string{"Location": "https://example.com/https307"}},
		{path: "/https308", status: 308, fields: map[string]string{"Location": "https://example.com/https308"}},
		{path: "/grpc", status: 415, body: "Non-gRPC request matched gRPC route"},
		{path: "/grpc", contentType: grpc, status: 426, body: "Please use HTTP2 protocol"},
	} {
		pairs := []string{"Host", "example.com:8000"}
		if c.contentType != "" {
			pairs = append(pairs, "Content-Type", c.contentType)
		}
		a := w.get(c.path, pairs...).want(t, c.status, c.body)
		for name, value := range c.fields {
			if got := a.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", c.path, name, got, value)
			}
		}
		if a.Header.Get("Server") != "kong/3.9.1" || a.Header.Get("X-Kong-Response-Latency") == "" ||
			len(a.Header.Get("X-Kong-Request-Id")) != 32 {
			t.Errorf("%s: fields of Kong are missing: %v", c.path, a.Header)
		}
	}
}

func TestErrorIsInTheFormTheClientAccepts(t *testing.T) {
	w := newWorld(t).start()
	for accept, want := range map[string]string{
		"*/*":             "application/json; charset=utf-8",
		"text/html":       "text/html; charset=utf-8",
		"application/xml": "application/xml; charset=utf-8",
		"text/plain":      "text/plain; charset=utf-8",
	} {
		a := w.get("/none", "Accept", accept).want(t, 404, "no Route matched with those values")
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %s: type %q, want %q", accept, got, want)
		}
	}
}

func TestServiceThatFails(t *testing.T) {
	w := newWorld(t).start()
	w.route(w.service("http://127.0.0.1:1", object{"retries": 2}), object{"paths": []string{"/refused"}})
	w.route(w.service("http://no-such-name.invalid:80", nil), object{"paths": []string{"/unknown"}})
	w.get("/refused", "Accept", "*/*").want(t, 502, `"message":"An invalid response was received from the upstream server"`)
	a := w.get("/refused").want(t, 502, "An invalid response")
	if got := a.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("without Accept the error has the type %q", got)
	}
	if a.Header.Get("Server") == "" || a.Header.Get("Via") == "" || a.Header.Get("X-Kong-Upstream-Latency") == "" {
		t.Errorf("fields of Kong are missing: %v", a.Header)
	}
	w.get("/unknown", "Accept", "*/*").want(t, 503, `"message":"name resolution failed"`)
}

func TestPathsAndHosts(t *testing.T) {
	w := serving(t, echo)
	server := w.machine.View()
	var to string
	for e := range server.All("services") {
		to = string(e.Raw)
	}
	port := to[strings.Index(to, `"port":`)+7:]
	port = port[:strings.IndexAny(port, ",}")]
	url := "http://127.0.0.1:" + port
	based := w.service(url, object{"path": "/base"})
	w.route(based, object{"paths": []string{"/strip"}})
	w.route(based, object{"paths": []string{"/keep"}, "strip_path": false})
	w.route(based, object{"paths": []string{"/host"}, "preserve_host": true})
	w.route(based, object{"paths": []string{"/v1"}, "path_handling": "v1"})
	for path, want := range map[string]string{
		"/strip/a":                   "GET /base/a host=127.0.0.1:" + port,
		"/strip":                     "GET /base host=",
		"/keep/a":                    "GET /base/keep/a ",
		"/host/a":                    "GET /base/a host=example.com:81",
		"/v1/a":                      "GET /base/a ",
		"/strip/a%2fb/../c%41?q=%20": "GET /base/cA?q=%20",
		"/strip//x":                  "GET /base/x ",
	} {
		w.get(path, "Host", "example.com:81").want(t, 200, want)
	}
}
