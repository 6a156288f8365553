package schema_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
)

func TestValidators(t *testing.T) {
	for name, c := range map[string]struct {
		valid func(string) error
		good  []string
		bad   map[string]string // value to message
	}{
		"utf8": {schema.ValidUTF8, []string{"", "é", "\U0010ffff", "\ufffd"}, map[string]string{
			"a\xff":         "invalid utf-8 character sequence detected at position 2",
			"é\xed\xa0\x80": "invalid utf-8 character sequence detected at position 3", // a surrogate
		}},
		"name": {schema.ValidName, []string{"a.b-c_d~E9"}, map[string]string{
			"é": "invalid value 'é': it must only contain alphanumeric and '., -, _, ~' characters",
			"":  "invalid value '': it must only contain alphanumeric and '., -, _, ~' characters",
		}},
		"utf8 name": {schema.ValidUTF8Name, []string{"a.b-c_d~E9", "café"}, map[string]string{
			"a/b":   "invalid value 'a/b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
			"a\xff": "invalid utf-8 character sequence detected at position 2",
		}},
		"tag": {schema.ValidTag, []string{"a b", "é", "!~"}, map[string]string{
			"a/b":    "invalid tag 'a/b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
			"a\tb":   "invalid tag 'a\tb': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
			"a\x7fb": "invalid tag 'a\x7fb': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
			"\xc3":   "invalid utf-8 character sequence detected at position 1",
		}},
		"host": {schema.ValidHost, []string{"h", "h.test", "h.test.", "a_b", "-a", "1.2.3.4", "001.2.3.4", "::1", "[::1]"},
			map[string]string{
				"h:80": "must not have a port", "h:70000": "must not have a port", "1.2.3.4:80": "must not have a port",
				"[::1]:80": "must not have a port", "[::1]:70000": "must not have a port", "a b": "invalid value: a b",
				"h-": "invalid value: h-", "a..b": "invalid value: a..b", ".a": "invalid value: .a", "": "invalid value: ",
				"1.2.3": "invalid value: 1.2.3", "256.1.1.1": "invalid value: 256.1.1.1", "1.2.3.4:": "invalid value: 1.2.3.4:",
				"::g": "invalid value: ::g", "[::1": "invalid value: [::1", "fe80::1%eth0": "invalid value: fe80::1%eth0",
				":": "invalid value: :", "h:": "invalid value: h:", "[::1]x": "invalid value: [::1]x",
			}},
		"host and port": {schema.ValidHostPort, []string{"h", "h:80", "1.2.3.4:80", "[::1]:80"}, map[string]string{
			"h:70000": "invalid port number", "1.2.3.4:70000": "invalid port number", "[::1]:70000": "invalid port number",
			"a b": "invalid hostname: a b", "1.2.3": "invalid ipv4 address: 1.2.3", "::g": "invalid ipv6 address: ::g",
			"[::1": "invalid ipv6 address",
		}},
		"sni": {schema.ValidSNI, []string{"h.test"}, map[string]string{
			"h:1": "must not have a port", "h:70000": "must not have a port", "1.2.3.4": "must not be an IP",
			"::1": "must not be an IP", "a b": "invalid value: a b",
		}},
		"wildcard host": {schema.ValidWildcardHost, []string{"h.test", "*.h.test", "h.*", "*"}, map[string]string{
			"a.*.b": "wildcard must be leftmost or rightmost character", "*.*": "only one wildcard must be specified",
			"*.h:1": "must not have a port",
		}},
		"route host": {schema.ValidRouteHost, []string{"*.h.test:80", "h.*"}, map[string]string{
			"*. ": "invalid hostname: abc. ",
		}},
		"ip": {schema.ValidIP, []string{"1.2.3.4", "::1"}, map[string]string{
			"h": "not an ip address: h", "1.2.3.4/8": "not an ip address: 1.2.3.4/8", "::1%a": "not an ip address: ::1%a",
		}},
		"ip or cidr": {schema.ValidIPOrCIDR, []string{"1.2.3.4", "1.2.3.4/8", "::/0"}, map[string]string{
			"1.2.3.4/33": "invalid ip or cidr range: '1.2.3.4/33'",
		}},
		"path": {schema.ValidPath, []string{"/", "/a:@!$&'()*+,;=-._~%2f"}, map[string]string{
			"/a b": "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)",
			"a":    "invalid path: 'a' (characters outside of the reserved list of RFC 3986 found)",
			"/%zz": "invalid url-encoded value: '%zz'", "/%4": "invalid url-encoded value: '%4'",
			"/%41%": "invalid url-encoded value: '%'",
		}},
		"router path": {schema.ValidRouterPath, []string{"/", "/a b", "/é", "~/a(?<n>b)|c$", "/%2F"}, map[string]string{
			"/a/./b": "non-normalized path, consider use '/a/b' instead",
			"/%2f":   "non-normalized path, consider use '/%2F' instead",
			"~/[a":   `invalid regex: '/[a' (PCRE returned: pcre_compile() failed: missing terminating ] for character class in "/[a")`,
			"~/a)":   `invalid regex: '/a)' (PCRE returned: pcre_compile() failed: unmatched parentheses in "/a)")`,
			"~*":     `invalid regex: '*' (PCRE returned: pcre_compile() failed: nothing to repeat in "*")`,
			`~/\`:    `invalid regex: '/\' (PCRE returned: pcre_compile() failed: \ at end of pattern in "/\")`,
			"~/(?=a)": `invalid regex: '/(?=a)' (PCRE returned: pcre_compile() failed: ` +
				`invalid or unsupported Perl syntax in "/(?=a)")`,
		}},
		"header name": {schema.ValidHeaderName, []string{"X-a_9"}, map[string]string{
			"":    "no header name provided",
			"a.b": "bad header name 'a.b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
		}},
		"url": {schema.ValidURL, []string{"http://h", "redis://h:1/x?y"}, map[string]string{
			"h": "missing host in url", "//h": "missing scheme in url", "http:h": "missing host in url",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, value := range c.good {
				if err := c.valid(value); err != nil {
					t.Errorf("%q is refused: %v", value, err)
				}
			}
			for value, message := range c.bad {
				if err := c.valid(value); err == nil || err.Error() != message {
					t.Errorf("%q\nwant %s\ngot  %v", value, message, err)
				}
			}
		})
	}
}

