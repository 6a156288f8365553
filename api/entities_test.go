package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema/entities"
)

func TestCredentials(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/consumers", "username=bob&id=" + someID, 201, ""},
		{"POST", "/consumers", "username=eve&id=" + otherID, 201, ""},

		{"POST", "/consumers/bob/basic-auth", "username=bu&password=pw", 201, entities.PasswordHash("pw", someID)},
		{"GET", "/basic-auths/bu", "", 200, entities.PasswordHash("pw", someID)},
		{"PATCH", "/basic-auths/bu", "tags=a", 200, entities.PasswordHash("pw", someID)},
		{"PATCH", "/consumers/bob/basic-auth/bu", "password=qw", 200, entities.PasswordHash("qw", someID)},
		{"PUT", "/consumers/bob/basic-auth/bu", "password=rw", 200, entities.PasswordHash("rw", someID)},
		{"POST", "/basic-auths", `{"username":"eu","password":"pw","consumer":{"username":"eve"}}`, 201, entities.PasswordHash("pw", otherID)},
		{"POST", "/basic-auths", `{"username":"u","password":"pw"}`, 400, `"consumer":"required field missing"`},
		{"POST", "/consumers/eve/basic-auth", "username=bu&password=pw", 409, `UNIQUE violation detected on '{username=\"bu\"}'`},
		{"GET", "/consumers/eve/basic-auth/bu", "", 404, "Not found"},
		{"GET", "/basic-auths/bu/consumer", "", 200, `"username":"bob"`},
		{"DELETE", "/basic-auths/bu/consumer", "", 405, ""},
		{"DELETE", "/basic-auths/bu", "", 204, ""},
		{"DELETE", "/basic-auths/bu", "", 204, ""},
		{"DELETE", "/consumers/bob/basic-auth/bu", "", 404, ""},

		{"POST", "/consumers/bob/hmac-auth", "username=hu&secret=s", 201, `"secret":"s"`},
		{"PUT", "/consumers/bob/hmac-auth/hu", "", 200, `"username":"hu"`},
		{"GET", "/hmac-auths/hu/consumer", "", 200, `"username":"bob"`},
		{"POST", "/consumers/bob/hmac-auth", "", 400, `"username":"required field missing"`},

		{"POST", "/consumers/bob/oauth2", "name=app&client_id=c&client_secret=s", 201, `"client_secret":"s"`},
		{"PATCH", "/oauth2/c", "hash_secret=true", 200, `"client_secret":"$pbkdf2-sha512$i=10000,l=32$`},
		{"POST", "/consumers/bob/oauth2", "name=app&redirect_uris[]=x", 400, `cannot parse 'x'`},
		{"POST", "/consumers/bob/oauth2", "client_id=d", 400, `"name":"required field missing"`},
		{"POST", "/consumers/bob/oauth2", "name=n&client_type=x", 400, "expected one of: confidential, public"},
		{"POST", "/oauth2/c/oauth2_tokens", "expires_in=5&access_token=t&ttl=60", 201, `"token_type":"bearer"`},
		{"POST", "/oauth2_tokens", "expires_in=5&credential.client_id=c&access_token=t", 409, `UNIQUE violation detected on '{access_token=\"t\"}'`},
		{"POST", "/oauth2_tokens", "expires_in=5", 400, `"credential":"required field missing"`},
		{"GET", "/oauth2_tokens/t", "", 200, `"ttl":60`},
		{"GET", "/oauth2_tokens/t/credential", "", 200, `"client_id":"c"`},
		{"GET", "/oauth2_tokens/t/service", "", 404, "Not found"},
		{"GET", "/oauth2/c/oauth2_tokens/t", "", 200, `"refresh_token":null`},
		{"DELETE", "/oauth2/c", "", 204, ""},
		{"GET", "/oauth2_tokens", "", 200, `{"data":[],"next":null}`},
		{"DELETE", "/consumers/eve", "", 204, ""},
		{"GET", "/basic-auths", "", 200, `{"data":[],"next":null}`},
	})
}

