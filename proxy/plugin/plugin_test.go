package plugin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestRegistry(t *testing.T) {
	run := fmt.Sprintf("test%d-", len(plugin.All())) // -count runs this in one process
	low := &plugin.Definition{Name: run + "low", Priority: -2}
	high := &plugin.Definition{Name: run + "high", Priority: -1}
	twin := &plugin.Definition{Name: run + "a-low", Priority: -2}
	for _, d := range []*plugin.Definition{low, high, twin} {
		plugin.Register(d)
	}
	if d, ok := plugin.Lookup(low.Name); !ok || d != low {
		t.Errorf("Lookup = %v, %v", d, ok)
	}
	if _, ok := plugin.Lookup(run + "none"); ok {
		t.Error("found a plugin that is not there")
	}
	all := slices.DeleteFunc(plugin.All(), func(d *plugin.Definition) bool { return !strings.HasPrefix(d.Name, run) })
	if !slices.Equal(all, []*plugin.Definition{high, twin, low}) {
		t.Errorf("All = %v", all)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second plugin of the same name was taken")
		}
	}()
	plugin.Register(&plugin.Definition{Name: low.Name})
}

func TestEnvShared(t *testing.T) {
	var env plugin.Env
	var made int
	var wait sync.WaitGroup
	values := make([]any, 8)
	for i := range values {
		wait.Go(func() {
			values[i] = env.Shared("counters", func() any { made++; return new(int) })
		})
	}
	wait.Wait()
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	for _, v := range values {
		if v != values[0] {
			t.Errorf("callers got %p and %p", v, values[0])
		}
	}
	if env.Shared("queue", func() any { return 1 }) == values[0] {
		t.Error("two names share a value")
	}
}

func TestDecode(t *testing.T) {
	var config struct {
		Anonymous string   `json:"anonymous"`
		Names     []string `json:"names"`
		Limit     float64  `json:"limit"`
	}
	in := plugin.Instance{ID: "1", Config: map[string]any{
		"anonymous": nil, "names": []any{"a", "b"}, "limit": int64(5), "other": true,
	}}
	if err := in.Decode(&config); err != nil {
		t.Fatal(err)
	}
	if config.Anonymous != "" || !slices.Equal(config.Names, []string{"a", "b"}) || config.Limit != 5 {
		t.Errorf("decoded %+v", config)
	}
	in.Config["limit"] = "five"
	if in.Decode(&config) == nil {
		t.Error("a string was taken for a number")
	}
	in.Config["limit"] = func() {}
	if in.Decode(&config) == nil {
		t.Error("a function was taken for a config")
	}
}

func TestExchangeValues(t *testing.T) {
	type key struct{}
	type other struct{}
	var ex plugin.Exchange
	if ex.Context() == nil || ex.Value(key{}) != nil {
		t.Error("a new exchange has values, or no context")
	}
	ex.Put(key{}, 1)
	ex.Put(other{}, 2)
	ex.Put(key{}, 3)
	if ex.Value(key{}) != 3 || ex.Value(other{}) != 2 {
		t.Errorf("values %v and %v", ex.Value(key{}), ex.Value(other{}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ex.SetContext(ctx)
	cancel()
	if ex.Context().Err() == nil {
		t.Error("another context")
	}
	ex.Reset()
	if ex.Value(key{}) != nil || ex.Context().Err() != nil {
		t.Error("Reset left something behind")
	}
}
