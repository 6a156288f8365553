package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/obs"
)

// TestAdminLogJSON: one object for each request, whatever is in it.
func TestAdminLogJSON(t *testing.T) {
	var out bytes.Buffer
	lines := obs.NewLines(&out, "admin access log", zap.NewNop())
	log := &adminLog{lines: lines, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/made":
			w.WriteHeader(http.StatusCreated)
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("12345"))
	})}
	evil := httptest.NewRequest("POST", "/made?a=%22", nil)
	evil.Header.Set("User-Agent", "a\"\n\xff\u2028")
	evil.Header.Set("Referer", "http://x/")
	log.ServeHTTP(httptest.NewRecorder(), evil)
	log.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	func() {
		defer func() { _ = recover() }()
		log.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/abort", nil))
	}()
	lines.Close()

	type line struct {
		Client, Method, URI, Host, Protocol, Referer string
		UserAgent                                    *string `json:"user_agent"`
		Status                                       int
		Sent                                         int64 `json:"bytes_sent"`
	}
	var got []line
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got = append(got, l)
	}
	if len(got) != 3 {
		t.Fatalf("%d lines:\n%s", len(got), out.String())
	}
	if l := got[0]; l.Client != "192.0.2.1" || l.Method != "POST" || l.URI != "/made?a=%22" || l.Host != "example.com" || l.Protocol != "HTTP/1.1" ||
		l.Referer != "http://x/" || l.UserAgent == nil || *l.UserAgent != "a\"\n\ufffd\u2028" || l.Status != 201 || l.Sent != 5 {
		t.Errorf("first line %+v", l)
	}
	if l := got[1]; l.Status != 200 || l.UserAgent != nil || l.Sent != 5 {
		t.Errorf("second line %+v", l)
	}
	if l := got[2]; l.URI != "/abort" {
		t.Errorf("third line %+v", l)
	}
}
