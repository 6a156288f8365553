package ratelimiting

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// serve sends an exchange through the phases of an instance, as the chain does.
func serve(p *Plugin, ex *plugin.Exchange) plugin.Verdict {
	verdict := p.Access(ex)
	p.FilterHeader(ex)
	return verdict
}

func instance(t testing.TB, quota plugin.Quota, config string) *Plugin {
	t.Helper()
	return plugintest.Instance(t, plugintest.Env(quota), name, config).(*Plugin)
}

// answer is what the client sees of a decision.
type answer struct {
	Status int
	Header map[string]string
}

func answerOf(ex *plugin.Exchange) answer {
	return answer{ex.Response.Status, plugintest.RateLimitFields(ex)}
}

func TestTutorial(t *testing.T) {
	p := instance(t, &plugintest.Quota{}, `{"minute":5,"policy":"local"}`)
	for left := 4; left >= 0; left-- {
		ex := plugintest.Exchange("GET", "/students")
		if serve(p, ex) != plugin.Continue {
			t.Fatalf("refused with %d left", left)
		}
		remaining := strconv.Itoa(left)
		want := answer{0, map[string]string{
			"limit-minute": "5", "remaining-minute": remaining, "limit": "5", "remaining": remaining, "reset": "60",
		}}
		if diff := cmp.Diff(want, answerOf(ex)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	ex := plugintest.Exchange("GET", "/students")
	if serve(p, ex) != plugin.Stop {
		t.Fatal("the sixth was admitted")
	}
	want := answer{429, map[string]string{
		"limit-minute": "5", "remaining-minute": "0", "limit": "5", "remaining": "0", "reset": "60", "retry": "60",
	}}
	if diff := cmp.Diff(want, answerOf(ex)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	body := "{\n  \"message\":\"API rate limit exceeded\",\n  \"request_id\":\"" + plugintest.RequestID + "\"\n}"
	if diff := cmp.Diff(body, string(ex.Response.Body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

// decision writes Remaining and Reset of the periods that are limited.
func decision(admitted bool, windows map[limiter.Period][2]int64) *limiter.Decision {
	d := &limiter.Decision{Admitted: admitted}
	for i, p := range slices.Sorted(maps.Keys(windows)) {
		d.Remaining[i], d.Reset[i] = windows[p][0], windows[p][1]
	}
	return d
}

func TestHeaders(t *testing.T) {
	const second, minute, hour, day, month, year = limiter.Second, limiter.Minute, limiter.Hour, limiter.Day, limiter.Month, limiter.Year
	type windows = map[limiter.Period][2]int64
	tests := map[string]struct {
		config   string
		decision *limiter.Decision
		want     answer
	}{
		"all periods, the fewest left": {
			`{"second":10,"minute":20,"hour":30,"day":40,"month":50,"year":60}`,
			decision(true, windows{second: {9, 1}, minute: {3, 2}, hour: {7, 3}, day: {8, 4}, month: {9, 5}, year: {10, 6}}),
			answer{0, map[string]string{
				"limit-second": "10", "remaining-second": "9", "limit-minute": "20", "remaining-minute": "3",
				"limit-hour": "30", "remaining-hour": "7", "limit-day": "40", "remaining-day": "8",
				"limit-month": "50", "remaining-month": "9", "limit-year": "60", "remaining-year": "10",
				"limit": "20", "remaining": "3", "reset": "2",
			}},
		},
		"equals, the longest": {
			`{"minute":10,"hour":10}`, decision(true, windows{minute: {4, 30}, hour: {4, 3000}}),
			answer{0, map[string]string{
				"limit-minute": "10", "remaining-minute": "4", "limit-hour": "10", "remaining-hour": "4",
				"limit": "10", "remaining": "4", "reset": "3000",
			}},
		},
		"refused by the shorter one": {
			`{"minute":5,"hour":100}`, decision(false, windows{minute: {0, 12}, hour: {40, 3000}}),
			answer{429, map[string]string{
				"limit-minute": "5", "remaining-minute": "0", "limit-hour": "100", "remaining-hour": "40",
				"limit": "5", "remaining": "0", "reset": "12", "retry": "12",
			}},
		},
		"large numbers": {
			`{"day":123456789012}`, decision(true, windows{day: {123456789011, 86399}}),
			answer{0, map[string]string{
				"limit-day": "123456789012", "remaining-day": "123456789011",
				"limit": "123456789012", "remaining": "123456789011", "reset": "86399",
			}},
		},
		"a fractional limit": {
			`{"minute":1.5}`, decision(true, windows{minute: {1, 60}}),
			answer{0, map[string]string{
				"limit-minute": "1.5", "remaining-minute": "0.5", "limit": "1.5", "remaining": "0.5", "reset": "60",
			}},
		},
		"a fractional limit used up": {
			`{"minute":1.5}`, decision(true, windows{minute: {0, 60}}),
			answer{0, map[string]string{
				"limit-minute": "1.5", "remaining-minute": "0", "limit": "1.5", "remaining": "0", "reset": "60",
			}},
		},
		"a limiter that knows nothing": {
			`{"minute":5}`, &limiter.Decision{},
			answer{429, map[string]string{
				"limit-minute": "5", "remaining-minute": "0", "limit": "5", "remaining": "0", "reset": "1", "retry": "1",
			}},
		},
		"hidden":         {`{"minute":5,"hide_client_headers":true}`, decision(true, windows{minute: {4, 60}}), answer{0, map[string]string{}}},
		"hidden refusal": {`{"minute":5,"hide_client_headers":true}`, decision(false, nil), answer{429, map[string]string{}}},
		"another code":   {`{"minute":5,"hide_client_headers":true,"error_code":503}`, decision(false, nil), answer{503, map[string]string{}}},
		"no error code":  {`{"minute":5,"hide_client_headers":true,"error_code":200}`, decision(false, nil), answer{500, map[string]string{}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/")
			verdict := serve(instance(t, &plugintest.Quota{Answer: test.decision}, test.config), ex)
			if verdict == plugin.Continue != test.decision.Admitted {
				t.Errorf("verdict %v", verdict)
			}
			if diff := cmp.Diff(test.want, answerOf(ex)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorMessage(t *testing.T) {
	p := instance(t, &plugintest.Quota{Answer: &limiter.Decision{}}, `{"minute":5,"error_message":"Slow <down> & wait"}`)
	ex := plugintest.Exchange("GET", "/", "Accept", "text/plain")
	serve(p, ex)
	if got := string(ex.Response.Body); got != "Slow <down> & wait\nrequest_id: "+plugintest.RequestID+"\n" {
		t.Errorf("body %q", got)
	}
	ex = plugintest.Exchange("GET", "/")
	serve(p, ex)
	if got := string(ex.Response.Body); !strings.Contains(got, `"Slow <down> & wait"`) {
		t.Errorf("body %q", got)
	}
}

// TestUpstreamHeaders: an upstream that limits too does not hide our limit.
func TestUpstreamHeaders(t *testing.T) {
	p := instance(t, &plugintest.Quota{}, `{"minute":5}`)
	ex := plugintest.Exchange("GET", "/")
	p.Access(ex)
	ex.Response.Header = plugintest.NewHeader("RateLimit-Limit", "1", "RateLimit-Limit", "2", "X-A", "b")
	p.FilterHeader(ex)
	if got := ex.Response.Header.(*plugintest.Header).Map(); !cmp.Equal(got["Ratelimit-Limit"], []string{"5"}) || got["X-A"] == nil {
		t.Errorf("header %v", got)
	}
}

func TestUndecided(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	lost := &limiter.Decision{Err: limiter.ErrNoQuorum}
	tests := map[string]struct {
		config string
		ctx    context.Context
		status int // 0 for a request that goes on
	}{
		"tolerant":                 {`{"minute":5}`, context.Background(), 0},
		"not tolerant":             {`{"minute":5,"fault_tolerant":false}`, context.Background(), 500},
		"tolerant, but nobody":     {`{"minute":5}`, gone, 503},
		"not tolerant, and nobody": {`{"minute":5,"fault_tolerant":false}`, gone, 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/")
			ex.SetContext(test.ctx)
			verdict := serve(instance(t, &plugintest.Quota{Answer: lost}, test.config), ex)
			if verdict == plugin.Continue != (test.status == 0) || ex.Response.Status != test.status {
				t.Errorf("verdict %v, status %d", verdict, ex.Response.Status)
			}
			if got := answerOf(ex).Header; len(got) > 0 {
				t.Errorf("says %v of a quota it does not know", got)
			}
			if test.status == 500 && string(ex.Response.Body) != `{"message":"An unexpected error occurred"}` {
				t.Errorf("body %s", ex.Response.Body)
			}
		})
	}
}

// spied is a quota that decides nothing: what it was asked is of interest.
func spied() *plugintest.Quota {
	return &plugintest.Quota{Answer: &limiter.Decision{Admitted: true, Err: errors.New("undecided")}}
}

func TestLimit(t *testing.T) {
	s := spied()
	env := plugintest.Env(s)
	in := &plugin.Instance{ID: "an-id", Version: 7, Config: map[string]any{
		"second": 0.1, "minute": int64(5), "hour": 5.5, "day": nil, "month": 1e300, "limit_by": "ip", "fault_tolerant": true,
	}}
	p, err := New(env, in)
	if err != nil {
		t.Fatal(err)
	}
	p.(*Plugin).Access(plugintest.Exchange("GET", "/"))
	want := &limiter.Limit{
		ID: "an-id", Version: 7, FaultTolerant: true, Rates: []limiter.Rate{
			{Period: limiter.Second, Max: 1}, {Period: limiter.Minute, Max: 5}, {Period: limiter.Hour, Max: 6}, {Period: limiter.Month, Max: 1 << 50},
		},
	}
	want.Prepare()
	if got, _ := s.Asked(); !reflect.DeepEqual(want, got) {
		t.Errorf("limit %+v, want %+v", got, want)
	}
}

// TestPolicyNode: the windows are the node's own, and Kong's policies are one.
func TestPolicyNode(t *testing.T) {
	for policy, local := range map[string]bool{"local": false, "cluster": false, "redis": false, "node": true} {
		s := spied()
		config := fmt.Sprintf(`{"second":1,"month":5,"policy":%q,"redis":{"host":"h.test"}}`, policy)
		instance(t, s, config).Access(plugintest.Exchange("GET", "/"))
		limit, _ := s.Asked()
		want := []limiter.Rate{{Period: limiter.Second, Max: 1}, {Period: limiter.Month, Max: 5}}
		if local {
			want = []limiter.Rate{{Period: limiter.Second.Local(), Max: 1}, {Period: limiter.Month.Local(), Max: 5}}
		}
		if diff := cmp.Diff(want, limit.Rates); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
	}
	ex := plugintest.Exchange("GET", "/")
	serve(instance(t, &plugintest.Quota{}, `{"minute":5,"policy":"node"}`), ex)
	want := map[string]string{"limit-minute": "5", "remaining-minute": "4", "limit": "5", "remaining": "4", "reset": "60"}
	if diff := cmp.Diff(want, answerOf(ex).Header); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKey(t *testing.T) {
	bob, service := &fsm.Consumer{ID: "bob"}, &fsm.Service{ID: "svc"}
	credential := plugin.Credential{ID: "cred", Identifier: "secret"}
	const byAddress = "\x00ip:192.0.2.7"
	tests := map[string]struct {
		config  string
		prepare func(ex *plugin.Exchange)
		want    string
	}{
		"consumer":                    {`{}`, func(ex *plugin.Exchange) { ex.Consumer, ex.Credential = bob, credential }, "bob"},
		"consumer, only a credential": {`{}`, func(ex *plugin.Exchange) { ex.Credential = credential }, "cred"},
		"consumer, nobody":            {`{}`, nil, byAddress},
		"credential":                  {`{"limit_by":"credential"}`, func(ex *plugin.Exchange) { ex.Consumer, ex.Credential = bob, credential }, "cred"},
		"credential, anonymous":       {`{"limit_by":"credential"}`, func(ex *plugin.Exchange) { ex.Consumer = bob }, byAddress},
		"ip":                          {`{"limit_by":"ip"}`, func(ex *plugin.Exchange) { ex.Consumer = bob }, byAddress},
		"ip, version 4 in 6":          {`{"limit_by":"ip"}`, func(ex *plugin.Exchange) { ex.Client = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1") }, byAddress},
		"ip, version 6":               {`{"limit_by":"ip"}`, func(ex *plugin.Exchange) { ex.Client = netip.MustParseAddrPort("[2001:db8::1]:1") }, "\x00ip:2001:db8::1"},
		"ip, the client's":            {`{"limit_by":"ip"}`, func(ex *plugin.Exchange) { ex.Peer = netip.MustParseAddrPort("198.51.100.1:1") }, byAddress},
		"service":                     {`{"limit_by":"service"}`, func(ex *plugin.Exchange) { ex.Service, ex.Consumer = service, bob }, "svc"},
		"service, none":               {`{"limit_by":"service"}`, nil, byAddress},
		"header":                      {`{"limit_by":"header","header_name":"x-tenant"}`, func(ex *plugin.Exchange) { ex.Request.Header.Add("X-Tenant", "t1") }, "t1"},
		"header, the first": {`{"limit_by":"header","header_name":"X-Tenant"}`, func(ex *plugin.Exchange) {
			ex.Request.Header.Add("X-Tenant", "t1")
			ex.Request.Header.Add("X-Tenant", "t2")
		}, "t1"},
		"header, like an address":       {`{"limit_by":"header","header_name":"X-Tenant"}`, func(ex *plugin.Exchange) { ex.Request.Header.Add("X-Tenant", "ip:192.0.2.7") }, "ip:192.0.2.7"},
		"header, empty":                 {`{"limit_by":"header","header_name":"X-Tenant"}`, func(ex *plugin.Exchange) { ex.Request.Header.Add("X-Tenant", "") }, ""},
		"header, none":                  {`{"limit_by":"header","header_name":"X-Tenant"}`, nil, byAddress},
		"path":                          {`{"limit_by":"path","path":"/a"}`, nil, "/a"},
		"path, another":                 {`{"limit_by":"path","path":"/b"}`, nil, byAddress},
		"path, another that normalises": {`{"limit_by":"path","path":"/a"}`, func(ex *plugin.Exchange) { ex.Request.RawPath = "/b/../a" }, byAddress},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := spied()
			ex := plugintest.Exchange("GET", "/a?x=1")
			if test.prepare != nil {
				test.prepare(ex)
			}
			config := strings.Replace(test.config, "{", `{"minute":5,`, 1)
			config = strings.Replace(config, ",}", "}", 1)
			instance(t, s, config).Access(ex)
			if _, key := s.Asked(); key != test.want {
				t.Errorf("counted under %q, want %q", key, test.want)
			}
		})
	}
}

func TestInstancesAreApart(t *testing.T) {
	quota := &plugintest.Quota{}
	env := plugintest.Env(quota)
	config := map[string]any{"minute": 1.0, "limit_by": "ip", "error_code": 429.0}
	for _, id := range []string{"1", "2"} {
		p, err := New(env, &plugin.Instance{ID: id, Version: 1, Config: config})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []plugin.Verdict{plugin.Continue, plugin.Stop} {
			if got := serve(p.(*Plugin), plugintest.Exchange("GET", "/")); got != want {
				t.Errorf("instance %s: verdict %v, want %v", id, got, want)
			}
		}
		if n := quota.Taken(id, "\x00ip:192.0.2.7", limiter.Minute); n != 1 {
			t.Errorf("instance %s took %d", id, n)
		}
	}
}