func TestACLs(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/consumers", "username=bob", 201, ""},
		{"POST", "/consumers", "username=eve", 201, ""},
		{"POST", "/consumers/bob/acls", "group=g&id=" + someID, 201, `"group":"g"`},
		{"POST", "/acls", "group=g&consumer.username=eve", 201, `"group":"g"`},
		{"POST", "/acls", "group=g", 400, `"consumer":"required field missing"`},
		{"POST", "/consumers/bob/acls", "", 400, `"group":"required field missing"`},
		{"GET", "/acls/g", "", 400, `"code":1`}, // a group names nothing without its consumer
		{"GET", "/acls/" + someID, "", 200, `"group":"g"`},
		{"GET", "/consumers/eve/acls/" + someID, "", 404, "Not found"},
		{"GET", "/consumers/eve/acls/h", "", 404, "Not found"},
		{"GET", "/consumers/nope/acls/g", "", 404, "Not found"},
		{"PUT", "/consumers/eve/acls/h", `{"group":"other","tags":["a"]}`, 200, `"group":"h"`},
		{"PUT", "/consumers/bob/acls/g", "tags=b", 200, `"id":"` + someID},
		{"PUT", "/consumers/bob/acls/" + otherID, "group=i", 200, `"id":"` + otherID},
		{"PUT", "/consumers/bob/acls/" + otherID, "group=g", 409, `UNIQUE violation detected on '{consumer={id=`},
		{"PATCH", "/consumers/bob/acls/i", "group=j", 200, `"id":"` + otherID},
		{"PATCH", "/consumers/bob/acls/i", "group=j", 404, `{"message":"Not found"}`},
		{"DELETE", "/consumers/bob/acls/j", "", 204, ""},
		{"DELETE", "/consumers/bob/acls/j", "", 404, "Not found"},
		{"GET", "/acls/" + someID + "/consumer", "", 200, `"username":"bob"`},
		{"DELETE", "/acls/" + someID, "", 204, ""},
		{"DELETE", "/acls/" + someID, "", 204, ""},
		{"PUT", "/consumers/bob/acls/a%2Fb", "", 200, `"group":"a/b"`},
		{"GET", "/consumers/bob/acls/a%2Fb", "", 200, `"group":"a/b"`},
	})
}

func TestKeys(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"PUT", "/key-sets/ks", "", 200, `"name":"ks"`},
		{"POST", "/key-sets", "name=ks", 409, "UNIQUE"},
		{"POST", "/key-sets", "", 201, `"name":null`},
		{"POST", "/key-sets/ks/keys", `{"name":"k","kid":"1","jwk":"{vault://env/jwk}"}`, 201, `"set":{"id":`},
		{"POST", "/key-sets/ks/keys", `{"kid":"1","jwk":"{vault://env/jwk}"}`, 409, `UNIQUE violation detected on '{kid=\"1\",set={id=`},
		{"POST", "/keys", `{"kid":"1","jwk":"{vault://env/jwk}"}`, 201, `"set":null`},
		{"POST", "/keys", `{"kid":"1","jwk":"{vault://env/jwk}"}`, 409, `'{kid=\"1\",set=null}'`},
		{"POST", "/keys", `{"kid":"2","jwk":"{\"kid\":\"2\"}"}`, 400, "could not load JWK, likely not a valid key"},
		{"GET", "/keys/k/set", "", 200, `"name":"ks"`},
		{"GET", "/key-sets/ks/keys/k", "", 200, `"kid":"1"`},
		{"PATCH", "/keys/k", `{"kid":"3"}`, 200, `"kid":"3"`},
		{"PATCH", "/keys/k", `{"pem":{"public_key":"{vault://env/p}"},"jwk":null}`, 200, `"private_key":null`},
		{"PUT", "/keys/k", `{"kid":"4","jwk":"{vault://env/j}"}`, 200, `"set":null`},
		{"GET", "/keys/k/set", "", 404, "Not found"},
		{"PUT", "/keys/k/set", "name=made", 200, `"name":"made"`},
		{"GET", "/key-sets/made/keys", "", 200, `"kid":"4"`},
		{"DELETE", "/key-sets/made", "", 204, ""},
		{"GET", "/keys/k", "", 404, "Not found"},
	})
}

