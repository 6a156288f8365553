package jwt

import (
	"encoding/json"
	"strings"
	"testing"

	jwtlib "github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	tests := map[string]struct{ body, fields string }{
		"a claim that cannot be verified": {`{"config":{"claims_to_verify":["exp","aud"]}}`,
			`{"config":{"claims_to_verify":[null,"expected one of: exp, nbf"]}}`},
		"consumer": {`{"consumer":{"id":"6f4a486c-ec63-4144-afa9-2080b7e67c62"}}`,
			`{"consumer":"value must be null"}`},
		"a maximum that is too large": {`{"config":{"maximum_expiration":31536001,"claims_to_verify":["exp"]}}`,
			`{"config":{"maximum_expiration":"value should be between 0 and 31536000"}}`},
		"a maximum without exp": {`{"config":{"maximum_expiration":1,"claims_to_verify":["nbf"]}}`,
			`{"@entity":["failed conditional validation given value of field 'config.maximum_expiration'"],` +
				`"config":{"claims_to_verify":"expected to contain: exp"}}`},
		"a maximum without any claim": {`{"config":{"maximum_expiration":1}}`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, got := plugintest.Insert(t, "jwt", test.body); got != test.fields {
				t.Errorf("violation %s, want %s", got, test.fields)
			}
		})
	}
	stored, _, _ := plugintest.Insert(t, "jwt", `{}`)
	want := map[string]any{
		"anonymous": nil, "claims_to_verify": nil, "cookie_names": []any{}, "header_names": []any{"authorization"},
		"key_claim_name": "iss", "maximum_expiration": 0.0, "realm": nil, "run_on_preflight": true,
		"secret_is_base64": false, "uri_param_names": []any{"jwt"},
	}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("jwt")
	if !ok || d.Priority != 1450 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	in := &plugin.Instance{Config: map[string]any{"header_names": 1}}
	if _, err := New(plugintest.Env(nil), in); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

const secret = "a secret of bob's"

// directory has a consumer bob with the credential k1 (HS256), guest without
// one, and the credential orphan of nobody's.
func directory() *plugintest.Directory {
	d := plugintest.NewDirectory()
	d.AddConsumer(&fsm.Consumer{ID: "c1", Username: "bob", CustomID: "b-7"})
	d.AddConsumer(&fsm.Consumer{ID: "c9", Username: "guest"})
	for key, owner := range map[string]string{"k1": "c1", "orphan": "gone"} {
		d.AddJWT(&fsm.JWTSecret{ID: "id-" + key, Consumer: fsm.Ref{ID: owner}, Key: key, Secret: secret, Algorithm: "HS256"})
	}
	return d
}