func TestIsUUID(t *testing.T) {
	for value, want := range map[string]bool{
		someID: true, strings.ToUpper(someID): true, "": false, someID[1:]: false, someID + "0": false,
		"3f2504e0-4f89-41d3-9a0c-0305e82c330g": false, "3f2504e0 4f89-41d3-9a0c-0305e82c3301": false,
		"3f2504e0-4f89-41d3-9a0c-0305e82c33\x101": false,
	} {
		if got := schema.IsUUID(value); got != want {
			t.Errorf("%q: got %t, want %t", value, got, want)
		}
	}
}

func TestNormalizePath(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/": "/", "/a": "/a", "/a/": "/a/", "/a/./b": "/a/b", "/a/../b": "/b", "/../a": "/a", "/a/..": "/",
		"/a/.": "/a/", "//a///b//": "/a/b/", "/%61%2f%2F": "/a%2F%2F", "/%2e%2E/a": "/a", "/%20": "/ ", "/%c3%a9": "/é",
		"/a/b/../../c": "/c", "/...": "/...", "/.a": "/.a",
	} {
		if got := schema.NormalizePath(path); got != want {
			t.Errorf("%q becomes %q, want %q", path, got, want)
		}
	}
}

func TestParseURL(t *testing.T) {
	fields := func(protocol string, host, port, path any) map[string]any {
		return map[string]any{"protocol": protocol, "host": host, "port": port, "path": path}
	}
	for url, want := range map[string]map[string]any{
		"http://h.test:8080/p/":   fields("http", "h.test", int64(8080), "/p/"),
		"https://h.test":          fields("https", "h.test", int64(443), nil),
		"http://h.test/p?q=1#f":   fields("http", "h.test", int64(80), "/p"),
		"http://h.test/p;v=1":     fields("http", "h.test", int64(80), "/p"),
		"grpc://h":                fields("grpc", "h", int64(80), nil),
		"//h.test":                fields("http", "h.test", int64(80), nil),
		"//h.test:443":            fields("https", "h.test", int64(443), nil),
		"nope":                    fields("http", nil, int64(80), "nope"),
		"":                        fields("http", nil, int64(80), nil),
		"h.test:80":               fields("h.test", nil, int64(80), "80"),
		"http://u:p@h.test:1":     fields("http", "h.test", int64(1), nil),
		"http://[::1]:5000/x":     fields("http", "::1", int64(5000), "/x"),
		"http://[::1]":            fields("http", "::1", int64(80), nil),
		"http://h.test:abc":       fields("http", "h.test", "abc", nil),
		"http://h.test:":          fields("http", "h.test", "", nil),
		"http://h.test?q=http://": fields("http", "h.test", int64(80), nil),
	} {
		got := schema.ParseURL(url)
		for name, part := range want {
			if got[name] != part {
				t.Errorf("%s: %s is %v, want %v", url, name, got[name], part)
			}
		}
	}
}

func TestValidKey(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	good := encode("PUBLIC KEY", pkix, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	privateKey := encode("PRIVATE KEY", pkcs8, err)
	sec1, err := x509.MarshalECPrivateKey(curve)
	withParameters := encode("EC PARAMETERS", []byte{6}, nil) + encode("EC PRIVATE KEY", sec1, err)
	for name, key := range map[string]string{
		"public": good, "private": privateKey, "parameters first": withParameters, "text around": "key:\n" + good + "\n.",
	} {
		if err := schema.ValidKey(key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, key := range map[string]string{
		"empty": "", "no PEM": "x", "truncated": good[:len(good)-40], "another kind": encode("CERTIFICATE", pkix, nil),
		"wrong content": encode("PUBLIC KEY", []byte("x"), nil), "parameters alone": encode("EC PARAMETERS", []byte{6}, nil),
	} {
		if err := schema.ValidKey(key); err == nil || err.Error() != "invalid key" {
			t.Errorf("%s: got %v, want invalid key", name, err)
		}
	}
}
