package api

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// A plugin that is known and does not run is published and validated like others, not listed, and not stored.
func TestKnownPlugins(t *testing.T) {
	plugins := testPlugins()
	quiet := &schema.Schema{Name: "quiet", Fields: []schema.Field{{Name: "config", Type: schema.Record, Required: true,
		Fields: []schema.Field{{Name: "host", Type: schema.String, Required: true}}}}}
	h := newHarness(t, append(plugins, &plugin.Definition{Name: "quiet", Version: "1.0.0", Priority: 5, Schema: quiet}))
	const why = "plugin 'quiet' is known to this version of Sluice, but does not run in it yet"
	const refused = `{"code":2,"name":"schema violation","message":"schema violation (name: ` + why + `)","fields":{"name":"` + why + `"}}`
	h.must(201, "POST", "/services", "name=s&host=h")
	h.must(201, "POST", "/plugins", "name=echo&instance_name=e")
	h.run(script{
		{"GET", "/schemas/plugins/quiet", "", 200, `"host":{"required":true,"type":"string"}`},
		{"GET", "/plugins/schema/quiet", "", 200, `"host":{"required":true,"type":"string"}`},
		{"GET", "/plugins/enabled", "", 200, `{"enabled_plugins":["gate","echo"]}`},
		{"POST", "/schemas/plugins/validate", "name=quiet&config.host=h", 200, "schema validation successful"},
		{"POST", "/schemas/plugins/validate", "name=quiet", 400, "config.host: required field missing"},
		{"POST", "/plugins", "name=quiet&config.host=h", 400, refused},
		{"POST", "/plugins", "name=quiet", 400, refused}, // before a config that nobody needs is mended
		{"POST", "/services/s/plugins", "name=quiet&config.host=h&enabled=false", 400, refused},
		{"PUT", "/plugins/" + someID, "name=quiet&config.host=h", 400, refused},
		{"PUT", "/plugins/e", "name=quiet&config.host=h", 400, refused},
		{"PATCH", "/plugins/e", `{"name":"quiet","config":{"host":"h"}}`, 400, refused},
		{"POST", "/plugins", "name=none", 400, "plugin 'none' not enabled; add it to the 'plugins' configuration property"},
		{"POST", "/plugins", `{"name":7}`, 400, "name: expected a string"},
	})
	if available := h.get("/").body; strings.Contains(string(available), "quiet") {
		t.Errorf("a plugin that does not run is available: %s", available)
	}

	// One that a newer node has stored can be looked at and removed, and is refused when it is changed.
	op := fsm.Op{Verb: fsm.Create, Kind: "plugins", ID: otherID,
		Raw: []byte(`{"id":"` + otherID + `","name":"quiet","instance_name":"q","enabled":true,"protocols":["http"],"config":{"host":"h"}}`)}
	if _, err := h.cluster.apply(fsm.NewWrite("", 0, op)); err != nil {
		t.Fatal(err)
	}
	h.run(script{
		{"GET", "/plugins/q", "", 200, `"name":"quiet"`},
		{"PATCH", "/plugins/q", "enabled=false", 400, refused},
		{"DELETE", "/plugins/q", "", 204, ""},
	})
}

// TestEveryPluginOfKongIsKnown compares with the list of Kong's schemas, if it is there.
func TestEveryPluginOfKongIsKnown(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(referenceFolder(), "kong-schemas", "plugin-*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no schemas of Kong in %s/kong-schemas; set SLUICE_KONG_REFERENCE", referenceFolder())
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "plugin-"), ".json")
		_, known := plugin.Lookup(name)
		if !known {
			t.Errorf("%s is not known", name)
		}
	}
}
