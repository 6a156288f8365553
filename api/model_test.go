package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// consumerModel is what consumers are, in the slowest and plainest way.
type consumerModel struct {
	h         *harness
	consumers map[string]map[string]any // id -> username and custom_id, nil for null
}

// with gives the id of the consumer that has a value in a field, or "".
func (m *consumerModel) with(field string, value any) string {
	for id, c := range m.consumers {
		if value != nil && c[field] == value {
			return id
		}
	}
	return ""
}

// store checks a consumer and keeps it; the status is that of the request.
func (m *consumerModel) store(id string, c map[string]any, success int) int {
	if c["username"] == nil && c["custom_id"] == nil {
		return http.StatusBadRequest
	}
	for _, field := range []string{"username", "custom_id"} {
		if other := m.with(field, c[field]); other != "" && other != id {
			return http.StatusConflict
		}
	}
	m.consumers[id] = c
	return success
}

// send sends a JSON body and demands the status that the model gives.
func (m *consumerModel) send(t *rapid.T, method, path string, body map[string]any, want func(answer) int) {
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r := m.h.json(method, path, string(text))
	if status := want(r); r.status != status {
		t.Fatalf("%s %s %s: %d %s, want %d", method, path, text, r.status, r.body, status)
	}
}

// draw gives some of the fields of a consumer, some of them null.
func draw(t *rapid.T) map[string]any {
	c := map[string]any{}
	if rapid.Bool().Draw(t, "has username") {
		c["username"] = rapid.SampledFrom([]any{"a", "b/c", nil}).Draw(t, "username")
	}
	if rapid.Bool().Draw(t, "has custom_id") {
		c["custom_id"] = rapid.SampledFrom([]any{"1", "2", nil}).Draw(t, "custom_id")
	}
	return c
}

func drawName(t *rapid.T) (name, escaped string) {
	name = rapid.SampledFrom([]string{"a", "b/c"}).Draw(t, "name")
	return name, map[string]string{"a": "a", "b/c": "b%2Fc"}[name]
}

func (m *consumerModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"POST": func(t *rapid.T) {
			c := draw(t)
			m.send(t, "POST", "/consumers", c, func(r answer) int {
				id := fmt.Sprint(fieldOf(string(r.body), "id"))
				return m.store(id, c, http.StatusCreated)
			})
		},
		"PUT by name": func(t *rapid.T) {
			name, escaped := drawName(t)
			c := draw(t)
			m.send(t, "PUT", "/consumers/"+escaped, c, func(r answer) int {
				id := m.with("username", name)
				if id == "" {
					id = fmt.Sprint(fieldOf(string(r.body), "id"))
				}
				stored := maps.Clone(c)
				stored["username"] = name
				return m.store(id, stored, http.StatusOK)
			})
		},
		"PUT by id": func(t *rapid.T) {
			id := rapid.SampledFrom([]string{someID, otherID}).Draw(t, "id")
			c := draw(t)
			m.send(t, "PUT", "/consumers/"+id, c, func(answer) int { return m.store(id, c, http.StatusOK) })
		},
		"PATCH": func(t *rapid.T) {
			name, escaped := drawName(t)
			c := draw(t)
			m.send(t, "PATCH", "/consumers/"+escaped, c, func(answer) int {
				id := m.with("username", name)
				if id == "" {
					return http.StatusNotFound
				}
				merged := maps.Clone(m.consumers[id])
				maps.Copy(merged, c)
				return m.store(id, merged, http.StatusOK)
			})
		},
		"DELETE": func(t *rapid.T) {
			name, escaped := drawName(t)
			if r := m.h.do("DELETE", "/consumers/"+escaped, "", ""); r.status != http.StatusNoContent {
				t.Fatalf("DELETE %s: %d %s", name, r.status, r.body)
			}
			delete(m.consumers, m.with("username", name))
		},
		"": m.check,
	}
}

// check compares everything that can be read with the model.
func (m *consumerModel) check(t *rapid.T) {
	want := map[string]map[string]any{}
	for id, c := range m.consumers {
		want[id] = map[string]any{"username": c["username"], "custom_id": c["custom_id"]}
	}
	got := map[string]map[string]any{}
	page := m.h.get("/consumers")
	for _, entry := range page.fields(m.h.t)["data"].([]any) {
		c := entry.(map[string]any)
		got[c["id"].(string)] = map[string]any{"username": c["username"], "custom_id": c["custom_id"]}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if ids := page.ids(m.h.t); !slices.IsSorted(ids) {
		t.Fatalf("%v are not in order", ids)
	}
	for _, custom := range []string{"1", "2"} {
		found := []string{}
		if id := m.with("custom_id", custom); id != "" {
			found = append(found, id)
		}
		if diff := cmp.Diff(found, m.h.get("/consumers?custom_id="+custom).ids(m.h.t)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestConsumersAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &consumerModel{h: newHarness(t, nil), consumers: map[string]map[string]any{}}
		rt.Repeat(m.actions())
	})
}
