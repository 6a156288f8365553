package known

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// FuzzConfig: no config makes a schema panic, and what is stored is stored again as it is, also after a patch.
func FuzzConfig(f *testing.F) {
	subs := map[string]*schema.Schema{}
	var names []string
	for _, d := range plugin.All() {
		subs[d.Name] = d.Schema
		names = append(names, d.Name)
	}
	plugins := entities.Plugins().WithSubschemas(subs)
	text, err := os.ReadFile("testdata/defaults.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, config, ok := strings.Cut(strings.TrimSpace(line), " {"); ok {
			f.Add("{"+config, `{"queue":{"max_bytes":1},"redis":{"port":1},"host":null}`)
		}
		if strings.HasPrefix(line, "{") {
			f.Add(line, `{"metrics":[],"redis_port":2,"cookie_idletime":null,"endpoint":"http://o.test"}`)
		}
	}
	f.Fuzz(func(t *testing.T, config, patch string) {
		var in, changes map[string]any
		if json.Unmarshal([]byte(config), &in) != nil || json.Unmarshal([]byte(patch), &changes) != nil {
			return
		}
		for _, name := range names {
			checkConfig(t, plugins, name, in, changes)
			checkConfig(t, plugins, name, plugins.FromForm(map[string]any{"name": name, "config": in})["config"], changes)
		}
	})
}

func checkConfig(t rapid.TB, plugins *schema.Schema, name string, config any, patch map[string]any) {
	id := func() string { return "6f4a486c-ec63-4144-afa9-2080b7e67c62" }
	c := schema.Context{Now: plugintest.Now, NewID: id, NewSecret: id}
	stored, violation := plugins.Insert(c, map[string]any{"name": name, "config": config})
	if violation != nil {
		return
	}
	again, violation := plugins.Insert(c, stored)
	if violation != nil {
		t.Fatalf("%s: what was stored is not valid: %v", name, violation)
	}
	if diff := cmp.Diff(stored, again); diff != "" {
		t.Fatalf("%s: stored again (-before +after):\n%s", name, diff)
	}
	changed, violation := plugins.Update(c, stored, map[string]any{"config": patch})
	if violation != nil {
		return
	}
	if again, violation = plugins.Update(c, changed, nil); violation != nil {
		t.Fatalf("%s: what a patch stored is not valid: %v", name, violation)
	}
	if diff := cmp.Diff(changed, again); diff != "" {
		t.Fatalf("%s: patched with nothing (-before +after):\n%s", name, diff)
	}
	if _, err := json.Marshal(changed); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestDrawnConfigs is FuzzConfig with configs that are mostly made of what the schemas ask for.
func TestDrawnConfigs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(plugin.All()).Draw(t, "plugin")
		plugins := entities.Plugins().WithSubschemas(map[string]*schema.Schema{d.Name: d.Schema})
		config := d.Schema.Field("config")
		checkConfig(t, plugins, d.Name, drawField(t, config), drawRecord(t, config))
	})
}

// drawRecord draws members of a record: those that it must have, and a third of the others.
func drawRecord(t *rapid.T, f *schema.Field) map[string]any {
	m := map[string]any{}
	for _, part := range slices.Concat(f.Fields, f.Shorthands) {
		if part.Required && part.Default == nil || rapid.IntRange(0, 2).Draw(t, "present") == 0 {
			m[part.Name] = drawField(t, &part)
		}
	}
	return m
}

func drawField(t *rapid.T, f *schema.Field) any {
	switch odd := rapid.IntRange(0, 19).Draw(t, "odd"); {
	case odd == 0:
		return rapid.SampledFrom([]any{nil, true, "", "a b", "{vault://a/b}", 1.5, -1.0, []any{}, map[string]any{"a": 1.0}}).Draw(t, f.Name)
	case len(f.OneOf) > 0:
		return rapid.SampledFrom(f.OneOf).Draw(t, f.Name)
	}
	switch f.Type {
	case schema.Record:
		return drawRecord(t, f)
	case schema.Array, schema.Set:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = drawField(t, f.Elements)
		}
		return list
	case schema.Map:
		return map[string]any{"a": drawField(t, f.Values)}
	case schema.Boolean:
		return rapid.Bool().Draw(t, f.Name)
	case schema.Integer, schema.Number:
		return float64(rapid.IntRange(0, 300).Draw(t, f.Name))
	}
	return rapid.SampledFrom([]string{"a", "h.test", "10.0.0.0/8", "http://h.test/p", "a:b", "/var/log/l", "200-299", "a@b.test"}).Draw(t, f.Name)
}
