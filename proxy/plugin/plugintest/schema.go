package plugintest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// ComparePublished compares what a plugin's schema publishes with what Kong
// publishes. Kong's files are no part of the tree: SLUICE_KONG_REFERENCE names
// their folder, and without them the test is skipped. The edits are what Sluice
// has beyond Kong: each changes one field of what Kong publishes of the config.
func ComparePublished(t *testing.T, name string, edits ...Edit) {
	t.Helper()
	folder := os.Getenv("SLUICE_KONG_REFERENCE")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "reference", "kong-schemas")
	}
	reference, err := os.ReadFile(filepath.Join(folder, "plugin-"+name+".json"))
	if err != nil {
		t.Skipf("no reference schemas: set SLUICE_KONG_REFERENCE to their folder: %v", err)
	}
	published, err := json.Marshal(definition(t, name).Schema)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(reference, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(published, &got); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit.Change(configField(t, want, edit.Field))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("published schema (-Kong +Sluice):\n%s", diff)
	}
}

// Edit is a change of one field of a config, as it is published.
type Edit struct {
	Field  string
	Change func(attributes map[string]any)
}

// configField finds the attributes of one field of a published config.
func configField(t *testing.T, published any, name string) map[string]any {
	t.Helper()
	attributes := field(field(published, "config"), name)
	if attributes == nil {
		t.Fatalf("Kong publishes no field config.%s", name)
	}
	return attributes
}

// field finds a field in a published list of them, nil if there is none.
func field(record any, name string) map[string]any {
	attributes, _ := record.(map[string]any)
	list, _ := attributes["fields"].([]any)
	for _, entry := range list {
		named, _ := entry.(map[string]any)
		if found, ok := named[name].(map[string]any); ok {
			return found
		}
	}
	return nil
}

// Insert sends a plugin entity through its schema as the Admin API would and
// gives the stored entity, or the violation's message and fields as JSON.
func Insert(t testing.TB, name, body string) (stored map[string]any, message, fields string) {
	t.Helper()
	plugins := entities.Plugins().WithSubschemas(map[string]*schema.Schema{name: definition(t, name).Schema})
	var in map[string]any
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		t.Fatal(err)
	}
	in["name"] = name
	id := func() string { return "6f4a486c-ec63-4144-afa9-2080b7e67c62" }
	stored, violation := plugins.Insert(schema.Context{Now: Now, NewID: id, NewSecret: id}, in)
	if violation == nil {
		return stored, "", ""
	}
	data, err := json.Marshal(violation)
	if err != nil {
		t.Fatal(err)
	}
	return nil, violation.Error(), string(data)
}

// Env is a node for plugin instances, with a fixed clock.
func Env(quota plugin.Quota) *plugin.Env {
	return &plugin.Env{NodeID: "node-1", Quota: quota, Now: Now}
}

// Instance makes a plugin instance of a config, given as JSON and completed
// with its schema's defaults.
func Instance(t testing.TB, env *plugin.Env, name, config string) any {
	t.Helper()
	instance, err := New(t, env, name, config)
	if err != nil {
		t.Fatalf("%s %s: %v", name, config, err)
	}
	return instance
}

// New is Instance for a constructor that may fail.
func New(t testing.TB, env *plugin.Env, name, config string) (any, error) {
	t.Helper()
	stored, message, _ := Insert(t, name, `{"config":`+config+`}`)
	if message != "" {
		t.Fatalf("%s %s: %s", name, config, message)
	}
	complete, _ := stored["config"].(map[string]any)
	return definition(t, name).New(env, &plugin.Instance{ID: name + "-1", Version: 1, Config: complete})
}

func definition(t testing.TB, name string) *plugin.Definition {
	t.Helper()
	d, ok := plugin.Lookup(name)
	if !ok {
		t.Fatalf("no plugin %q is registered", name)
	}
	return d
}
