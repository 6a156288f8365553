package plugin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// forged is what a client sends that would like to be someone else.
func forged() []string {
	return []string{
		"X-Consumer-ID", "admin", "X-Consumer-Custom-ID", "a", "x-consumer-username", "root",
		"X-Consumer-Username", "root again", "X-Credential-Identifier", "c", "X-Anonymous-Consumer", "true",
		"X-Other", "stays",
	}
}

func TestAuthenticate(t *testing.T) {
	tests := map[string]struct {
		consumer   fsm.Consumer
		credential plugin.Credential
		want       map[string][]string
	}{
		"all": {
			fsm.Consumer{ID: "1", Username: "bob", CustomID: "b-7"}, plugin.Credential{ID: "k", Identifier: "kk"},
			map[string][]string{
				"X-Consumer-Id": {"1"}, "X-Consumer-Username": {"bob"}, "X-Consumer-Custom-Id": {"b-7"},
				"X-Credential-Identifier": {"kk"}, "X-Other": {"stays"},
			},
		},
		"only a custom id": {
			fsm.Consumer{ID: "1", CustomID: "b-7"}, plugin.Credential{ID: "k", Identifier: "k"},
			map[string][]string{
				"X-Consumer-Id": {"1"}, "X-Consumer-Custom-Id": {"b-7"}, "X-Credential-Identifier": {"k"},
				"X-Other": {"stays"},
			},
		},
		"no identifier": {
			fsm.Consumer{ID: "1", Username: "bob"}, plugin.Credential{ID: "k"},
			map[string][]string{"X-Consumer-Id": {"1"}, "X-Consumer-Username": {"bob"}, "X-Other": {"stays"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/", forged()...)
			ex.Authenticate(&test.consumer, test.credential)
			if diff := cmp.Diff(test.want, ex.Request.Header.(*plugintest.Header).Map()); diff != "" {
				t.Errorf("header upstream (-want +got):\n%s", diff)
			}
			if ex.Consumer != &test.consumer || ex.Credential != test.credential {
				t.Errorf("exchange has %v and %v", ex.Consumer, ex.Credential)
			}
		})
	}
}

func TestAuthenticateAnonymous(t *testing.T) {
	guest := &fsm.Consumer{ID: "9", Username: "guest"}
	for _, idOrName := range []string{"9", "guest"} {
		t.Run(idOrName, func(t *testing.T) {
			ex := plugintest.Exchange("GET", "/", forged()...)
			ex.Directory.(*plugintest.Directory).AddConsumer(guest)
			if ex.AuthenticateAnonymous(idOrName) != plugin.Continue {
				t.Fatalf("stopped with %d %s", ex.Response.Status, ex.Response.Body)
			}
			want := map[string][]string{
				"X-Consumer-Id": {"9"}, "X-Consumer-Username": {"guest"}, "X-Anonymous-Consumer": {"true"},
				"X-Other": {"stays"},
			}
			if diff := cmp.Diff(want, ex.Request.Header.(*plugintest.Header).Map()); diff != "" {
				t.Errorf("header upstream (-want +got):\n%s", diff)
			}
			if ex.Consumer != guest || ex.Credential != (plugin.Credential{}) {
				t.Errorf("exchange has %v and %v", ex.Consumer, ex.Credential)
			}
		})
	}
}

func TestAuthenticateAnonymousMissing(t *testing.T) {
	ex := plugintest.Exchange("GET", "/")
	if ex.AuthenticateAnonymous("guest") != plugin.Stop {
		t.Fatal("went on without a consumer")
	}
	want := "{\n  \"message\":\"anonymous consumer guest is configured but doesn't exist\",\n  \"request_id\":\"" +
		plugintest.RequestID + "\"\n}"
	if got := string(ex.Response.Body); ex.Response.Status != 500 || got != want {
		t.Errorf("answered %d %s", ex.Response.Status, got)
	}
	if ex.Consumer != nil {
		t.Error("a consumer was set")
	}
}

func TestAuthSkips(t *testing.T) {
	accepted := plugin.Credential{ID: "k"}
	tests := map[string]struct {
		auth       plugin.Auth
		method     string
		credential plugin.Credential
		want       bool
	}{
		"first":                         {plugin.Auth{RunOnPreflight: true}, "GET", plugin.Credential{}, false},
		"each must succeed":             {plugin.Auth{RunOnPreflight: true}, "GET", accepted, false},
		"one suffices, none yet":        {plugin.Auth{Anonymous: "g", RunOnPreflight: true}, "GET", plugin.Credential{}, false},
		"one suffices, there is one":    {plugin.Auth{Anonymous: "g", RunOnPreflight: true}, "GET", accepted, true},
		"preflight checked":             {plugin.Auth{RunOnPreflight: true}, "OPTIONS", plugin.Credential{}, false},
		"preflight free":                {plugin.Auth{}, "OPTIONS", plugin.Credential{}, true},
		"preflight free, other methods": {plugin.Auth{}, "GET", plugin.Credential{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := plugintest.Exchange(test.method, "/")
			ex.Credential = test.credential
			if got := test.auth.Skips(ex); got != test.want {
				t.Errorf("Skips = %v", got)
			}
		})
	}
}
