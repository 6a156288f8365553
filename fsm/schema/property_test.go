package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// drawn are the schemas of which random draws are valid now and then. basic-auth is left out: a password
// that is written again is hashed again.
func drawn() []*schema.Schema {
	return []*schema.Schema{
		entities.Services(), entities.Routes(), entities.Consumers(), plugins(),
		entities.JWTSecrets(), entities.KeyauthCredentials(),
		entities.Certificates(), entities.SNIs(), entities.CACertificates(),
		entities.KeySets(), entities.HMACauthCredentials(), entities.ACLs(),
		entities.OAuth2Credentials(),
	}
}

func allSchemas() []*schema.Schema {
	return append(drawn(), entities.Upstreams(), entities.Targets(), entities.Keys(), vaults(), entities.OAuth2Tokens(),
		entities.Tags(), entities.FilterChains())
}

func vaults() *schema.Schema {
	return entities.Vaults().WithSubschemas(map[string]*schema.Schema{"env": {Name: "env", Fields: []schema.Field{
		{Name: "config", Type: schema.Record, Fields: []schema.Field{{Name: "prefix", Type: schema.String}}},
	}}})
}

// values that are right for some fields and wrong for others, so that draws meet both.
func scalars() []any {
	return []any{
		nil, true, false, json.Number("0"), json.Number("1"), json.Number("80"), json.Number("1.5"),
		json.Number("70000"), json.Number("1e999"), "", "a", "b", "a b", "/a", "/a/../b", "~/a", "~/(", "http",
		"https", "tcp", "grpc", "GET", "get", "h.test", "h.test:80", "*.h.test", "1.2.3.4", someID, "exp", "redis",
		"rate-limiting", "jwt", "acl", "http://h.test:8080/p", "RS256", "{vault://a/b}", "\xff",
		"header", "cookie", "latency", "least-connections", "::1", "my-env", "env",
	}
}

// pems are certificates and keys, some of which fit.
var pems = sync.OnceValue(func() []string {
	root := certstest.Root("ca")
	alt := certstest.SelfSigned("a", certstest.RSA)
	return []string{root.Cert, root.Key, alt.Cert, alt.Key, "{vault://a/b}"}
})

// drawField draws a value for a field, most often one of its type.
func drawField(t *rapid.T, f *schema.Field) any {
	odd := rapid.IntRange(0, 9).Draw(t, "odd")
	switch {
	case odd == 0:
		return rapid.SampledFrom(scalars()).Draw(t, f.Name)
	case odd == 1:
		return nil
	case len(f.OneOf) > 0:
		return rapid.SampledFrom(f.OneOf).Draw(t, f.Name)
	case f.Name == "cert" || f.Name == "cert_alt" || f.Name == "key" || f.Name == "key_alt":
		return rapid.SampledFrom(pems()).Draw(t, f.Name)
	}
	switch f.Type {
	case schema.Array, schema.Set:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		list := make([]any, n)
		for i := range list {
			list[i] = drawField(t, f.Elements)
		}
		return list
	case schema.Map:
		m := map[string]any{}
		for range rapid.IntRange(0, 2).Draw(t, "entries") {
			m[rapid.SampledFrom([]string{"x-a", "x-b", "Host", ""}).Draw(t, "key")] = drawField(t, f.Values)
		}
		return m
	case schema.Record:
		return drawRecord(t, slices.Concat(f.Fields, f.Shorthands))
	case schema.Foreign:
		return map[string]any{rapid.SampledFrom([]string{"id", "name"}).Draw(t, "key"): someID}
	case schema.Boolean:
		return rapid.Bool().Draw(t, f.Name)
	case schema.Integer, schema.Number:
		return json.Number(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, f.Name)))
	}
	return rapid.SampledFrom(scalars()).Draw(t, f.Name)
}

func drawRecord(t *rapid.T, fields []schema.Field) map[string]any {
	m := map[string]any{}
	for i := range fields {
		if rapid.IntRange(0, 3).Draw(t, "present") == 0 {
			m[fields[i].Name] = drawField(t, &fields[i])
		}
	}
	if rapid.IntRange(0, 19).Draw(t, "unknown") == 0 {
		m["foo"] = rapid.SampledFrom(scalars()).Draw(t, "foo")
	}
	return m
}

