package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/explain"
)

// explaining is an API that keeps the question, and the answer's one limit.
func explaining(t *testing.T, f *fakeBudgets) (h *harness, asked *explain.Question) {
	t.Helper()
	asked = new(explain.Question)
	return withBudgets(t, f, func(c *Config) {
		c.Explain = func(q *explain.Question) *explain.Explanation {
			*asked = *q
			return &explain.Explanation{
				Routes: []explain.Route{}, Plugins: []explain.Plugin{}, Notes: []string{},
				Counted: []explain.Counted{{Plugin: &explain.Plugin{ID: someID, Name: "gate"}, Key: "\x00ip:192.0.2.7",
					Limit: &limiter.Limit{ID: someID, Rates: []limiter.Rate{{Period: limiter.Minute, Max: 5}, {Period: limiter.Hour, Max: 60}}}}},
			}
		}
	}), asked
}

func TestExplainAsks(t *testing.T) {
	h, asked := explaining(t, newFakeBudgets(t))
	h.must(201, "POST", "/consumers", "username=bob")
	for body, want := range map[string]string{
		`{}`: "GET http localhost / sni= port=0 http2=false [] 0.0.0.0 consumer=",
		`{"method":"POST","url":"https://a.org:8443/x/%41?b=1","headers":{"X-A":["1","2"],"B":"3"},"client_ip":"::1","http2":true,"port":8443}`: "POST https a.org:8443 /x/%41?b=1 sni=a.org port=8443 http2=true [{B 3} {X-A 1} {X-A 2}] ::1 consumer=",
		`{"path":"/p","query":"q","host":"h","scheme":"https","sni":"s","consumer":"bob"}`:                                                      "GET https h /p?q sni=s port=0 http2=false [] 0.0.0.0 consumer=bob",
		`{"url":"http://a.org"}`: "GET http a.org / sni= port=0 http2=false [] 0.0.0.0 consumer=",
	} {
		if a := h.json("POST", "/explain", body); a.status != 200 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
			continue
		}
		name := ""
		if asked.Consumer != nil {
			name = asked.Consumer.Username
		}
		got := fmt.Sprintf("%s %s %s %s sni=%s port=%d http2=%v %v %v consumer=%s", asked.Method, asked.Scheme, asked.Host, asked.Target,
			asked.SNI, asked.Port, asked.HTTP2, asked.Headers, asked.Client, name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
	if a := h.form("POST", "/explain", "url=http://a.org/x&headers.X-Key=1&http2=true&port=80"); a.status != 200 || len(asked.Headers) != 1 || !asked.HTTP2 || asked.Port != 80 {
		t.Errorf("a form: %d %s, %+v", a.status, a.body, asked)
	}
}

func TestExplainRefuses(t *testing.T) {
	h, _ := explaining(t, newFakeBudgets(t))
	for body, want := range map[string]string{
		`{"paht":"/x"}`:                   "unknown field 'paht'",
		`{"path":"x"}`:                    "must begin with a slash",
		`{"url":"/x"}`:                    "must be like https://",
		`{"url":"http://a/","path":"/x"}`: "already has",
		`{"scheme":"ftp"}`:                "must be http or https",
		`{"port":0}`:                      "port must be a port",
		`{"port":65536}`:                  "port must be a port",
		`{"http2":"perhaps"}`:             "http2 must be true or false",
		`{"headers":"x"}`:                 "headers must be an object",
		`{"headers":{"a":1}}`:             "headers.a must be a text",
		`{"headers":{"a":"b\r\nc"}}`:      "headers.a must be a text",
		`{"client_ip":"x"}`:               "is no IP address",
		`{"consumer":"nobody"}`:           "no consumer 'nobody'",
		`{"method":1}`:                    "method must be a text",
		`{"host":"a b"}`:                  "no blanks",
		`{"path":"/a\nb"}`:                "no blanks",
	} {
		if a := h.json("POST", "/explain", body); a.status != 400 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s, want %q", body, a.status, a.body, want)
		}
	}
}

// TestExplainQuota: what is left of each rate, also of one that has counted nothing yet.
func TestExplainQuota(t *testing.T) {
	f := newFakeBudgets(t)
	h, _ := explaining(t, f)
	a := h.json("POST", "/explain", `{}`)
	quota, err := encodeJSON(a.fields(t)["quota"])
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, []byte(`[{"plugin":"gate","id":"`+someID+`","key":"192.0.2.7","window":"minute","max":8,"spent":4,"left":3,"reset":17,"budget":"`+budgetID+`"},
{"plugin":"gate","id":"`+someID+`","key":"192.0.2.7","window":"hour","max":60,"spent":0,"left":60,"reset":0,"budget":null}]`), quota)
	if want := []limiter.LimitKey{{Limit: someID, Key: "\x00ip:192.0.2.7"}}; cmp.Diff(want, f.asked.Keys) != "" {
		t.Errorf("asked for %+v", f.asked)
	}
	f.err = limiter.ErrNotReady
	if a := h.json("POST", "/explain", `{}`); a.status != 200 || !strings.Contains(string(a.body), "not known") {
		t.Errorf("without a limiter: %d %s", a.status, a.body)
	}
}
