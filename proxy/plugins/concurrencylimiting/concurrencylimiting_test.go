package concurrencylimiting

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func instance(t *testing.T, quota plugin.Quota, config map[string]any) *Plugin {
	t.Helper()
	p, err := New(plugintest.Env(quota), &plugin.Instance{ID: "an-id", Version: 3, Since: 9, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Plugin)
}

func config(more map[string]any) map[string]any {
	c := map[string]any{
		"limit": 2, "limit_by": "header", "header_name": "x-client", "policy": "cluster", "fault_tolerant": true,
		"error_code": 429, "error_message": "Too many requests in flight",
	}
	for k, v := range more {
		c[k] = v
	}
	return c
}

// TestInFlight: the limit's requests are let through, others when those are done,
// each client's by itself.
func TestInFlight(t *testing.T) {
	q := &plugintest.Quota{}
	p := instance(t, q, config(nil))
	begin := func(client string) (*plugin.Exchange, bool) {
		ex := plugintest.Exchange("GET", "/", "X-Client", client)
		ok := p.Access(ex) == plugin.Continue
		p.FilterHeader(ex)
		return ex, ok
	}
	first, ok := begin("a")
	if !ok || first.Response.Header.Get("X-Concurrency-Limit") != "2" || first.Response.Header.Get("X-Concurrency-Remaining") != "1" {
		t.Errorf("the first: %v %v", ok, first.Response.Header)
	}
	if _, ok := begin("a"); !ok {
		t.Error("the second is refused")
	}
	third, ok := begin("a")
	if ok || third.Response.Status != 429 || third.Response.Header.Get("Retry-After") != "1" ||
		third.Response.Header.Get("X-Concurrency-Remaining") != "0" || !strings.Contains(string(third.Response.Body), "in flight") {
		t.Errorf("the third: %v %d %v %s", ok, third.Response.Status, third.Response.Header, third.Response.Body)
	}
	if _, ok := begin("b"); !ok {
		t.Error("another client is refused")
	}
	p.Log(third) // has no token to give back
	if _, ok := begin("a"); ok {
		t.Error("a refused request has given a token back")
	}
	p.Log(first)
	p.Log(first) // once is enough
	if _, ok := begin("a"); !ok {
		t.Error("none is let through after one is done")
	}
	if _, ok := begin("a"); ok {
		t.Error("a request has given two tokens back")
	}
}

func TestLimit(t *testing.T) {
	for policy, period := range map[string]limiter.Period{"cluster": limiter.InFlight, "node": limiter.InFlight.Local()} {
		l := instance(t, &plugintest.Quota{}, config(map[string]any{"policy": policy})).limit
		if l.ID != "an-id" || l.Version != 3 || l.Since != 9 || !l.FaultTolerant || len(l.Rates) != 1 || l.Rates[0] != (limiter.Rate{Period: period, Max: 2}) {
			t.Errorf("%s: %+v", policy, l)
		}
	}
}

// TestHidden: nothing is said but when to come again.
func TestHidden(t *testing.T) {
	p := instance(t, &plugintest.Quota{Answer: &limiter.Decision{}}, config(map[string]any{"hide_client_headers": true}))
	ex := plugintest.Exchange("GET", "/")
	p.Access(ex)
	p.FilterHeader(ex)
	if h := ex.Response.Header; h.Has("X-Concurrency-Limit") || h.Has("X-Concurrency-Remaining") || h.Get("Retry-After") != "1" {
		t.Errorf("%v", h)
	}
}

func TestUndecided(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	q := &plugintest.Quota{Answer: &limiter.Decision{Err: limiter.ErrNoQuorum}}
	for _, c := range []struct {
		tolerant bool
		ctx      context.Context
		status   int
	}{
		{true, context.Background(), 0}, {false, context.Background(), 500}, {true, gone, 503},
	} {
		p := instance(t, q, config(map[string]any{"fault_tolerant": c.tolerant}))
		ex := plugintest.Exchange("GET", "/")
		ex.SetContext(c.ctx)
		if p.Access(ex) == plugin.Continue != (c.status == 0) || ex.Response.Status != c.status {
			t.Errorf("tolerant %v: %d", c.tolerant, ex.Response.Status)
		}
		p.FilterHeader(ex)
		p.Log(ex)
	}
}

func TestNumbers(t *testing.T) {
	for limit, want := range map[float64]error{1: nil, 2147483647: nil, 0: errLimit, -1: errLimit, 1.5: errLimit, 2147483648: errLimit} {
		if err := checkLimit(limit); !errors.Is(err, want) {
			t.Errorf("limit %v: %v", limit, err)
		}
	}
	for code, want := range map[float64]error{400: nil, 503: nil, 200: errStatus, 429.5: errStatus, 600: errStatus} {
		if err := checkStatus(code); !errors.Is(err, want) {
			t.Errorf("error_code %v: %v", code, err)
		}
	}
	if _, err := New(&plugin.Env{}, &plugin.Instance{}); err == nil {
		t.Error("it goes without a quota")
	}
}