// drawEntity draws an input for a schema.
func drawEntity(t *rapid.T, s *schema.Schema) map[string]any {
	if s.Name != "plugins" {
		return drawRecord(t, slices.Concat(s.Fields, s.Shorthands))
	}
	name := rapid.SampledFrom([]string{"rate-limiting", "jwt", "acl"}).Draw(t, "plugin")
	m := drawRecord(t, s.For(map[string]any{"name": name}).Fields)
	m["name"] = name
	return m
}

// drawValid draws an input and drops from it, or sets, what stands in the way of its being valid.
func drawValid(t *rapid.T, s *schema.Schema) map[string]any {
	m := drawEntity(t, s)
	for range 9 {
		_, violation := s.Insert(at(someTime), m)
		if violation == nil {
			break
		}
		for name := range violation.Fields {
			delete(m, name)
		}
		maps.Copy(m, missing(s, m))
	}
	return m
}

// missing returns what every entity of a schema needs, for one that lacks or may lack it.
func missing(s *schema.Schema, m map[string]any) map[string]any {
	switch {
	case s.Name == "services":
		return map[string]any{"host": "h.test"}
	case s.Name == "routes":
		return map[string]any{"snis": []any{"h.test"}, "protocols": []any{"https"}}
	case s.Name == "consumers":
		return map[string]any{"username": "bob"}
	case s.Name == "certificates":
		return map[string]any{"cert": pems()[0], "key": pems()[1]}
	case s.Name == "ca_certificates":
		return map[string]any{"cert": pems()[0]}
	case s.Name == "snis":
		return map[string]any{"name": "*.h.test", "certificate": map[string]any{"id": someID}}
	case s.Name != "plugins":
		return map[string]any{"consumer": map[string]any{"id": someID}}
	case m["name"] == "rate-limiting" && m["config"] == nil:
		return map[string]any{"config": map[string]any{"minute": json.Number("5"), "redis_host": "h"}}
	case m["name"] == "acl" && m["config"] == nil:
		return map[string]any{"config": map[string]any{"allow": []any{"g"}}}
	}
	return nil
}

// checkViolation looks at what every violation must have, whatever was wrong.
func checkViolation(t rapid.TB, v *schema.Violation) {
	t.Helper()
	if len(v.Fields) == 0 {
		t.Fatalf("a violation without fields: %v", v)
	}
	if message := v.Error(); !strings.Contains(message, " (") {
		t.Fatalf("a strange message: %s", message)
	}
	if _, err := json.Marshal(v); err != nil {
		t.Fatal(err)
	}
}

// TestInsertProperties: what Insert returns is complete, valid, and a fixed point of Insert and of a patch
// that changes nothing.
func TestInsertProperties(t *testing.T) {
	for _, s := range drawn() {
		t.Run(s.Name, func(t *testing.T) {
			accepted := 0
			rapid.Check(t, func(t *rapid.T) {
				draw := rapid.SampledFrom([]func(*rapid.T, *schema.Schema) map[string]any{drawEntity, drawValid}).Draw(t, "draw")
				entity, violation := s.Insert(at(someTime), draw(t, s))
				if violation != nil {
					checkViolation(t, violation)
					return
				}
				accepted++
				for i := range s.Fields {
					if _, ok := entity[s.Fields[i].Name]; !ok {
						t.Fatalf("no %s in the output", s.Fields[i].Name)
					}
				}
				checkStable(t, s, entity)
			})
			t.Logf("%d draws were valid", accepted)
			if accepted == 0 {
				t.Error("the test has checked nothing")
			}
		})
	}
}

