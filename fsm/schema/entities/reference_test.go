package entities_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// TestPublished compares what the schemas publish with what Kong publishes, attribute by attribute. The
// reference files are no part of the tree; SLUICE_KONG_REFERENCE names their folder.
func TestPublished(t *testing.T) {
	folder := os.Getenv("SLUICE_KONG_REFERENCE")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "reference", "kong-schemas")
	}
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("no reference schemas: set SLUICE_KONG_REFERENCE to their folder: %v", err)
	}
	for _, s := range []*schema.Schema{
		entities.Services(), entities.Routes(), entities.Consumers(), entities.Plugins(),
		entities.JWTSecrets(), entities.KeyauthCredentials(),
		entities.Certificates(), entities.SNIs(), entities.CACertificates(),
	} {
		t.Run(s.Name, func(t *testing.T) {
			reference, err := os.ReadFile(filepath.Join(folder, s.Name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			published, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, string(reference)), decode(t, string(published))); diff != "" {
				t.Errorf("published schema (-Kong +Sluice):\n%s", diff)
			}
		})
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
