package ratelimitingadvanced

import (
	"reflect"
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

func period(t *testing.T, of func(int64) (limiter.Period, bool), seconds int64) limiter.Period {
	t.Helper()
	p, ok := of(seconds)
	if !ok {
		t.Fatalf("no windows of %d seconds", seconds)
	}
	return p
}

func TestRates(t *testing.T) {
	type rates = []limiter.Rate
	sliding := func(seconds int64) limiter.Period { return period(t, limiter.Sliding, seconds) }
	fixed := func(seconds int64) limiter.Period { return period(t, limiter.Fixed, seconds) }
	bucket := func(seconds int64) limiter.Period { return period(t, limiter.Bucket, seconds) }
	tests := map[string]struct {
		config string
		want   rates
	}{
		"sliding": {`{"limit":[5],"window_size":[60]}`, rates{{Period: sliding(60), Max: 5}}},
		"shortest first": {`{"limit":[1000,2,50],"window_size":[3600,1,60]}`,
			rates{{Period: sliding(1), Max: 2}, {Period: sliding(60), Max: 50}, {Period: sliding(3600), Max: 1000}}},
		"fractions": {`{"limit":[0.1,5.5],"window_size":[60,90]}`, rates{{Period: sliding(60), Max: 1}, {Period: sliding(90), Max: 6}}},
		"fixed": {`{"limit":[5,9],"window_size":[60,90],"window_type":"fixed"}`,
			rates{{Period: limiter.Minute, Max: 5}, {Period: fixed(90), Max: 9}}},
		"buckets": {`{"limit":[5,0.5],"window_size":[10,1],"burst":[3.5,2]}`,
			rates{{Period: bucket(1), Max: 1, Burst: 2}, {Period: bucket(10), Max: 5, Burst: 4}}},
		"a node's bucket": {`{"limit":[5],"window_size":[10],"burst":[3],"strategy":"node"}`, rates{{Period: bucket(10).Local(), Max: 5, Burst: 3}}},
		"a node's":        {`{"limit":[5],"window_size":[60],"strategy":"node"}`, rates{{Period: sliding(60).Local(), Max: 5}}},
		"a node's, fixed": {`{"limit":[5],"window_size":[86400],"strategy":"node","window_type":"fixed"}`,
			rates{{Period: limiter.Day.Local(), Max: 5}}},
		"Kong's strategies are one": {`{"limit":[5],"window_size":[60],"strategy":"redis","sync_rate":1}`, rates{{Period: sliding(60), Max: 5}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var quota plugintest.Quota
			instance(t, &quota, test.config).Access(plugintest.Exchange("GET", "/"))
			limit, _ := quota.Asked()
			if diff := cmp.Diff(test.want, limit.Rates); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// inNamespace makes an instance of an id and a namespace, one request a minute.
func inNamespace(t *testing.T, env *plugin.Env, id, namespace string) *Plugin {
	t.Helper()
	p, err := New(env, &plugin.Instance{ID: id, Version: 7, Since: 3, Config: map[string]any{
		"limit": []any{1.0}, "window_size": []any{60.0}, "window_type": "sliding", "identifier": "ip",
		"namespace": namespace, "fault_tolerant": true, "error_code": 429.0,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Plugin)
}

func TestNamespace(t *testing.T) {
	const first, second = "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
	quota := &plugintest.Quota{}
	env := plugintest.Env(quota)
	for _, c := range []struct {
		id, namespace string
		want          plugin.Verdict
	}{
		{first, ownNamespace(first), plugin.Continue},
		{second, ownNamespace(second), plugin.Continue},
		{first, "shared", plugin.Continue},
		{second, "shared", plugin.Stop},
		{second, "other", plugin.Continue},
	} {
		if got := serve(inNamespace(t, env, c.id, c.namespace), plugintest.Exchange("GET", "/")); got != c.want {
			t.Errorf("%s in %s: verdict %v, want %v", c.id, c.namespace, got, c.want)
		}
	}
	sliding := period(t, limiter.Sliding, 60)
	for namespace, since := range map[string]int64{ownNamespace(first): 3, "shared": 0} {
		inNamespace(t, env, first, namespace).Access(plugintest.Exchange("GET", "/"))
		want := &limiter.Limit{
			ID: "rate-limiting-advanced:" + namespace, Version: 7, Since: since, FaultTolerant: true,
			Rates: []limiter.Rate{{Period: sliding, Max: 1}},
		}
		want.Prepare()
		if got, _ := quota.Asked(); !reflect.DeepEqual(want, got) {
			t.Errorf("limit %+v, want %+v", got, want)
		}
	}
}

func TestKey(t *testing.T) {
	const byAddress = "\x00ip:192.0.2.7"
	everything := func(ex *plugin.Exchange) {
		ex.Consumer, ex.Credential = &fsm.Consumer{ID: "bob"}, plugin.Credential{ID: "cred"}
		ex.Service, ex.Route = &fsm.Service{ID: "svc"}, &fsm.Route{ID: "rte"}
		ex.Request.Header.Add("X-Tenant", "t1")
	}
	nothing := func(*plugin.Exchange) {}
	tests := map[string]struct {
		config  string
		prepare func(*plugin.Exchange)
		want    string
	}{
		"consumer":                  {`"namespace":"n"`, everything, "bob"},
		"consumer, nobody":          {`"namespace":"n"`, nothing, byAddress},
		"credential":                {`"identifier":"credential"`, everything, "cred"},
		"service":                   {`"identifier":"service"`, everything, "svc"},
		"route":                     {`"identifier":"route"`, everything, "rte"},
		"route, none":               {`"identifier":"route"`, nothing, byAddress},
		"ip":                        {`"identifier":"ip"`, everything, byAddress},
		"header":                    {`"identifier":"header","header_name":"x-tenant"`, everything, "t1"},
		"header, none":              {`"identifier":"header","header_name":"x-tenant"`, nothing, byAddress},
		"path":                      {`"identifier":"path","path":"/a"`, everything, "/a"},
		"path, another":             {`"identifier":"path","path":"/b"`, everything, byAddress},
		"two":                       {`"compound_identifier":["service","header"],"header_name":"X-Tenant"`, everything, "svc\nt1"},
		"two, without one":          {`"compound_identifier":["header","consumer"],"header_name":"X-Tenant"`, nothing, byAddress + "\n" + byAddress},
		"compound of one":           {`"compound_identifier":["ip"],"identifier":"consumer"`, everything, byAddress},
		"compound of none":          {`"compound_identifier":[],"identifier":"credential"`, everything, "cred"},
		"three, the path is not it": {`"compound_identifier":["path","route","ip"],"path":"/b"`, everything, byAddress + "\nrte\n" + byAddress},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var quota plugintest.Quota
			ex := plugintest.Exchange("GET", "/a?x=1")
			test.prepare(ex)
			instance(t, &quota, with(test.config)).Access(ex)
			if _, key := quota.Asked(); key != test.want {
				t.Errorf("counted under %q, want %q", key, test.want)
			}
		})
	}
}

func TestFields(t *testing.T) {
	decision := func(admitted bool, remaining, reset [limiter.MaxRates]int64) *limiter.Decision {
		return &limiter.Decision{Admitted: admitted, Remaining: remaining, Reset: reset}
	}
	type numbers = [limiter.MaxRates]int64
	tests := map[string]struct {
		config   string
		decision *limiter.Decision
		status   int
		want     map[string]string
	}{
		"Kong's names": {`{"limit":[1,2,3,4,5,6],"window_size":[1,60,3600,86400,2592000,31536000]}`,
			decision(true, numbers{0, 1, 2, 3, 4, 5}, numbers{1, 2, 3, 4, 5, 6}), 0, map[string]string{
				"limit-second": "1", "remaining-second": "0", "limit-minute": "2", "remaining-minute": "1",
				"limit-hour": "3", "remaining-hour": "2", "limit-day": "4", "remaining-day": "3",
				"limit-month": "5", "remaining-month": "4", "limit-year": "6", "remaining-year": "5",
				"limit": "1", "remaining": "0", "reset": "1",
			}},
		"seconds": {`{"limit":[9,7],"window_size":[90,30]}`, decision(true, numbers{6, 8}, numbers{30, 90}), 0, map[string]string{
			"limit-30": "7", "remaining-30": "6", "limit-90": "9", "remaining-90": "8", "limit": "7", "remaining": "6", "reset": "30",
		}},
		"refused by both": {`{"limit":[5,2],"window_size":[60,1]}`, decision(false, numbers{}, numbers{1, 40}), 429, map[string]string{
			"limit-second": "2", "remaining-second": "0", "limit-minute": "5", "remaining-minute": "0",
			"limit": "5", "remaining": "0", "reset": "40", "retry": "40",
		}},
		"refused by the shorter": {`{"limit":[2,5],"window_size":[1,60]}`, decision(false, numbers{0, 3}, numbers{1, 40}), 429, map[string]string{
			"limit-second": "2", "remaining-second": "0", "limit-minute": "5", "remaining-minute": "3",
			"limit": "2", "remaining": "0", "reset": "1", "retry": "1",
		}},
		"a fraction": {`{"limit":[1.5],"window_size":[30]}`, decision(true, numbers{1}, numbers{30}), 0, map[string]string{
			"limit-30": "1.5", "remaining-30": "0.5", "limit": "1.5", "remaining": "0.5", "reset": "30",
		}},
		"hidden":       {with(`"hide_client_headers":true,"retry_after_jitter_max":9`), decision(false, numbers{}, numbers{30}), 429, map[string]string{}},
		"another code": {with(`"error_code":200,"hide_client_headers":true`), decision(false, numbers{}, numbers{30}), 200, map[string]string{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/")
			verdict := serve(instance(t, &plugintest.Quota{Answer: test.decision}, test.config), ex)
			if verdict == plugin.Continue != test.decision.Admitted || ex.Response.Status != test.status {
				t.Errorf("verdict %v, status %d", verdict, ex.Response.Status)
			}
			if diff := cmp.Diff(test.want, plugintest.RateLimitFields(ex)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	for config, want := range map[string]string{
		with(`"namespace":"n"`):                      `{"message":"API rate limit exceeded"}`,
		with(`"error_message":"Slow <down> & wait"`): `{"message":"Slow <down> & wait"}`,
	} {
		ex := plugintest.Exchange("GET", "/", "Accept", "text/html")
		if serve(instance(t, &plugintest.Quota{Answer: &limiter.Decision{}}, config), ex) != plugin.Stop {
			t.Error("goes on")
		}
		if got := string(ex.Response.Body); got != want {
			t.Errorf("body %s, want %s", got, want)
		}
	}
}

// TestJitter: only Retry-After is put off, by up to retry_after_jitter_max.
func TestJitter(t *testing.T) {
	for max, bound := range map[string]int64{"0": 0, "0.9": 0, "1": 2, "10.5": 11, "1e300": maxJitter + 1} {
		p := instance(t, &plugintest.Quota{Answer: &limiter.Decision{Reset: [limiter.MaxRates]int64{40}}}, with(`"retry_after_jitter_max":`+max))
		asked := int64(0)
		p.random = func(n int64) int64 { asked = n; return min(n-1, 7) }
		ex := plugintest.Exchange("GET", "/")
		serve(p, ex)
		want := map[int64]string{0: "40", 2: "41", 11: "47", maxJitter + 1: "47"}[bound]
		if got := plugintest.RateLimitFields(ex); asked != bound || got["reset"] != "40" || got["retry"] != want {
			t.Errorf("max %s: %d values asked for, reset %s, retry %s, want %d, 40, %s", max, asked, got["reset"], got["retry"], bound, want)
		}
	}
	p := instance(t, &plugintest.Quota{}, with(`"retry_after_jitter_max":3`))
	for seen := map[int64]bool{}; len(seen) < 4; {
		j := p.jitter()
		if j < 0 || j > 3 {
			t.Fatalf("jitter %d of at most 3", j)
		}
		seen[j] = true
	}
	ex := plugintest.Exchange("GET", "/")
	serve(p, ex)
	if got := plugintest.RateLimitFields(ex)["retry"]; got != "" {
		t.Errorf("Retry-After %s on an admission", got)
	}
}

func TestUndecided(t *testing.T) {
	lost := &limiter.Decision{Err: limiter.ErrNoQuorum}
	for config, status := range map[string]int{with(`"fault_tolerant":true`): 0, with(`"fault_tolerant":false`): 500} {
		ex := plugintest.Exchange("GET", "/")
		verdict := serve(instance(t, &plugintest.Quota{Answer: lost}, config), ex)
		if verdict == plugin.Continue != (status == 0) || ex.Response.Status != status {
			t.Errorf("%s: verdict %v, status %d", config, verdict, ex.Response.Status)
		}
		if got := plugintest.RateLimitFields(ex); len(got) > 0 {
			t.Errorf("%s: says %v of a quota it does not know", config, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	env := plugintest.Env(&plugintest.Quota{})
	for name, config := range map[string]map[string]any{
		"wrong type":    {"limit": "5"},
		"other lengths": {"limit": []any{1.0}},
		"no seconds":    {"limit": []any{1.0}, "window_size": []any{0.5}},
	} {
		if _, err := New(env, &plugin.Instance{Config: config}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(plugintest.Env(nil), &plugin.Instance{}); err == nil {
		t.Error("works without a quota")
	}
}

// admit makes a function that sends an admitted request through the phases.
func admit(t testing.TB, config string, consumer *fsm.Consumer) func() {
	quota := &plugintest.Quota{Answer: &limiter.Decision{
		Admitted: true, Remaining: [limiter.MaxRates]int64{9, 4095}, Reset: [limiter.MaxRates]int64{1, 60},
	}}
	p := instance(t, quota, config)
	ex := plugintest.Exchange("GET", "/")
	ex.Consumer = consumer
	return func() {
		if serve(p, ex) != plugin.Continue {
			t.Fatal("refused")
		}
	}
}

func TestAdmissionAllocates(t *testing.T) {
	const config = `{"limit":[10,5000],"window_size":[1,60]}`
	for name, consumer := range map[string]*fsm.Consumer{"by consumer": {ID: "bob"}, "by address": nil} {
		if n := testing.AllocsPerRun(200, admit(t, config, consumer)); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAdmission(b *testing.B) {
	run := admit(b, `{"limit":[5000],"window_size":[60]}`, &fsm.Consumer{ID: "bob"})
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
