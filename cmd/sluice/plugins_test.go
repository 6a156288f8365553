package main

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// TestPluginSchemasFit: every schema is laid over the plugins entity and asked once. The program does so only
// when a plugin is first configured.
func TestPluginSchemasFit(t *testing.T) {
	subs := map[string]*schema.Schema{}
	for _, d := range plugin.All() {
		subs[d.Name] = d.Schema
	}
	plugins := entities.Plugins().WithSubschemas(subs)
	id := func() string { return "6f4a486c-ec63-4144-afa9-2080b7e67c62" }
	for name := range subs {
		config := map[string]any{"no such field": true}
		_, violation := plugins.Insert(schema.Context{Now: plugintest.Now, NewID: id, NewSecret: id}, map[string]any{"name": name, "config": config})
		if violation == nil || !strings.Contains(violation.Error(), "config.no such field: unknown field") {
			t.Errorf("%s: %v", name, violation)
		}
	}
}
