package schema_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
)

const (
	someID   = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
	otherID  = "5acb9052-d567-4da6-9575-082c0771acd3"
	secret   = "fa31d94ac2794c108fbbdf6a4c50abde"
	someTime = 1795447786
)

// at returns a context in which everything is always the same.
func at(now int64) schema.Context {
	return schema.Context{
		Now:       func() time.Time { return time.Unix(now, 516_000_000) },
		NewID:     func() string { return someID },
		NewSecret: func() string { return secret },
	}
}

// object decodes a JSON object as the Admin API does.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v map[string]any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// sameJSON compares a value, written as JSON, with a JSON text.
func sameJSON(t testing.TB, want string, got any) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var w, g any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
