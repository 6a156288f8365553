package router

import (
	"strings"
	"testing"
)

func TestUpstreamPath(t *testing.T) {
	const (
		keep  = false
		strip = true
	)
	tests := []struct {
		service, prefix string
		strip           bool
		request         string
		v0, v1          string
	}{
		{"", "/students", strip, "/students/1", "/1", "/1"},
		{"/", "/students", strip, "/students/1", "/1", "/1"},
		{"/", "/students", strip, "/students", "/", "/"},
		{"/", "/students", strip, "/students/", "/", "/"},
		{"/", "/students", keep, "/students/1", "/students/1", "/students/1"},
		{"/", "/", strip, "/", "/", "/"},
		{"/", "/", strip, "/a/b/", "/a/b/", "/a/b/"},
		{"/", "/a", strip, "/abc", "/bc", "/bc"},
		{"/", "/a/", strip, "/a/", "/", "/"},
		{"/", "/a/", strip, "/a/b", "/b", "/b"},
		{"/s", "/a", keep, "/abc", "/s/abc", "/sabc"},
		{"/s", "/a", strip, "/abc", "/s/bc", "/sbc"},
		{"/s", "/a", strip, "/a", "/s", "/s"},
		{"/s", "/a", strip, "/a/", "/s/", "/s/"},
		{"/s", "/a", strip, "/a/b", "/s/b", "/s/b"},
		{"/s", "/a/", strip, "/a/", "/s/", "/s"},
		{"/s", "/a/", strip, "/a/b", "/s/b", "/sb"},
		{"/s", "/", keep, "/", "/s", "/s"},
		{"/s", "/", strip, "/", "/s", "/s"},
		{"/s", "/", strip, "/b/", "/s/b/", "/sb/"},
		{"/s", "", keep, "/", "/s", "/s"},
		{"/s", "", strip, "/", "/s", "/s"},
		{"/s", "", strip, "/b", "/s/b", "/sb"},
		{"/s", "", keep, "/b/", "/s/b/", "/sb/"},
		{"/s/", "/a", keep, "/a", "/s/a", "/s/a"},
		{"/s/", "/a", strip, "/a", "/s", "/s/"},
		{"/s/", "/a", strip, "/a/", "/s/", "/s/"},
		{"/s/", "/a", strip, "/ab", "/s/b", "/s/b"},
		{"/s/", "/a/", strip, "/a/", "/s/", "/s/"},
		{"/s/", "/a/", strip, "/a/b", "/s/b", "/s/b"},
		{"/s/", "/", strip, "/", "/s/", "/s/"},
		{"/s/", "/", keep, "/", "/s/", "/s/"},
		{"/s/", "", strip, "/", "/s/", "/s/"},
		{"/s/", "", strip, "/b/", "/s/b/", "/s/b/"},
		{"/s", "/a", strip, "/a./b", "/s/b", "/sb"},
		{"/s", "/a", strip, "/a../b", "/s/b", "/sb"},
		{"/s/", "/a", strip, "/a../b", "/s/b", "/s/b"},
		{"/s", "/a", strip, "/a..", "/s", "/s"},
		{"/s", "/a", keep, "/a../b", "/s/a../b", "/sa../b"},
	}
	for _, tt := range tests {
		for handling, want := range map[string]string{"": tt.v0, "v0": tt.v0, HandlingV1: tt.v1} {
			got := UpstreamPath(tt.service, tt.request, tt.prefix, tt.strip, handling)
			if got != want {
				t.Errorf("service %q, prefix %q, strip %v, request %q, handling %q: got %q, want %q",
					tt.service, tt.prefix, tt.strip, tt.request, handling, got, want)
			}
		}
	}
}

// Without a service path, the usual case, nothing is copied.
func TestUpstreamPathAllocations(t *testing.T) {
	var path string
	n := testing.AllocsPerRun(100, func() {
		path = UpstreamPath("", "/students/1", "/students", true, "v0")
		path = UpstreamPath("/", "/students/1", "/students", false, "v0")
		path = UpstreamPath("/base", "/students", "/students", true, "v0")
	})
	if path != "/base" {
		t.Errorf("the last path is %q", path)
	}
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func FuzzUpstreamPath(f *testing.F) {
	f.Add("/", "/students/1", 9, true, "v0")
	f.Add("/s", "/a../b", 2, true, "v0")
	f.Add("/s/", "/a/..b", 3, true, "v1")
	f.Add("", "/", 1, false, "v0")
	f.Add("/s", "/a...", 3, true, "")
	f.Fuzz(func(t *testing.T, service, request string, prefixLength int, strip bool, handling string) {
		// Both come normalised and absolute, and the prefix is one of the request's.
		service, request = Normalize("/"+service), Normalize("/"+request)
		prefix := request[:min(max(prefixLength, 0), len(request))]
		got := UpstreamPath(service, request, prefix, strip, handling)
		if !strings.HasPrefix(got, strings.TrimSuffix(service, "/")) || !strings.HasPrefix(got, "/") {
			t.Errorf("%q leaves the service's path %q", got, service)
		}
		if handling != HandlingV1 && (strings.Contains(got, "//") || Normalize(got) != got) {
			t.Errorf("service %q, request %q, prefix %q: %q is not normal", service, request, prefix, got)
		}
	})
}
