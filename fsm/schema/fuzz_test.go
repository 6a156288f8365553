package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
)

// bodies are seeds, and the inputs of a normal test run.
func bodies() []string {
	return []string{
		`{}`, `{"host":"h","tags":["a","a",null,{}]}`, `{"url":"http://u:p@[::1]:8080/p;x?q#f"}`, `{"url":{}}`,
		`{"paths":["/a","~/(","/a/../b","/%41"],"hosts":["*.b","a.*:80"],"headers":{"Host":[1]}}`,
		`{"protocols":[["http"]],"sources":[{"ip":"::1%eth0"},7]}`, `{"protocols":{"a":1}}`,
		`{"name":"rate-limiting","config":{"minute":1e999,"redis":[],"redis_port":{}}}`,
		`{"name":"jwt","config":{"claims_to_verify":{"1":"exp"}}}`, `{"name":["acl"],"config":null}`,
		`{"consumer":{"id":["x"]},"algorithm":null,"rsa_public_key":"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"}`,
		`{"name":"u.test","hash_on":"header","hash_on_header":"x-a","healthchecks":{"active":{"healthy":{"http_statuses":[1]}},"passive":null}}`,
		`{"upstream":{"id":"` + someID + `"},"target":"[::1]:80","weight":-1}`, `{"target":"::ffff:1.2.3.4"}`, `{"target":"1.2.3.4:99999"}`,
		`{"kid":"1","jwk":"{\"kid\":\"1\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}"}`, `{"kid":"1","pem":{"public_key":"x"}}`,
		`{"name":"env","prefix":"my-env","config":{"prefix":"X"}}`, `{"name":"n","hash_secret":true,"client_secret":"$pbkdf2-sha512$"}`,
		`{"@entity":"x","":{"":[]}}`, `{"ttl":1e300}`, `{"id":null,"created_at":null,"updated_at":[]}`,
	}
}

// FuzzInsert: no JSON makes Insert or Update panic, or lets through what does not pass again.
func FuzzInsert(f *testing.F) {
	for _, body := range bodies() {
		f.Add(body, `{"config":{"redis":{"port":1}}}`)
	}
	schemas := allSchemas()
	f.Fuzz(func(t *testing.T, body, patch string) {
		in, ok := parse(body)
		changes, fine := parse(patch)
		if !ok || !fine {
			return
		}
		for _, s := range schemas {
			checkInsert(t, s, in, changes)
		}
	})
}

// FuzzFromForm: no tree of strings makes FromForm panic or changes under it, and its result is as good as
// decoded JSON.
func FuzzFromForm(f *testing.F) {
	for _, body := range bodies() {
		f.Add(body)
	}
	schemas := allSchemas()
	f.Fuzz(func(t *testing.T, body string) {
		in, ok := parse(body)
		if !ok {
			return
		}
		tree := stringify(in).(map[string]any)
		for _, s := range schemas {
			before, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			inferred := s.FromForm(tree)
			after, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			if string(before) != string(after) {
				t.Fatalf("the tree was changed from %s to %s", before, after)
			}
			checkInsert(t, s, inferred, inferred)
		}
	})
}

func checkInsert(t *testing.T, s *schema.Schema, in, patch map[string]any) {
	entity, violation := s.Insert(at(someTime), in)
	if violation != nil {
		checkViolation(t, violation)
		return
	}
	again, violation := s.Insert(at(someTime), entity)
	if violation != nil {
		t.Fatalf("the output is not valid: %v", violation)
	}
	if diff := cmp.Diff(entity, again); diff != "" {
		t.Fatalf("the output inserted again (-before +after):\n%s", diff)
	}
	changed, violation := s.Update(at(someTime), entity, patch)
	if violation != nil {
		checkViolation(t, violation)
		return
	}
	if changed["id"] != entity["id"] {
		t.Fatalf("a patch changed the id from %v to %v", entity["id"], changed["id"])
	}
	if _, err := json.Marshal(changed); err != nil {
		t.Fatal(err)
	}
}

// FuzzParseURL: no URL makes ParseURL panic, and the parts are parts.
func FuzzParseURL(f *testing.F) {
	for _, url := range []string{"http://h.test:1/p", "nope", "//h", "h.test:80", "http://[::1]:x/", "a://@:/;?#", ":", "[]"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		got := schema.ParseURL(url)
		for _, name := range []string{"protocol", "host", "path"} {
			if part, ok := got[name].(string); ok && part != "http" && part != "https" && !strings.Contains(url, part) {
				t.Errorf("%s is %q, which is not in %q", name, part, url)
			}
		}
	})
}

// FuzzNormalizePath: the normal form of a path that Kong could accept is its own normal form.
func FuzzNormalizePath(f *testing.F) {
	for _, path := range []string{"/", "/a/../b", "/./a//b/", "/%2e%2E/x", "/%2f%41", "/..", "/a/.", "/%25%32"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if schema.ValidPath(path) != nil {
			return
		}
		normal := schema.NormalizePath(path)
		if !strings.HasPrefix(normal, "/") || strings.Contains(normal, "//") || strings.Contains(normal, "/../") {
			t.Errorf("%q becomes %q", path, normal)
		}
		if again := schema.NormalizePath(normal); again != normal {
			t.Errorf("%q becomes %q, which becomes %q", path, normal, again)
		}
	})
}

func parse(text string) (map[string]any, bool) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v map[string]any
	err := decoder.Decode(&v)
	return v, err == nil && v != nil
}

// stringify makes every scalar a string, as a form has it.
func stringify(v any) any {
	switch value := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, part := range value {
			out[key] = stringify(part)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, part := range value {
			out[i] = stringify(part)
		}
		return out
	case string:
		return value
	case nil:
		return ""
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// FuzzParseHost: what is parsed is a name or an address, and written with its port it is parsed to the same.
func FuzzParseHost(f *testing.F) {
	for _, host := range []string{"h.test", "h.test:80", "127.0.0.1", "127.000.0.1:8", "::1", "[::1]:80", "::ffff:1.2.3.4", "a:b", ":80", "-", "1.2.3", "[::1", "::1]"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, text string) {
		host, err := schema.ParseHost(text)
		if err != nil {
			return
		}
		again, err := schema.ParseHost(host.WithPort(8000))
		if err != nil || again.Host != host.Host || again.Kind != host.Kind || !again.HasPort || host.HasPort && again.Port != host.Port {
			t.Errorf("%q is %+v, written %q and read as %+v, %v", text, host, host.WithPort(8000), again, err)
		}
	})
}

// FuzzParseJWK: no text makes ParseJWK panic.
func FuzzParseJWK(f *testing.F) {
	for _, k := range jwks() {
		f.Add(k.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := schema.ParseJWK([]byte(text)); (key == nil) != (err != nil) {
			t.Errorf("%v, %v", key, err)
		}
	})
}
