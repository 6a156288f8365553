package router

import (
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"/", "/"},
		{"*", "*"},
		{"/a", "/a"},
		{"/a/", "/a/"},
		{"/a/b.c/.d/..e/f../...", "/a/b.c/.d/..e/f../..."},
		{"/a%2Fb", "/a%2Fb"},
		{"/a%2fb%2Fc", "/a%2Fb%2Fc"},
		{"/%21%23%24%25%26%27%28%29%2a%2b%2c%2f%3a%3b%3d%3f%40%5b%5d", "/%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D"},
		{"/!#$&'()*+,:;=?@[]", "/!#$&'()*+,:;=?@[]"},
		{"/f%6f%6F%7e", "/foo~"},
		{"/%6B%6f%6e%67", "/kong"},
		{"/endel%c3%b8st", "/endel%C3%B8st"},
		{"/endeløst", "/endel%C3%B8st"},
		{"/a b\\\"", "/a%20b%5C%22"},
		{"/%00%0d%0A", "/%00%0D%0A"},
		{"/%", "/%25"},
		{"/%4", "/%254"},
		{"/%zz", "/%25zz"},
		{"/%4%31", "/%2541"}, // decoding both at once would make an A of it the next time
		{"/%25%34%31", "/%2541"},
		{"/.", "/"},
		{"/..", "/"},
		{"/./", "/"},
		{"/../", "/"},
		{"/%2E", "/"},
		{"/%2e%2E/x", "/x"},
		{"/./.././../", "/"},
		{"/a/b/c/./../../g", "/a/g"}, // RFC 3986, section 5.2.4
		{"mid/content=5/../6", "mid/6"},
		{"/a/..", "/"},
		{"/a/b/..", "/a/"},
		{"/a/b/.", "/a/b/"},
		{"/a/../../../b", "/b"},
		{"/a%2F../b", "/a%2F../b"},
		{"/a%2F/../b", "/b"},
		{"//", "/"},
		{"/////", "/"},
		{"/a//b//", "/a/b/"},
		{"/a//../b", "/b"},
		{"//..//a", "/a"},
		{"..", ""},
		{"../a", "a"},
		{"a/..", ""},
		{"/%C3%A4/a/%2e./a%2E//a/%2e/./a/../a/%2e%2E/%5f%99%af%2f%2F", "/%C3%A4/a./a/_%99%AF%2F%2F"},
	}
	for _, tt := range tests {
		if got := Normalize(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
		if got := Normalize(tt.want); got != tt.want {
			t.Errorf("%q: got %q, want it unchanged", tt.want, got)
		}
	}
}

func TestNormalizeDoesNotAllocateForNormalPaths(t *testing.T) {
	const path = "/api/v1/students/a%20b%2Fc/.well-known/"
	if n := testing.AllocsPerRun(100, func() { Normalize(path) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{
		"", "/", "*", "/a/b", "/a//b", "/./..//%2e%2E/x", "/%4%31", "/%", "/é %00\xff", "a/../../b", "..", "/%2f..", "/a%25%32%65",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := Normalize(path)
		if again := Normalize(got); again != got {
			t.Errorf("%q: %q becomes %q the second time", path, got, again)
		}
		if strings.HasPrefix(path, "/") != strings.HasPrefix(got, "/") {
			t.Errorf("%q: %q changes whether the path is absolute", path, got)
		}
		if strings.Contains(got, "//") {
			t.Errorf("%q: %q has an empty segment", path, got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q: %q has a dot segment", path, got)
			}
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f || strings.IndexByte("\"<>\\^`{|}", got[i]) >= 0 {
				t.Errorf("%q: %q has an octet that is no URI character at %d", path, got, i)
			}
		}
		decoded := decodeOther(got)
		if n := encodedLength(got, len(decoded)); n != len(got) {
			t.Errorf("%q: %d decoded bytes come from %d of %d", got, len(decoded), n, len(got))
		}
		if encoded := escape(decoded); encoded != got {
			t.Errorf("%q: encoding %q gives %q", got, decoded, encoded)
		}
	})
}