func TestVaults(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/vaults", "name=env&prefix=my-env&config.prefix=X_&description=d", 201, `"config":{"prefix":"X_"}`},
		{"POST", "/vaults", "name=env&prefix=my-env", 409, `UNIQUE violation detected on '{prefix=\"my-env\"}'`},
		{"POST", "/vaults", "name=env&prefix=x&config.prefix=1", 400, ""},
		{"POST", "/vaults", "name=env&prefix=my-other&config.prefix=1", 400, `config.prefix: invalid value: 1`},
		{"POST", "/vaults", "name=hcv&prefix=my-hcv", 400, "vault 'hcv' is not installed"},
		{"GET", "/vaults/my-env", "", 200, `"description":"d"`},
		{"PATCH", "/vaults/my-env", "description=e", 200, `"config":{"prefix":"X_"}`},
		{"PUT", "/vaults/my-files", "name=file", 200, `"config":null`},
		{"PATCH", "/vaults/nope", "description=e", 404, `could not find the entity with '{prefix=\"nope\"}'`},
		{"DELETE", "/vaults/my-env", "", 204, ""},
		{"DELETE", "/vaults/my-env", "", 204, ""},

		{"GET", "/schemas/vaults", "", 200, `"prefix":`},
		{"GET", "/schemas/vaults/env", "", 200, `"config":`},
		{"GET", "/schemas/vaults/nope", "", 404, `No vault named 'nope'`},
		{"POST", "/schemas/vaults/validate", "name=env&prefix=my-env", 200, "schema validation successful"},
		{"POST", "/schemas/vaults/validate", "name=nope&prefix=my-env", 400, "vault 'nope' is not installed"},
		{"GET", "/schemas/filter_chains", "", 200, `"filters":`},
		{"GET", "/schemas/tags", "", 200, `"entity_name":`},
		{"POST", "/schemas/filter_chains/validate", `{"filters":[{"name":"x"}],"route":{"id":"` + someID + `"}}`, 400, "no such filter"},
		{"POST", "/schemas/targets/validate", `{"target":"h","upstream":{"id":"` + someID + `"}}`, 200, "successful"},
		{"POST", "/schemas/nope/validate", "", 404, "No entity named 'nope'"},
	})
}

