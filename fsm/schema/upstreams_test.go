package schema_test

import (
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

func TestUpstreamViolations(t *testing.T) {
	failed := func(field string) string {
		return "failed conditional validation given value of field '" + field + "'"
	}
	pair := func(field, other, message string) (string, string) {
		return `{"@entity":["` + failed(field) + `"],"` + other + `":"` + message + `"}`,
			"2 schema violations (" + failed(field) + "; " + other + ": " + message + ")"
	}
	rejects := func(body, field, other, message string) rejection {
		fields, text := pair(field, other, message)
		return rejection{body, fields, text}
	}
	one := func(body, field, message string) rejection {
		return rejection{body, `{"` + field + `":"` + message + `"}`, "schema violation (" + field + ": " + message + ")"}
	}
	checkRejections(t, entities.Upstreams(), []rejection{
		one(`{}`, "name", "required field missing"),
		one(`{"name":"1.2.3.4"}`, "name", "Invalid name ('1.2.3.4'); no ip addresses allowed"),
		one(`{"name":"::1"}`, "name", "Invalid name ('::1'); no ip addresses allowed"),
		one(`{"name":"h.test:80"}`, "name", "Invalid name ('h.test:80'); no port allowed"),
		one(`{"name":"a b"}`, "name", "Invalid name; must be a valid hostname"),
		one(`{"name":"u","slots":9}`, "slots", "value should be between 10 and 65536"),
		one(`{"name":"u","algorithm":"x"}`, "algorithm", "expected one of: consistent-hashing, least-connections, round-robin, latency"),
		one(`{"name":"u","hash_on_header":"a b"}`, "hash_on_header", "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"),
		one(`{"name":"u","hash_on_cookie":"a b"}`, "hash_on_cookie", "bad cookie name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"),
		one(`{"name":"u","hash_on_cookie_path":"a"}`, "hash_on_cookie_path", "should start with: /"),
		rejects(`{"name":"u","hash_on":"header"}`, "hash_on", "hash_on_header", "required field missing"),
		rejects(`{"name":"u","hash_on":"cookie"}`, "hash_on", "hash_on_cookie", "required field missing"),
		rejects(`{"name":"u","hash_on":"query_arg"}`, "hash_on", "hash_on_query_arg", "required field missing"),
		rejects(`{"name":"u","hash_on":"uri_capture"}`, "hash_on", "hash_on_uri_capture", "required field missing"),
		rejects(`{"name":"u","hash_on":"ip","hash_fallback":"query_arg"}`, "hash_fallback", "hash_fallback_query_arg", "required field missing"),
		rejects(`{"name":"u","hash_fallback":"ip"}`, "hash_on", "hash_fallback", "expected one of: none"),
		rejects(`{"name":"u","hash_on":"cookie","hash_on_cookie":"c","hash_fallback":"ip"}`, "hash_on", "hash_fallback", "expected one of: none"),
		rejects(`{"name":"u","hash_on":"ip","hash_fallback":"ip"}`, "hash_on", "hash_fallback",
			"expected one of: none, consumer, header, cookie, path, query_arg, uri_capture"),
		rejects(`{"name":"u","algorithm":"latency","hash_on":"ip","hash_fallback":"consumer"}`, "hash_on", "hash_fallback", "expected one of: none"),
		{`{"name":"u","hash_on":"header","hash_fallback":"header","hash_on_header":"x","hash_fallback_header":"x"}`,
			`{"@entity":["values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header'"]}`,
			"schema violation (values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header')"},
		{`{"name":"u","healthchecks":{"threshold":101}}`, `{"healthchecks":{"threshold":"value should be between 0 and 100"}}`,
			"schema violation (healthchecks.threshold: value should be between 0 and 100)"},
	})
}

// What to hash on and how to balance imply each other, in what a client sends and not in what is stored.
func TestImpliedAlgorithm(t *testing.T) {
	s := entities.Upstreams()
	state := func(entity map[string]any) string {
		return entity["algorithm"].(string) + " " + entity["hash_on"].(string)
	}
	for body, want := range map[string]string{
		`{"name":"u"}`:                "round-robin none",
		`{"name":"u","hash_on":"ip"}`: "consistent-hashing ip",
		`{"name":"u","algorithm":"round-robin","hash_on":"ip"}`:        "consistent-hashing ip",
		`{"name":"u","algorithm":"least-connections","hash_on":"ip"}`:  "least-connections none",
		`{"name":"u","algorithm":"latency","hash_on":"consumer"}`:      "latency none",
		`{"name":"u","algorithm":"consistent-hashing"}`:                "consistent-hashing none",
		`{"name":"u","algorithm":"consistent-hashing","hash_on":null}`: "consistent-hashing none",
	} {
		entity, violation := s.Insert(at(someTime), object(t, body))
		if violation != nil {
			t.Errorf("%s: %v", body, violation)
			continue
		}
		if got := state(entity); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	stored, violation := s.Insert(at(someTime), object(t, `{"name":"u","algorithm":"least-connections"}`))
	if violation != nil {
		t.Fatal(violation)
	}
	for _, step := range [][2]string{
		{`{"hash_on":"ip"}`, "consistent-hashing ip"}, {`{"slots":10}`, "consistent-hashing ip"}, {`{"algorithm":"latency"}`, "latency none"},
	} {
		if stored, violation = s.Update(at(someTime), stored, object(t, step[0])); violation != nil || state(stored) != step[1] {
			t.Errorf("PATCH %s: %v, %v; want %s", step[0], stored, violation, step[1])
		}
	}
}

func TestTargets(t *testing.T) {
	s := entities.Targets()
	for target, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:8000", "127.0.0.1:80": "127.0.0.1:80", "127.000.0.01:080": "127.0.0.1:80", "h.test": "h.test:8000", "h.test:0": "h.test:0",
		"::1": "[0000:0000:0000:0000:0000:0000:0000:0001]:8000", "[::1]:80": "[0000:0000:0000:0000:0000:0000:0000:0001]:80",
		"[2001:DB8::1]": "[2001:0db8:0000:0000:0000:0000:0000:0001]:8000", "::ffff:1.2.3.4": "[0000:0000:0000:0000:0000:ffff:0102:0304]:8000",
	} {
		entity, violation := s.Insert(at(someTime), map[string]any{"target": target, "upstream": map[string]any{"id": someID}})
		if violation != nil || entity["target"] != want {
			t.Errorf("%s: %v, %v; want %s", target, entity["target"], violation, want)
		}
	}
	for _, target := range []string{"a b", "h.test:80x", "h.test:65536", "1.2.3", "[::1", "::1%eth0", ":80"} {
		_, violation := s.Insert(at(someTime), map[string]any{"target": target, "upstream": map[string]any{"id": someID}})
		if violation == nil || violation.Error() != "schema violation (target: Invalid target; not a valid hostname or ip address)" {
			t.Errorf("%s: %v", target, violation)
		}
	}
	entity, _ := s.Insert(at(someTime), map[string]any{"target": "h", "upstream": map[string]any{"id": someID}})
	if entity["created_at"] != float64(someTime)+0.516 || entity["updated_at"] != entity["created_at"] {
		t.Errorf("created at %v", entity["created_at"])
	}
}

func TestVaultViolations(t *testing.T) {
	checkRejections(t, vaults(), []rejection{
		{`{"prefix":"a-b"}`, `{"name":"required field missing"}`, "schema violation (name: required field missing)"},
		{`{"name":"hcv","prefix":"a-b"}`, `{"name":"vault 'hcv' is not installed"}`, "schema violation (name: vault 'hcv' is not installed)"},
		{`{"name":"env"}`, `{"prefix":"required field missing"}`, "schema violation (prefix: required field missing)"},
		{`{"name":"env","prefix":"env"}`, `{"prefix":"must not be one of: env"}`, "schema violation (prefix: must not be one of: env)"},
		{`{"name":"env","prefix":"A"}`, `{"prefix":"invalid value: A"}`, "schema violation (prefix: invalid value: A)"},
		{`{"name":"env","prefix":"a-"}`, `{"prefix":"invalid value: a-"}`, "schema violation (prefix: invalid value: a-)"},
		{`{"name":"env","prefix":"a-b","config":{"x":1}}`, `{"config":{"x":"unknown field"}}`, "schema violation (config.x: unknown field)"},
	})
}

// Passwords and secrets are kept as hashes, each hashed once.
func TestSealed(t *testing.T) {
	const hash = "d33ec52b4b1b8a5ab5f3e2b3f7d1ea3a6bb8f3ab"
	basic := entities.BasicauthCredentials()
	in := map[string]any{"username": "u", "password": "pw", "consumer": map[string]any{"id": "16beb46d-6044-4eb3-b2de-fcc06770dec2"}}
	stored, violation := basic.Insert(at(someTime), in)
	if violation != nil || stored["password"] != "6adfdc02ea308d0b08ab5e685bb9aeec47e19708" { // Kong's
		t.Fatalf("%v, %v", stored, violation)
	}
	kept, _ := basic.Update(at(someTime), stored, map[string]any{"username": "v"})
	if kept["password"] != stored["password"] || kept["username"] != "v" {
		t.Errorf("a PATCH of something else: %v", kept)
	}
	changed, _ := basic.Update(at(someTime), stored, map[string]any{"password": hash})
	if changed["password"] != entities.PasswordHash(hash, "16beb46d-6044-4eb3-b2de-fcc06770dec2") {
		t.Errorf("a PATCH of the password: %v", changed)
	}

	app := entities.OAuth2Credentials()
	const sealed = "$pbkdf2-sha512$i=10000,l=32$"
	isHash := func(v any) bool { return len(v.(string)) > 60 && v.(string)[:len(sealed)] == sealed }
	in = map[string]any{"name": "n", "consumer": map[string]any{"id": someID}, "client_secret": "s"}
	open, violation := app.Insert(at(someTime), in)
	if violation != nil || open["client_secret"] != "s" {
		t.Fatalf("%v, %v", open, violation)
	}
	hashed, _ := app.Update(at(someTime), open, map[string]any{"hash_secret": true})
	if !isHash(hashed["client_secret"]) {
		t.Errorf("a secret that is to be hashed from now on: %v", hashed)
	}
	for _, patch := range []map[string]any{{"name": "m"}, {"hash_secret": true}, {"client_secret": hashed["client_secret"]}} {
		if again, _ := app.Update(at(someTime), hashed, patch); again["client_secret"] != hashed["client_secret"] {
			t.Errorf("PATCH %v: %v, was %v", patch, again["client_secret"], hashed["client_secret"])
		}
	}
	if next, _ := app.Update(at(someTime), hashed, map[string]any{"client_secret": "t"}); next["client_secret"] == hashed["client_secret"] || !isHash(next["client_secret"]) {
		t.Errorf("another secret: %v", next)
	}
	in["hash_secret"] = true
	delete(in, "client_secret")
	if made, violation := app.Insert(at(someTime), in); violation != nil || !isHash(made["client_secret"]) {
		t.Errorf("a secret that was made up: %v, %v", made, violation)
	}
	in["client_secret"] = nil
	if made, violation := app.Insert(at(someTime), in); violation != nil || made["client_secret"] != nil {
		t.Errorf("no secret: %v, %v", made, violation)
	}
}

func TestRedirects(t *testing.T) {
	s := entities.OAuth2Credentials()
	for uri, want := range map[string]string{
		"http://x.test/": "", "app://host": "", "x.test": "cannot parse 'x.test'", "http:///p": "cannot parse 'http:///p'",
		"http://x.test/#f": "fragment not allowed in 'http://x.test/#f'",
	} {
		in := map[string]any{"name": "n", "consumer": map[string]any{"id": someID}, "redirect_uris": []any{uri}}
		_, violation := s.Insert(at(someTime), in)
		if got := message(violation); got != want && got != "schema violation (redirect_uris.1: "+want+")" {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

func message(v *schema.Violation) string {
	if v == nil {
		return ""
	}
	return v.Error()
}
