package fsm

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// jsonText draws the text of a JSON value, of the kinds that entities are made of and
// others, with spaces where they may be.
func jsonText(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t"})
		pad := func(s string) string { return space.Draw(t, "space") + s + space.Draw(t, "space") }
		kinds := []string{"null", "bool", "number", "text", "ref"}
		if depth > 0 {
			kinds = append(kinds, "texts", "list", "object")
		}
		switch rapid.SampledFrom(kinds).Draw(t, "kind") {
		case "bool":
			return pad(rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool"))
		case "number":
			return pad(rapid.SampledFrom([]string{"0", "-1", "80", "1.5", "1e3", "9223372036854775807", "9223372036854775808", "-0"}).Draw(t, "number"))
		case "text":
			return pad(quoted(t))
		case "ref":
			return pad(`{"id":` + pad(quoted(t)) + `}`)
		case "texts":
			return pad("[" + strings.Join(rapid.SliceOfN(rapid.Custom(quoted), 0, 3).Draw(t, "texts"), ",") + "]")
		case "list":
			return pad("[" + strings.Join(rapid.SliceOfN(jsonText(depth-1), 0, 3).Draw(t, "list"), ",") + "]")
		case "object":
			return pad(objectText(t, rapid.Custom(quoted), depth-1))
		}
		return pad("null")
	})
}

func quoted(t *rapid.T) string {
	return rapid.SampledFrom([]string{`""`, `"a"`, `"id"`, `"b c"`, `"\""`, `"\\"`, `"\\\""`, `"\u0069d"`, `"\ud83d\ude00"`, `"\ud83d"`, `"é{[,:]}"`, "\"\xff\""}).Draw(t, "text")
}

func objectText(t *rapid.T, name *rapid.Generator[string], depth int) string {
	var b strings.Builder
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name.Draw(t, "name") + ":" + jsonText(depth).Draw(t, "value"))
	}
	return "{" + b.String() + "}"
}

// TestReadsAsEncodingJSON: typed views hold what encoding/json reads into them, and what
// it refuses is refused.
func TestReadsAsEncodingJSON(t *testing.T) {
	defs := Definitions()
	rapid.Check(t, func(t *rapid.T) {
		def := rapid.SampledFrom(defs).Draw(t, "definition")
		var names []string
		for name := range def.shape {
			names = append(names, `"`+name+`"`)
		}
		slices.Sort(names)
		raw := []byte(objectText(t, rapid.SampledFrom(append(names, `"of a newer build"`, `"\u0069d"`)), 2))
		want, got := def.newView(), def.newView()
		wantErr, err := json.Unmarshal(raw, want), def.shape.read(raw, got)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: %s\n%v\nwant %v", def.Kind, raw, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %s\n%#v\nwant %#v", def.Kind, raw, got, want)
		}
	})
}

// TestKeysOfRaw: what an entity says of its keys, references and tags is what its fields
// say, read into a map.
func TestKeysOfRaw(t *testing.T) {
	defs := Definitions()
	rapid.Check(t, func(t *rapid.T) {
		def := rapid.SampledFrom(defs).Draw(t, "definition")
		names := []string{`"tags"`, `"id"`}
		for _, f := range def.Foreign {
			names = append(names, `"`+f.Field+`"`)
		}
		for _, set := range def.Unique {
			for _, name := range set {
				names = append(names, `"`+name+`"`)
			}
		}
		e := &Entity{Raw: []byte(objectText(t, rapid.SampledFrom(names), 1))}
		var fields map[string]any
		if err := json.Unmarshal(e.Raw, &fields); err != nil {
			t.Fatal(err)
		}
		for i, set := range def.Unique {
			if got, want := e.unique(set), def.UniqueKey(i, fields); got != want {
				t.Fatalf("%s: key %q, want %q", e.Raw, got, want)
			}
		}
		for _, f := range def.Foreign {
			var want []string
			if ref, _ := fields[f.Field].(map[string]any); !f.List && ref["id"] != nil {
				if id, _ := ref["id"].(string); id != "" {
					want = append(want, id)
				}
			}
			if list, _ := fields[f.Field].([]any); f.List {
				for _, item := range list {
					if id, _ := item.(string); id != "" && !slices.Contains(want, id) {
						want = append(want, id)
					}
				}
			}
			if got := e.Names(f); !slices.Equal(got, want) {
				t.Fatalf("%s: %s names %q, want %q", e.Raw, f.Field, got, want)
			}
		}
	})
}

// FuzzMembers: whatever the text, reading it ends; and if it is an object, all of it is
// read as encoding/json does.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{`{}`, ` { "a" : [1, {"b":"}"}] , "c":"\\\"" } `, `{"a":"\`, `{"a":`, `{"a"`, `{"`, `[`, `{"a":[}`, `{"a":}`, `null`, `{"a":1,"a":2}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		names := map[string]bool{}
		for m := (members{text: object}); m.next(); {
			names[m.name] = true
			for item := range items(m.value) {
				text(item)
			}
		}
		texts(object)
		var want map[string]json.RawMessage
		if json.Unmarshal(object, &want) != nil {
			return
		}
		for name, value := range want {
			if got := member(object, name); string(got) != string(value) {
				t.Fatalf("%q is %q, want %q", name, got, value)
			}
		}
		if len(names) != len(want) {
			t.Fatalf("%d names, want %d", len(names), len(want))
		}
	})
}
