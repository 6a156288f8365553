package known

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// TestDefaults: what comes of a config that says nothing, and of one that says no more than it must. A case of
// testdata/defaults.txt is the plugin's name and its config, and below the stored config or the message.
func TestDefaults(t *testing.T) {
	text, err := os.ReadFile("testdata/defaults.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		head, want, _ := strings.Cut(block, "\n")
		name, config, _ := strings.Cut(head, " ")
		stored, message, _ := plugintest.Insert(t, name, `{"config":`+config+`}`)
		if message != "" {
			if message != want {
				t.Errorf("%s: got %s\nwant %s", head, message, want)
			}
			continue
		}
		seen[name] = true
		got, err := json.Marshal(stored["config"])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, want), decode(t, string(got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", head, diff)
		}
	}
	for _, d := range plugin.All() {
		if !seen[d.Name] {
			t.Errorf("no config of %s is stored", d.Name)
		}
	}
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
