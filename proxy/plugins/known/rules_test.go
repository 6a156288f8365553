package known

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

const (
	acmeConfig = `"account_email":"a@b.test"`
	oauthOn    = `"enable_client_credentials":true`
	otelOn     = `"traces_endpoint":"http://o.test"`
)

// TestRules: one case for each rule that is not a plain type, default or list of words, with Kong's message; ""
// is a config that keeps them.
func TestRules(t *testing.T) {
	for name, tests := range map[string]map[string]string{
		"acme": {
			`{"account_email":"nobody"}`:                                                          "config.account_email: invalid value: nobody",
			`{` + acmeConfig + `,"domains":["*.a.test","a.*","a.test:80"]}`:                       "",
			`{` + acmeConfig + `,"domains":["*.a.*"]}`:                                            "config.domains: {\n...",
			`{` + acmeConfig + `,"api_uri":"acme-v02.api.letsencrypt.org"}`:                       "config.api_uri: missing host in url",
			`{` + acmeConfig + `,"storage":"redis"}`:                                              "...config.storage_config: {\n  redis = {\n    host = \"required field missing\"\n  }\n}",
			`{` + acmeConfig + `,"storage":"redis","storage_config":{"redis":{"host":"r.test"}}}`: "",
			`{` + acmeConfig + `,"api_uri":"https://acme-v02.api.letsencrypt.org"}`: "terms of service must be accepted, see " +
				"https://letsencrypt.org/repository/; config.tos_accepted: value must be true",
			`{` + acmeConfig + `,"storage_config":{"redis":{"namespace":"kong_acme:cert_key:x"}}}`: "config.storage_config: {\n  redis = {\n    " +
				"extra_options = {\n      namespace = \"namespace can't be prefixed with reserved word: kong_acme:cert_key:\"\n    }\n  }\n}",
		},
		"aws-lambda": {
			`{"aws_key":"k"}`:                     "all or none of these fields must be set: 'config.aws_key', 'config.aws_secret'",
			`{"proxy_url":"https://p.test:3128"}`: "proxy_url scheme must be http",
			`{"proxy_url":"http://p.test:3128"}`:  "",
			`{"aws_region":"eu west"}`:            "config.aws_region: invalid value: eu west",
		},
		"bot-detection": {`{"deny":["("]}`: "config.deny: {\n..."},
		"datadog": {
			`{"host":"{vault://env/dd}"}`:                                                     "",
			`{"host":"h.test:80"}`:                                                            "config.host: must not have a port",
			`{"metrics":[{"name":"latency","stat_type":"gauge"}]}`:                            "config.metrics: {\n...",
			`{"metrics":[{"name":"latency","stat_type":"distribution","tags":["a:b"]}]}`:      "",
			`{"metrics":[{"name":"latency","stat_type":"distribution","tags":["a:b","c:"]}]}`: "config.metrics: {\n...",
		},
		"file-log": {
			`{"path":"/a b/c"}`: "", `{"path":" /a"}`: "config.path: not a valid filename", `{"path":"/a&b"}`: "config.path: not a valid filename",
			`{"path":"/a","custom_fields_by_lua":{"a":""}}`: "config.custom_fields_by_lua: length must be at least 1",
		},
		"hmac-auth":      {`{"clock_skew":0}`: "config.clock_skew: value must be greater than 0"},
		"ip-restriction": {`{"deny":["10.0.0.0/33"]}`: "config.deny: {\n...", `{"allow":["::1","10.0.0.1/8"]}`: ""},
		"ldap-auth": {`{"ldap_host":"l.test","base_dn":"d","attribute":"a","ldaps":true,"start_tls":true}`: "2 schema violations (config.@entity: {\n" +
			"  \"'ldaps' and 'start_tls' cannot be enabled simultaneously\"\n}; config.start_tls: value must be false)"},
		"oauth2": {
			`{` + oauthOn + `,"mandatory_scope":true}`:                    "...config.scopes: required field missing)",
			`{` + oauthOn + `,"mandatory_scope":true,"scopes":["email"]}`: "",
			`{` + oauthOn + `,"provision_key":null}`:                      "config.provision_key: required field missing",
		},
		"opentelemetry": {
			`{` + otelOn + `,"headers":{"a b":"x"}}`:             "config.headers: bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
			`{` + otelOn + `,"resource_attributes":{"a":""}}`:    "config.resource_attributes: length must be at least 1",
			`{` + otelOn + `,"propagation":{"clear":["a:"]}}`:    "config.propagation: {\n...",
			`{` + otelOn + `,"propagation":{"inject":["w3c"]}}`:  "config.propagation: {\n  default_format = \"required field missing\"\n}",
			`{` + otelOn + `,"queue":{"initial_retry_delay":0}}`: "config.queue: {\n  initial_retry_delay = \"value should be between 0 and 1000000\"\n}",
			`{"endpoint":"o.test"}`:                              "config.endpoint: missing host in url",
			`{"logs_endpoint":"{vault://env/logs}"}`:             "",
		},
		"proxy-cache": {`{"strategy":"memory","response_code":[]}`: "config.response_code: length must be at least 1"},
		"redirect":    {`{"location":"/elsewhere"}`: "config.location: missing host in url"},
		"request-termination": {
			`{"message":"m","body":"b"}`:      "config: message cannot be used with content_type or body",
			`{"content_type":"text/html"}`:    "config: content_type requires a body",
			`{"echo":true,"body":"b"}`:        "config: echo cannot be used with content_type and body",
			`{"echo":true,"message":"m"}`:     "",
			`{"status_code":600}`:             "config.status_code: value should be between 100 and 599",
			`{"trigger":"a b"}`:               "config.trigger: bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
			`{"content_type":"t","body":"b"}`: "",
		},
		"response-ratelimiting": {
			`{"limits":{"v":{}}}`:                       "...at least one of these fields must be non-empty: 'second', 'minute', 'hour', 'day', 'month', 'year'\"\n  }\n})",
			`{"limits":{"v":{"minute":10,"hour":9.5}}}`: "config.limits: the limit for hour(9.5) cannot be lower than the limit for minute(10.0)",
			`{"limits":{"v":{"minute":1}},"policy":"redis"}`: "2 schema violations (failed conditional validation given value of field 'config.policy'; " +
				"config.redis: {\n  host = \"required field missing\"\n})",
			`{"limits":{"v":{"minute":1}},"redis_host":"a.test","redis":{"host":"b.test"}}`: "config.redis_host: both deprecated and new field are used but " +
				"their values mismatch: redis_host = a.test vs redis.host = b.test",
		},
		"response-transformer": {
			`{"rename":{"headers":["x-a:x b"]}}`: "config.rename: {\n  headers = {\n    \"'x b' is not a valid header\"\n  }\n}",
			`{"rename":{"headers":["x-a"]}}`:     "config.rename: {\n  headers = {\n    \"invalid value: x-a\"\n  }\n}",
			`{"rename":{"json":["a b:c d"]}}`:    "",
			`{"add":{"json_types":["null"]}}`:    "config.add: {\n...",
		},
		"session":           {`{"cookie_samesite":"off"}`: "", `{"cookie_samesite":"on"}`: "config.cookie_same_site: expected one of: Strict, Lax, None, Default"},
		"standard-webhooks": {`{"secret_v1":"s","tolerance_second":-1}`: "config.tolerance_second: value must be greater than -1"},
		"statsd": {
			`{"metrics":[{"name":"latency","stat_type":"distribution"}]}`: "config.metrics: {\n...",
			`{"allow_status_codes":["200-299"]}`:                          "", `{"allow_status_codes":["200"]}`: "config.allow_status_codes: {\n...",
		},
		"zipkin": {
			`{"static_tags":[{"name":"a","value":"1"},{"name":"a","value":"2"}]}`: "config.static_tags: repeated tags are not allowed: a",
			`{"static_tags":[{"name":"lc","value":"1"}]}`:                         "config.static_tags: {\n...",
		},
	} {
		for config, want := range tests {
			_, got, _ := plugintest.Insert(t, name, `{"config":`+config+`}`)
			if !says(got, want) {
				t.Errorf("%s %s: got %s\nwant %s", name, config, got, want)
			}
		}
	}
}

