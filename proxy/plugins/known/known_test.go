package known

import (
	"testing"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) {
	for _, d := range plugin.All() {
		t.Run(d.Name, func(t *testing.T) {
			var edits []plugintest.Edit
			if d.Name == "session" {
				edits = append(edits, plugintest.Edit{Field: "secret", Change: func(secret map[string]any) {
					delete(secret, "default") // one that Kong drew
					secret["auto"] = true
				}})
			}
			plugintest.ComparePublished(t, d.Name, edits...)
		})
	}
}

func TestNoneRuns(t *testing.T) {
	for _, d := range plugin.All() {
		if d.Runs() {
			t.Errorf("%s runs, and should be in a folder of its own", d.Name)
		}
	}
}