// sign makes a token the way clients do, with a library of its own.
func sign(t testing.TB, method jwtlib.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwtlib.NewWithClaims(method, jwtlib.MapClaims(claims))
	for name, val := range header {
		token.Header[name] = val
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type claims = map[string]any

func hs256(t testing.TB, c claims) string {
	return sign(t, jwtlib.SigningMethodHS256, []byte(secret), nil, c)
}

// ask sends an exchange through a plugin with the given config.
func ask(t testing.TB, config string, d *plugintest.Directory, ex *plugin.Exchange) plugin.Verdict {
	t.Helper()
	ex.Directory = d
	return plugintest.Instance(t, plugintest.Env(nil), name, config).(plugin.Accessor).Access(ex)
}

// withToken is a request with a token where most clients put it.
func withToken(token string) *plugin.Exchange {
	return plugintest.Exchange("GET", "/a", "Authorization", "Bearer "+token)
}

func TestAccepted(t *testing.T) {
	ex := withToken(hs256(t, claims{"iss": "k1"}))
	ex.Request.Header.Set("X-Anonymous-Consumer", "true")
	auth := ex.Request.Header.Get("Authorization")
	if ask(t, `{}`, directory(), ex) != plugin.Continue {
		t.Fatalf("refused: %s", ex.Response.Body)
	}
	want := map[string][]string{
		"Authorization": {auth}, "X-Consumer-Id": {"c1"}, "X-Consumer-Username": {"bob"},
		"X-Consumer-Custom-Id": {"b-7"}, "X-Credential-Identifier": {"k1"},
	}
	if diff := cmp.Diff(want, ex.Request.Header.(*plugintest.Header).Map()); diff != "" {
		t.Errorf("header upstream (-want +got):\n%s", diff)
	}
	if ex.Credential != (plugin.Credential{ID: "id-k1", Identifier: "k1"}) {
		t.Errorf("credential %v", ex.Credential)
	}
}

// TestRefusals goes through everything a client can be told, in the order of
// the checks: each token has all later faults too, where that is possible.
func TestRefusals(t *testing.T) {
	now := plugintest.Now().Unix()
	good := hs256(t, claims{"iss": "k1"})
	unsigned := good[:strings.LastIndex(good, ".")+1]
	none, err := jwtlib.NewWithClaims(jwtlib.SigningMethodNone, jwtlib.MapClaims{"iss": "k1"}).
		SignedString(jwtlib.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	wrongKey := func(c claims) string { return sign(t, jwtlib.SigningMethodHS256, []byte("other"), nil, c) }
	verified := `{"claims_to_verify":["exp","nbf"]}`
	limited := `{"claims_to_verify":["exp"],"maximum_expiration":60}`
	tests := map[string]struct {
		config, token, want string
	}{
		"no dot":                     {`{}`, "abc", "Bad token; invalid JSON"},
		"one dot":                    {`{}`, unsigned[:len(unsigned)-1], "Bad token; invalid JSON"},
		"header no base64":           {`{}`, "*" + good, "Bad token; invalid JSON"},
		"header no JSON":             {`{}`, "e30x.e30.", "Bad token; invalid JSON"},
		"claims no JSON":             {`{}`, "e30.e30x.", "Bad token; invalid JSON"},
		"header empty":               {`{}`, ".e30.", "Bad token; invalid JSON"},
		"no alg":                     {`{}`, "e30.bnVsbA.*", "Bad token; invalid alg"},
		"header no object":           {`{}`, "W10.bnVsbA.*", "Bad token; invalid alg"},
		"alg none":                   {`{}`, none, "Bad token; invalid alg"},
		"alg no string":              {`{}`, b64(`{"alg":1}`) + ".e30.", "Bad token; invalid alg"},
		"alg in another case":        {`{}`, b64(`{"alg":"hs256"}`) + ".e30.", "Bad token; invalid alg"},
		"alg under another name":     {`{}`, b64(`{"Alg":"HS256"}`) + ".e30.", "Bad token; invalid alg"},
		"claims null":                {`{}`, b64(`{"alg":"HS256"}`) + ".bnVsbA.*", "Bad token; invalid claims"},
		"claims a list":              {`{}`, b64(`{"alg":"HS256"}`) + ".W10.*", "Bad token; invalid claims"},
		"signature no base64":        {`{}`, unsigned + "*", "Bad token; invalid signature"},
		"four parts":                 {`{}`, good + ".x", "Bad token; invalid signature"},
		"no iss":                     {`{}`, wrongKey(claims{}), "No mandatory 'iss' in claims"},
		"iss null":                   {`{}`, wrongKey(claims{"iss": nil}), "No mandatory 'iss' in claims"},
		"iss false":                  {`{}`, wrongKey(claims{"iss": false}), "No mandatory 'iss' in claims"},
		"Iss":                        {`{}`, wrongKey(claims{"Iss": "k1"}), "No mandatory 'iss' in claims"},
		"other claim":                {`{"key_claim_name":"kid"}`, good, "No mandatory 'kid' in claims"},
		"iss empty":                  {`{}`, wrongKey(claims{"iss": ""}), "Invalid 'iss' in claims"},
		"iss a number":               {`{}`, wrongKey(claims{"iss": 1}), "Invalid 'iss' in claims"},
		"iss a list":                 {`{}`, wrongKey(claims{"iss": []string{"k1"}}), "Invalid 'iss' in claims"},
		"iss unknown":                {`{}`, wrongKey(claims{"iss": "k2"}), "No credentials found for given 'iss'"},
		"another algorithm":          {`{}`, sign(t, jwtlib.SigningMethodHS512, []byte(secret), nil, claims{"iss": "k1"}), "Invalid algorithm"},
		"no signature":               {`{}`, unsigned, "Invalid signature"},
		"another key":                {verified, wrongKey(claims{"iss": "k1"}), "Invalid signature"},
		"changed claims":             {`{}`, unsigned[:strings.Index(good, ".")+1] + b64(`{"iss":"k1","sub":"x"}`) + good[len(unsigned)-1:], "Invalid signature"},
		"the consumer gone":          {`{}`, hs256(t, claims{"iss": "orphan"}), "Could not find consumer for 'iss=orphan'"},
		"no consumer, other claim":   {`{"key_claim_name":"kid"}`, hs256(t, claims{"kid": "orphan"}), "Could not find consumer for 'kid=orphan'"},
		"not base64 after all":       {`{"secret_is_base64":true}`, good, "Invalid key/secret"},
		"claims before the consumer": {verified, hs256(t, claims{"iss": "orphan"}), `{"exp":"must be a number","nbf":"must be a number"}`},
		"exp and nbf":                {verified, hs256(t, claims{"iss": "k1", "exp": now, "nbf": now + 1}), `{"exp":"token expired","nbf":"token not valid yet"}`},
		"exp a string":               {verified, hs256(t, claims{"iss": "k1", "exp": "9999999999", "nbf": now}), `{"exp":"must be a number"}`},
		"nbf missing":                {verified, hs256(t, claims{"iss": "k1", "exp": now + 1}), `{"nbf":"must be a number"}`},
		"exp too far":                {limited, hs256(t, claims{"iss": "k1", "exp": now + 61}), `{"exp":"exceeds maximum allowed expiration"}`},
		"no exp, limited":            {`{"maximum_expiration":60}`, hs256(t, claims{"iss": "k1"}), `{"exp":"exceeds maximum allowed expiration"}`},
		"exp over, not too far":      {limited, hs256(t, claims{"iss": "k1", "exp": now - 1}), `{"exp":"token expired"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := withToken(test.token)
			verdict := ask(t, test.config, directory(), ex)
			want := test.want
			if want[0] != '{' {
				want = `{"message":"` + want + `"}`
			}
			if got := string(ex.Response.Body); verdict != plugin.Stop || ex.Response.Status != 401 || got != want {
				t.Errorf("verdict %v, answer %d %s, want 401 %s", verdict, ex.Response.Status, got, want)
			}
			challenge := `Bearer error="invalid_token"`
			if strings.HasPrefix(test.want, "Could not find") {
				challenge = ""
			}
			if got := ex.Response.Header.Get("Www-Authenticate"); got != challenge {
				t.Errorf("WWW-Authenticate: %s", got)
			}
			if ex.Consumer != nil {
				t.Error("a refused request has a consumer")
			}
		})
	}
}

func TestRealm(t *testing.T) {
	for _, test := range []struct{ config, token, want string }{
		{`{}`, "", "Bearer"},
		{`{"realm":"a b"}`, "", `Bearer realm="a b"`},
		{`{"realm":"a b"}`, "x", `Bearer realm="a b", error="invalid_token"`},
	} {
		ex := withToken(test.token)
		ask(t, test.config, directory(), ex)
		if got := ex.Response.Header.Get("Www-Authenticate"); got != test.want {
			t.Errorf("%s with token %q: %s, want %s", test.config, test.token, got, test.want)
		}
	}
}

func TestClaimsNotListed(t *testing.T) {
	now := plugintest.Now().Unix()
	tests := map[string]struct {
		config string
		claims claims
	}{
		"expired":              {`{}`, claims{"iss": "k1", "exp": now - 1000, "nbf": now + 1000}},
		"exp only":             {`{"claims_to_verify":["exp"]}`, claims{"iss": "k1", "exp": now + 1, "nbf": now + 1000}},
		"nbf only":             {`{"claims_to_verify":["nbf"]}`, claims{"iss": "k1", "exp": now - 1, "nbf": now}},
		"fraction of a second": {`{"claims_to_verify":["exp"]}`, claims{"iss": "k1", "exp": float64(now) + 0.5}},
		"as far as can be":     {`{"claims_to_verify":["exp"],"maximum_expiration":60}`, claims{"iss": "k1", "exp": now + 60}},
		"key in the claims":    {`{"key_claim_name":"sub"}`, claims{"sub": "k1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ex := withToken(hs256(t, test.claims))
			if ask(t, test.config, directory(), ex) != plugin.Continue {
				t.Errorf("refused: %s", ex.Response.Body)
			}
		})
	}
}

func TestKeyInHeader(t *testing.T) {
	for _, c := range []claims{{}, {"kid": nil}, {"kid": false}} {
		token := sign(t, jwtlib.SigningMethodHS256, []byte(secret), map[string]any{"kid": "k1"}, c)
		ex := withToken(token)
		if ask(t, `{"key_claim_name":"kid"}`, directory(), ex) != plugin.Continue {
			t.Errorf("claims %v: refused: %s", c, ex.Response.Body)
		}
	}
	token := sign(t, jwtlib.SigningMethodHS256, []byte(secret), map[string]any{"kid": "k1"}, claims{"kid": "k2"})
	ex := withToken(token)
	if ask(t, `{"key_claim_name":"kid"}`, directory(), ex) != plugin.Stop {
		t.Error("the header went before the claims")
	}
}

func TestAnonymous(t *testing.T) {
	good := hs256(t, claims{"iss": "k1"})
	for _, token := range []string{"", "x", good + "x"} {
		ex := withToken(token)
		if ask(t, `{"anonymous":"guest"}`, directory(), ex) != plugin.Continue || ex.Consumer == nil || ex.Consumer.ID != "c9" {
			t.Errorf("token %q: consumer %v, answer %s", token, ex.Consumer, ex.Response.Body)
		}
	}
	ex := withToken(good)
	if ask(t, `{"anonymous":"guest"}`, directory(), ex) != plugin.Continue || ex.Consumer.ID != "c1" {
		t.Errorf("with a token: consumer %v", ex.Consumer)
	}
	ex = withToken("x")
	ex.Credential = plugin.Credential{ID: "of another plugin"}
	if ask(t, `{"anonymous":"guest"}`, directory(), ex) != plugin.Continue || ex.Consumer != nil {
		t.Error("an accepted credential was not enough")
	}
	ex = withToken("x")
	if ask(t, `{"anonymous":"nobody"}`, directory(), ex) != plugin.Stop || ex.Response.Status != 500 {
		t.Errorf("without the consumer: %d %s", ex.Response.Status, ex.Response.Body)
	}
	var body map[string]string
	if err := json.Unmarshal(ex.Response.Body, &body); err != nil ||
		body["message"] != "anonymous consumer nobody is configured but doesn't exist" {
		t.Errorf("answer %s", ex.Response.Body)
	}
}

func TestPreflight(t *testing.T) {
	for config, want := range map[string]plugin.Verdict{
		`{}`: plugin.Stop, `{"run_on_preflight":false}`: plugin.Continue,
	} {
		if got := ask(t, config, directory(), plugintest.Exchange("OPTIONS", "/a")); got != want {
			t.Errorf("%s: verdict %v", config, got)
		}
	}
}