// says compares a message with an expectation, which may leave out "schema violation (", and what three dots
// stand for at an end.
func says(got, want string) bool {
	if want == "" {
		return got == ""
	}
	head, opened := strings.CutSuffix(want, "...")
	tail, floating := strings.CutPrefix(want, "...")
	switch {
	case opened:
		return strings.HasPrefix(got, "schema violation ("+head)
	case floating:
		return strings.HasSuffix(got, tail) || strings.HasSuffix(got, tail+")")
	}
	return got == want || got == "schema violation ("+want+")" || got == "2 schema violations ("+want+")"
}

// TestShorthands: old names set what they stand for, and are echoed where Kong does.
func TestShorthands(t *testing.T) {
	for _, test := range []struct{ plugin, config, want string }{
		{"acme", `{` + acmeConfig + `,"storage_config":{"redis":{"auth":"p","ssl_server_name":"s.test","namespace":"n:","scan_count":3}}}`,
			`{"storage_config":{"redis":{"password":"p","server_name":"s.test","extra_options":{"namespace":"n:","scan_count":3},
			"auth":"p","ssl_server_name":"s.test","namespace":"n:","scan_count":3}}}`},
		{"opentelemetry", `{"endpoint":"http://o.test"}`, `{"traces_endpoint":"http://o.test","endpoint":"absent"}`},
		{"opentelemetry", `{"endpoint":"http://o.test","traces_endpoint":"http://n.test"}`, `{"traces_endpoint":"http://n.test"}`},
		{"response-ratelimiting", `{"limits":{"v":{"minute":1}},"redis_timeout":7}`,
			`{"redis":{"timeout":7},"redis_timeout":7,"redis_port":6379}`},
		{"session", `{"cookie_lifetime":1,"cookie_idletime":null,"cookie_renew":5,"cookie_discard":2,"cookie_samesite":"off",
			"cookie_httponly":false,"cookie_persistent":true,"rolling_timeout":9}`,
			`{"rolling_timeout":1,"idling_timeout":0,"stale_ttl":2,"cookie_same_site":"Lax","cookie_http_only":false,
			"remember":true,"cookie_renew":"absent","cookie_lifetime":"absent"}`},
		{"session", `{"secret":null}`, `{"secret":null}`},
	} {
		stored, message, _ := plugintest.Insert(t, test.plugin, `{"config":`+test.config+`}`)
		if message != "" {
			t.Errorf("%s %s: %s", test.plugin, test.config, message)
			continue
		}
		text, err := json.Marshal(stored["config"])
		if err != nil {
			t.Fatal(err)
		}
		want := decode(t, test.want)
		if diff := cmp.Diff(want, only(decode(t, string(text)), want)); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.plugin, test.config, diff)
		}
	}
}

// only gives of a value the members that another one has; those that are not there are "absent".
func only(value, like any) any {
	wanted, ok := like.(map[string]any)
	members, have := value.(map[string]any)
	if !ok || !have {
		return value
	}
	picked := make(map[string]any, len(wanted))
	for name := range wanted {
		picked[name] = "absent"
		if member, given := members[name]; given {
			picked[name] = only(member, wanted[name])
		}
	}
	return picked
}
