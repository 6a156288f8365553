package plugin_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

const id = plugintest.RequestID

func TestError(t *testing.T) {
	json := func(message string) string {
		return "{\n  \"message\":\"" + message + "\",\n  \"request_id\":\"" + id + "\"\n}"
	}
	plain := "No\nrequest_id: " + id + "\n"
	xml := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>No</message>\n  <requestid>" + id + "</requestid>\n</error>"
	html := "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n" +
		"  <body>\n    <h1>Error</h1>\n    <p>No.</p>\n    <p>request_id: " + id + "</p>\n  </body>\n</html>\n"
	const (
		typeJSON = "application/json; charset=utf-8"
		typeHTML = "text/html; charset=utf-8"
		typeXML  = "application/xml; charset=utf-8"
		typeText = "text/plain; charset=utf-8"
	)
	tests := []struct {
		status         int
		message        string
		accept         string
		wantType, want string
	}{
		{403, "No", "", typeJSON, json("No")},
		{403, "", "", typeJSON, json("Forbidden")},
		{599, "", "", typeJSON, json("The upstream server responded with 599")},
		{403, `a<b> & "c"`, "", typeJSON, json(`a<b> & \"c\"`)},
		{403, "No", "*/*", typeJSON, json("No")},
		{403, "No", "application/*", typeJSON, json("No")},
		{403, "No", "image/png, text/html;q=0.5", typeJSON, json("No")},
		{403, "No", "text/html", typeHTML, html},
		{403, "No", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", typeHTML, html},
		{403, "No", "TEXT/HTML;q=0.1, application/xml ; q=0.2", typeXML, xml},
		{403, "No", "text/plain", typeText, plain},
		{403, "No", "text/*", typeText, plain},
		{403, "No", "text/html;q=0, text/plain;q=2", typeJSON, json("No")},
		{403, "No", ";;,=,q", typeJSON, json("No")},
	}
	for _, test := range tests {
		t.Run(test.accept, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/", "Accept", test.accept)
			if ex.Error(test.status, test.message, plugin.Field{Name: "X-A", Value: "1"}) != plugin.Stop {
				t.Error("does not stop")
			}
			want := map[string][]string{"Content-Type": {test.wantType}, "X-A": {"1"}}
			if diff := cmp.Diff(want, ex.Response.Header.(*plugintest.Header).Map()); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if ex.Response.Status != test.status || ex.Response.Source != plugin.FromKong {
				t.Errorf("status %d from %q", ex.Response.Status, ex.Response.Source)
			}
			if diff := cmp.Diff(test.want, string(ex.Response.Body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExit(t *testing.T) {
	ex := plugintest.Exchange("GET", "/", "Accept", "text/html")
	ex.Exit(401, "a<b")
	if got := string(ex.Response.Body); got != `{"message":"a<b"}` || ex.Response.Status != 401 {
		t.Errorf("answered %d %s", ex.Response.Status, got)
	}
	ex.ExitJSON(403, map[string]any{"n": math.NaN()})
	if got := string(ex.Response.Body); got != `{"message":"An unexpected error occurred"}` || ex.Response.Status != 500 {
		t.Errorf("what cannot be encoded answered %d %s", ex.Response.Status, got)
	}
}

func TestGRPC(t *testing.T) {
	tests := map[string]struct {
		answer          func(ex *plugin.Exchange) plugin.Verdict
		status          int
		code, message   string
		major           int
		wantContentType string
	}{
		"error": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Error(401, "No") }, 401, "16", "No", 2, "application/grpc"},
		"error without a message": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Error(504, "") }, 504, "4", "The upstream server is timing out", 2, "application/grpc"},
		"other client error": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Error(413, "50%\né") }, 413, "3", "50%25%0A%C3%A9", 2, "application/grpc"},
		"other server error": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Error(502, "x") }, 502, "13", "x", 2, "application/grpc"},
		"exit": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(429, "x") }, 429, "8", "x", 2, "application/grpc"},
		"success": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(200, "x") }, 200, "0", "x", 2, "application/grpc"},
		"no status of gRPC's": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(302, "x") }, 302, "2", "x", 2, "application/grpc"},
		"a body with a message": {
			func(ex *plugin.Exchange) plugin.Verdict {
				return ex.ExitJSON(401, map[string]string{"message": "m"})
			}, 401, "16", "m", 2, "application/grpc"},
		"a body without one": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.ExitJSON(401, []int{1}) }, 401, "16", "Unauthorized", 2, "application/grpc"},
		"HTTP/1.1": {
			func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(401, "x") }, 401, "", "", 1, "application/json; charset=utf-8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("POST", "/", "Content-Type", "application/grpc+proto")
			ex.Request.ProtoMajor = test.major
			if test.answer(ex) != plugin.Stop {
				t.Error("does not stop")
			}
			h := ex.Response.Header
			got := []string{h.Get("Grpc-Status"), h.Get("Grpc-Message"), h.Get("Content-Type")}
			if diff := cmp.Diff([]string{test.code, test.message, test.wantContentType}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if ex.Response.Status != test.status {
				t.Errorf("status %d", ex.Response.Status)
			}
			if test.major == 2 && (ex.Response.Body == nil || len(ex.Response.Body) != 0) {
				t.Errorf("body %q, want an empty one", ex.Response.Body)
			}
		})
	}
}
