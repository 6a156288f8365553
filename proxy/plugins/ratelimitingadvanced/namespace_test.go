package ratelimitingadvanced

import (
	"testing"

	"github.com/sluicegate/sluice/limiter/inprocess"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// TestOtherLimitsInOneNamespace: of two instances that share their budget, the
// one that was changed last decides for both as soon as it is asked.
func TestOtherLimitsInOneNamespace(t *testing.T) {
	c := inprocess.New(1, nil)
	t.Cleanup(c.Close)
	env := plugintest.Env(c.Limiter(0))
	sharing := func(id string, version uint64, limit float64) *Plugin {
		p, err := New(env, &plugin.Instance{ID: id, Version: version, Config: map[string]any{
			"limit": []any{limit}, "window_size": []any{3600.0}, "window_type": sliding, "identifier": "header",
			"header_name": "X-Run", "namespace": "shared", "fault_tolerant": true, "error_code": 429.0,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return p.(*Plugin)
	}
	old, larger, smaller := sharing("1", 1, 3), sharing("2", 2, 5), sharing("3", 3, 2)
	for _, step := range []struct {
		run  string
		p    *Plugin
		asks int
		want int // admitted
	}{
		{"a", old, 5, 3},
		{"a", larger, 1, 1}, // of five, three are taken
		{"a", old, 5, 1},
		{"a", larger, 1, 0},
		{"b", larger, 1, 1},
		{"b", old, 5, 4},
		{"c", old, 3, 3},
		{"c", smaller, 1, 0}, // more than its two are taken
		{"c", larger, 1, 0},
	} {
		admitted := 0
		for range step.asks {
			if serve(step.p, plugintest.Exchange("GET", "/", "X-Run", step.run)) == plugin.Continue {
				admitted++
			}
		}
		if admitted != step.want {
			t.Errorf("%s, limit %v: %d of %d admitted, want %d", step.run, step.p.Limit, admitted, step.asks, step.want)
		}
	}
}
