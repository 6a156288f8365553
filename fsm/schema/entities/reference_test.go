package entities_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// TestPublished compares what the schemas publish with what Kong publishes, attribute by attribute. The
// reference files are no part of the tree; they are in kong-schemas of the folder that SLUICE_KONG_REFERENCE
// names.
func TestPublished(t *testing.T) {
	folder := os.Getenv("SLUICE_KONG_REFERENCE")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "reference")
	}
	folder = filepath.Join(folder, "kong-schemas")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("no reference schemas: set SLUICE_KONG_REFERENCE: %v", err)
	}
	for _, s := range []*schema.Schema{
		entities.Services(), entities.Routes(), entities.Consumers(), entities.Plugins(),
		entities.JWTSecrets(), entities.KeyauthCredentials(),
		entities.Certificates(), entities.SNIs(), entities.CACertificates(),
		entities.Upstreams(), entities.Targets(), entities.KeySets(), entities.Keys(), entities.Vaults(),
		entities.BasicauthCredentials(), entities.HMACauthCredentials(), entities.ACLs(),
		entities.OAuth2Credentials(), entities.OAuth2Tokens(), entities.Tags(), entities.FilterChains(),
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
			text := strings.ReplaceAll(string(reference), placeholder, draft)
			want, got := decode(t, text), decode(t, string(published))
			if s.Name == "keys" { // Kong lists jwk and pem in no fixed order
				sortAlternatives(want)
				sortAlternatives(got)
			}
			if s.Name == "vaults" {
				restoreDescription(want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("published schema (-Kong +Sluice):\n%s", diff)
			}
		})
	}
}

// The reference has no URL of a JSON schema.
const (
	placeholder = `"$schema": "x"`
	draft       = `"$schema": "http://json-schema.org/draft-07/schema#"`
)

// restoreDescription puts a field back whose name the reference takes for an attribute that it leaves out.
func restoreDescription(published any) {
	for _, f := range published.(map[string]any)["fields"].([]any) {
		if field := f.(map[string]any); len(field) == 0 {
			field["description"] = map[string]any{"type": "string"}
		}
	}
}

// sortAlternatives sorts the names in checks that say how many of several fields may be set.
func sortAlternatives(published any) {
	for _, c := range published.(map[string]any)["entity_checks"].([]any) {
		for _, name := range []string{"at_least_one_of", "mutually_exclusive"} {
			if list, ok := c.(map[string]any)[name].([]any); ok {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			}
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