// Every kind that has tags is in the list of all tags.
func TestTagsOfAllKinds(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/consumers", "username=c&tags=t")
	h.must(201, "POST", "/upstreams", "name=u&tags=t")
	h.must(201, "POST", "/upstreams/u/targets", "target=h&tags=t")
	h.must(201, "POST", "/key-sets", "name=k&tags=t")
	h.must(201, "POST", "/keys", "kid=1&jwk={vault://env/j}&tags=t")
	h.must(201, "POST", "/vaults", "name=env&prefix=my-env&tags=t")
	for path, body := range map[string]string{
		"basic-auth": "username=u&password=p", "hmac-auth": "username=u", "acls": "group=g", "oauth2": "name=n",
	} {
		h.must(201, "POST", "/consumers/c/"+path, body+"&tags=t")
	}
	var kinds []string
	for next := "/tags/t?size=1"; next != "" && len(kinds) < 99; {
		page := h.get(next).fields(t)
		for _, row := range page["data"].([]any) {
			kinds = append(kinds, row.(map[string]any)["entity_name"].(string))
		}
		next, _ = page["next"].(string)
	}
	want := strings.Fields("consumers basicauth_credentials hmacauth_credentials acls oauth2_credentials upstreams targets key_sets keys vaults")
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What there is not is answered as by a Kong in which it is turned off.
func TestAbsent(t *testing.T) {
	h := newHarness(t, nil)
	const noWasm = "this endpoint is only available when wasm is enabled"
	h.run(script{
		{"GET", "/filter-chains", "", 400, noWasm},
		{"POST", "/filter-chains", "", 400, noWasm},
		{"DELETE", "/filter-chains/x", "", 400, noWasm},
		{"PUT", "/services/x/filter-chains/y", "", 400, noWasm},
		{"GET", "/routes/x/filter-chains", "", 400, noWasm},
		{"GET", "/filter-chains/x/route", "", 400, noWasm},
		{"GET", "/clustering/status", "", 400, "run as Control Plane"},
		{"GET", "/clustering/data-planes", "", 400, "run as Control Plane"},
		{"GET", "/status/dns", "", 501, "not implemented with the legacy DNS client"},
		{"GET", "/timers", "", 200, `"worker":{"count":1,"id":0}`},
		{"DELETE", "/cache", "", 204, ""},
		{"GET", "/cache/x", "", 404, "Not found"},
		{"DELETE", "/cache/x", "", 204, ""},
		{"DELETE", "/proxy-cache", "", 204, ""},
		{"GET", "/proxy-cache/x", "", 404, "Not found"},
		{"DELETE", "/proxy-cache/x/caches/y", "", 404, "Not found"},
		{"GET", "/cache", "", 405, "Method not allowed"},
		{"GET", "/debug/node/log-level", "", 404, "Not found"}, // no levels in this API
	})
}

// levels are log levels of a test.
type levels struct {
	name      string
	d         time.Duration
	unreached []string
}

func (l *levels) Level() string { return l.name }

func (l *levels) SetLevel(name string, d time.Duration) (bool, error) {
	if name == "loud" {
		return false, errors.New("unknown log level: loud")
	}
	changed := l.name != name
	l.name, l.d = name, d
	return changed, nil
}

func (l *levels) SetEverywhere(_ context.Context, name string, d time.Duration) ([]string, error) {
	_, err := l.SetLevel(name, d)
	return l.unreached, err
}

func TestLogLevel(t *testing.T) {
	l := &levels{name: "notice"}
	h := newHarness(t, nil, func(cfg *Config) { cfg.LogLevels = l })
	for _, step := range []struct {
		method, path string
		status       int
		message      string
		d            time.Duration
	}{
		{"GET", "/debug/node/log-level", 200, "log level: notice", 0},
		{"PUT", "/debug/node/log-level/debug", 200, "log level changed", time.Minute},
		{"PUT", "/debug/node/log-level/debug", 200, "log level is already debug", time.Minute},
		{"PUT", "/debug/node/log-level/loud", 400, "unknown log level: loud", time.Minute},
		{"PUT", "/debug/node/log-level/info?timeout=-1", 400, "timeout must be greater than or equal to 0", time.Minute},
		{"PUT", "/debug/node/log-level/info?timeout=x", 400, "timeout must be a number of seconds", time.Minute},
		{"PUT", "/debug/node/log-level/info?timeout=nan", 400, "timeout must be a number of seconds", time.Minute},
		{"PUT", "/debug/node/log-level/info?timeout=0.5", 200, "log level changed", time.Second / 2},
		{"PUT", "/debug/node/log-level/warn?timeout=0", 200, "log level changed", 0},
		{"PUT", "/debug/node/log-level/error?timeout=1e300", 200, "log level changed", levelTimeMax * time.Second},
		{"PUT", "/debug/cluster/log-level/debug?timeout=5", 200, "log level changed", 5 * time.Second},
		{"PUT", "/debug/cluster/log-level/loud", 400, "unknown log level: loud", 5 * time.Second},
		{"GET", "/debug/cluster/log-level", 404, "Not found", 5 * time.Second},
	} {
		r := h.do(step.method, step.path, "", "")
		if r.status != step.status || r.message(t) != step.message || l.d != step.d {
			t.Errorf("%s %s: %d %s, for %v", step.method, step.path, r.status, r.body, l.d)
		}
	}
	l.unreached = []string{"node2"}
	r := h.do("PUT", "/debug/cluster/log-level/info", "", "")
	if r.status != 200 || !strings.HasSuffix(r.header.Get(headerWarning), "node2") {
		t.Errorf("a node that does not answer: %d %v", r.status, r.header)
	}
}