func checkStable(t *rapid.T, s *schema.Schema, entity map[string]any) {
	again, violation := s.Insert(at(someTime), entity)
	if violation != nil {
		t.Fatalf("the output is not valid: %v", violation)
	}
	if diff := cmp.Diff(entity, again); diff != "" {
		t.Fatalf("the output inserted again (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(entity, s.Normalize(entity)); diff != "" {
		t.Fatalf("the output is not canonical (-output +normalized):\n%s", diff)
	}
	text, err := json.Marshal(entity)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var decoded map[string]any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entity, s.Normalize(decoded)); diff != "" {
		t.Fatalf("the output through JSON (-before +after):\n%s", diff)
	}
	later, violation := s.Update(at(someTime+60), entity, nil)
	if violation != nil {
		t.Fatalf("an empty patch is refused: %v", violation)
	}
	if _, ok := entity["updated_at"]; ok {
		if later["updated_at"] != int64(someTime+60) {
			t.Fatalf("updated_at is %v after a patch", later["updated_at"])
		}
		later["updated_at"] = entity["updated_at"]
	}
	if diff := cmp.Diff(entity, later); diff != "" {
		t.Fatalf("after an empty patch (-before +after):\n%s", diff)
	}
}

// TestUpdateModel: a patch does what an insert of the stored entity with the patch laid over it does,
// but for the words of some messages.
func TestUpdateModel(t *testing.T) {
	for _, s := range drawn() {
		t.Run(s.Name, func(t *testing.T) {
			accepted := 0
			rapid.Check(t, func(t *rapid.T) {
				before, violation := s.Insert(at(someTime), drawValid(t, s))
				if violation != nil {
					return
				}
				patch := drawRecord(t, s.For(before).Fields)
				for _, name := range []string{"id", "created_at", "name"} {
					delete(patch, name) // ruled by more than the overlay
				}
				if _, violation := s.Update(at(someTime), before, patch); violation != nil && rapid.Bool().Draw(t, "repair") {
					for name := range violation.Fields {
						delete(patch, name)
					}
				}
				want, refused := s.Insert(at(someTime), overlay(s.For(before).Fields, before, patch))
				got, violation := s.Update(at(someTime), before, patch)
				if (refused == nil) != (violation == nil) {
					t.Fatalf("patch %v: insert says %v, update says %v", patch, refused, violation)
				}
				if violation != nil {
					checkViolation(t, violation)
					message := strings.ReplaceAll(violation.Error(), "when updating, ", "")
					if message != refused.Error() {
						t.Fatalf("patch %v\ninsert says %v\nupdate says %v", patch, refused, violation)
					}
					return
				}
				accepted++
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("patch %v (-insert +update):\n%s", patch, diff)
				}
			})
			t.Logf("%d draws were valid", accepted)
			if accepted == 0 {
				t.Error("the test has checked nothing")
			}
		})
	}
}

// overlay is the slow and obvious PATCH: records merge, shorthands that the patch changes are spelt out.
func overlay(fields []schema.Field, before, patch map[string]any) map[string]any {
	m := maps.Clone(before)
	for name, value := range patch {
		m[name] = value
		i := slices.IndexFunc(fields, func(f schema.Field) bool { return f.Name == name })
		table, isTable := value.(map[string]any)
		if i < 0 || fields[i].Type != schema.Record || !isTable {
			continue
		}
		below, _ := before[name].(map[string]any)
		below = maps.Clone(below)
		for _, shorthand := range fields[i].Shorthands {
			delete(below, shorthand.Name)
		}
		below = overlay(fields[i].Fields, below, table)
		for _, shorthand := range fields[i].Shorthands {
			path := shorthand.Deprecation.ReplacedWith[0]
			given, ok := table[shorthand.Name]
			target, _ := below[path[0]].(map[string]any)
			patched, _ := table[path[0]].(map[string]any)
			if replaced, isGiven := table[path[0]]; ok && isGiven && replaced == nil {
				// A shorthand next to a null record is a patch of that record.
				stored, _ := before[name].(map[string]any)
				target, _ = stored[path[0]].(map[string]any)
				if now, spelt := below[path[0]].(map[string]any); spelt {
					target = now // by the shorthand before this one
				}
			}
			if !ok || target == nil {
				continue
			}
			if patched[path[1]] == nil {
				target = maps.Clone(target)
				target[path[1]] = given
				below[path[0]] = target
			}
		}
		m[name] = below
	}
	return m
}
