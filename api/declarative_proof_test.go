package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/internal/certs/certstest"
	"github.com/sluicegate/sluice/internal/yamldoc"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// everyEntity is a file with an entity of every kind.
func everyEntity(t testing.TB) string {
	t.Helper()
	server, client, authority := certstest.SelfSigned("a"), certstest.SelfSigned("b"), certstest.SelfSigned("root", certstest.CA)
	text, err := yamldoc.YAML(yamldoc.Object{
		{Name: "_format_version", Value: "3.0"},
		{Name: "certificates", Value: []any{
			map[string]any{"cert": server.Cert, "key": server.Key, "snis": []any{map[string]any{"name": "a.test", "tags": []any{"t"}}, "*.b.test"}},
			map[string]any{"id": someID, "cert": client.Cert, "key": client.Key},
		}},
		{Name: "ca_certificates", Value: []any{map[string]any{"id": otherID, "cert": authority.Cert}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + `
services:
- name: demo
  url: https://demo.test/x
  client_certificate: ` + someID + `
  ca_certificates: [` + otherID + `]
  tls_verify: true
  tags: ["yes", "2026-01-31", "null", "1"]
  routes:
  - {name: all, paths: [/demo, "~/d[0-9]+$"], headers: {x-a: ["1", "on"]}}
  - {paths: [/nameless], hosts: ["*.test"], created_at: 1700000000}
  plugins:
  - {name: echo, instance_name: first, config: {size: 2.5, labels: {a: "b: c"}, words: ["|", "# x", " a"], deep: {b: null}}}
- {host: nameless.test}
- {host: nameless.test}
consumers:
- username: ann
  custom_id: "7"
  keyauth_credentials:
  - {key: ann-key}
  - {key: short, ttl: 3600}
  - {tags: [drawn]}
  basicauth_credentials: [{username: ann, password: secret}]
  hmacauth_credentials: [{username: ann}]
  jwt_secrets: [{key: iss}]
  acls: [{group: admins}, {group: ops}]
  oauth2_credentials:
  - name: app
    client_id: app
    client_secret: s3cret
    hash_secret: true
    redirect_uris: [http://app.test/]
    oauth2_tokens: [{access_token: token, expires_in: 7200, ttl: 600, service: demo}]
- custom_id: only
upstreams:
- name: u.test
  hash_on: header
  hash_on_header: x-user
  client_certificate: {id: ` + someID + `}
  targets: [{target: "10.0.0.1:80"}, {target: 10.0.0.2, weight: 0, tags: [t]}]
key_sets:
- name: set
  keys: [{name: k, kid: k1, jwk: '{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'}]
keys:
- {kid: k2, jwk: '{"kty":"OKP","crv":"Ed25519","kid":"k2","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'}
vaults:
- {name: env, prefix: my-env, config: {prefix: SHOP_}}
plugins:
- {name: gate}
- {name: echo, service: demo, route: all, consumer: ann, enabled: false, protocols: [http]}
`
}

// TestExportRoundTrip: a file with every kind of entity is exported so that reading it in changes nothing, here and
// later; and reads in on an empty cluster as the same.
func TestExportRoundTrip(t *testing.T) {
	h := newHarness(t, testPlugins())
	file := everyEntity(t)
	h.load(201, "", file)
	for _, c := range h.api.declared() {
		if r := h.get("/" + c.Path); r.status == 200 && len(r.ids(t)) == 0 {
			t.Errorf("there are no %s", c.Kind)
		}
	}
	h.load(304, "check_hash=1", file)
	for _, format := range []string{"yaml", "json"} {
		text := h.dump("with_secrets=1&format=" + format)
		h.advance(time.Minute)
		if again := h.dump("with_secrets=1&format=" + format); again != text {
			t.Errorf("%s: another export: %s", format, cmp.Diff(text, again))
		}
		for _, mode := range []string{"", "merge=1"} {
			if got := h.planOf(mode, text); len(got) > 0 {
				t.Errorf("%s %s: %q of\n%s", format, mode, got, text)
			}
		}
		h.load(304, "check_hash=1", text)
		nested := h.dump("nested=1&with_secrets=1&format=" + format)
		for _, mode := range []string{"", "merge=1"} {
			if got := h.planOf(mode, nested); len(got) > 0 {
				t.Errorf("nested %s %s: %q of\n%s", format, mode, got, nested)
			}
		}
		for _, from := range []string{text, nested} {
			empty := newHarness(t, testPlugins())
			empty.load(201, "", from)
			if again := empty.dump("with_secrets=1&format=" + format); again != text {
				t.Errorf("%s: on another cluster: %s", format, cmp.Diff(text, again))
			}
			if again := empty.dump("nested=1&with_secrets=1&format=" + format); again != nested {
				t.Errorf("nested %s: on another cluster: %s", format, cmp.Diff(nested, again))
			}
		}
	}
	h.load(304, "check_hash=1", file)
	h.load(201, "", `{"_format_version":"3.0"}`)
	if text := h.dump(""); text != "_format_version: \"3.0\"\n_transform: false\n" {
		t.Errorf("after an empty file: %s", text)
	}
}

// TestExportForDeck: a nested export says _transform, which decK refuses, only if there are hashes.
func TestExportForDeck(t *testing.T) {
	h := newHarness(t, testPlugins())
	const file = `{"_format_version":"3.0","services":[{"name":"s","host":"h","routes":[{"name":"r","paths":["/"]}]}],"consumers":[{"username":"ann",
		"oauth2_credentials":[{"name":"app","client_id":"app","client_secret":"x"}]%s}]}`
	for more, says := range map[string]bool{
		"": false,
		`,"basicauth_credentials":[{"username":"ann","password":"x"}]`:                                    true,
		`,"oauth2_credentials":[{"name":"app","client_id":"app","client_secret":"x","hash_secret":true}]`: true,
	} {
		h.load(201, "", fmt.Sprintf(file, more))
		text := h.dump("nested=1&with_secrets=1")
		if strings.Contains(text, "_transform") != says {
			t.Errorf("%s: %s", more, text)
		}
		if got := h.planOf("", text); len(got) > 0 {
			t.Errorf("%s: %q", more, got)
		}
	}
}

// TestExportSecrets: without with_secrets no secret is in an export, and that is refused as a file.
func TestExportSecrets(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.load(201, "", everyEntity(t))
	masked, plain := h.dump(""), h.dump("with_secrets=1")
	for _, secret := range []string{"PRIVATE KEY", "ann-key", "short", "iss", "token: token", "pbkdf2", "SHOP_", "11qYAY", "password: e"} {
		if strings.Contains(masked, secret) {
			t.Errorf("%s in\n%s", secret, masked)
		}
	}
	if !strings.Contains(plain, "PRIVATE KEY") || !strings.Contains(plain, "key: ann-key") {
		t.Errorf("%s", plain)
	}
	r := h.load(400, "", masked)
	if !strings.Contains(r.message(t), msgMasked) || !strings.Contains(r.message(t), "keyauth_credentials={{key=") {
		t.Errorf("%.1000s", r.body)
	}
}

// TestImportFailsWhole: a file that is wrong in its 5,000th entity leaves nothing behind.
func TestImportFailsWhole(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.load(201, "", smallFile)
	before, index := h.dump("with_secrets=1"), h.get("/services").header.Get(headerIndex)
	var b strings.Builder
	b.WriteString("_format_version: \"3.0\"\nservices:\n- {name: big, host: big.test}\nroutes:\n")
	for i := 1; i < 6000; i++ {
		path := fmt.Sprintf("/p%d", i)
		if i == 4999 {
			path = "no-slash"
		}
		fmt.Fprintf(&b, "- {name: r%d, paths: [%s], service: big}\n", i, path)
	}
	r := h.load(400, "", b.String())
	routes := r.fields(t)["fields"].(map[string]any)["routes"].([]any)
	if want := "map[paths:[should start with: / (fixed path) or ~/ (regex path)]]"; len(routes) != 4999 || fmt.Sprint(routes[4998]) != want {
		t.Errorf("%d, %v", len(routes), routes[len(routes)-1])
	}
	if after := h.dump("with_secrets=1"); after != before {
		t.Errorf("%s", cmp.Diff(before, after))
	}
	if now := h.get("/services").header.Get(headerIndex); now != index || len(h.api.view().History()) != 1 {
		t.Errorf("index %s, was %s", now, index)
	}
	// what only shows when all of it is there leaves nothing behind either
	h.must(201, "POST", "/services", "name=kept&host=h.test&tags=x")
	h.must(201, "POST", "/routes", "name=kept-too&paths=/k&service.name=kept")
	before, index = h.dump("with_secrets=1"), h.get("/services").header.Get(headerIndex)
	r = h.load(400, "", `{"_format_version":"3.0","_info":{"select_tags":["x"]},"services":[{"name":"new","host":"h"}]}`)
	if !strings.Contains(r.message(t), "an existing 'routes' entity references this 'services' entity") {
		t.Errorf("%s", r.body)
	}
	if after := h.dump("with_secrets=1"); after != before || h.get("/services").header.Get(headerIndex) != index {
		t.Errorf("%s", cmp.Diff(before, after))
	}
}

// TestImportRollback: the configuration before an import comes back to the byte.
func TestImportRollback(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.load(201, "", smallFile)
	before, index := h.dump("with_secrets=1"), h.get("/services").header.Get(headerIndex)
	h.advance(time.Minute)
	h.load(201, "", everyEntity(t))
	if h.dump("with_secrets=1") == before {
		t.Fatal("the import changed nothing")
	}
	h.advance(time.Minute)
	if r := h.do("POST", "/history/"+index+"/rollback", "", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if after := h.dump("with_secrets=1"); after != before {
		t.Errorf("%s", cmp.Diff(before, after))
	}
}

// TestImportExpired: a credential whose time is over is not there, for a file, and may be made again.
func TestImportExpired(t *testing.T) {
	h := newHarness(t, nil)
	file := "_format_version: '3.0'\nconsumers: [{username: ann, keyauth_credentials: [{key: short, ttl: 60}]}]"
	h.load(201, "", file)
	h.advance(30 * time.Second)
	h.load(304, "check_hash=1", file) // ttl counts from when it was made
	if ttl := h.get("/key-auths/short").fields(t)["ttl"]; ttl != 30.0 {
		t.Errorf("ttl %v", ttl)
	}
	old := h.dump("with_secrets=1")
	h.advance(time.Minute)
	if text := h.dump("with_secrets=1"); strings.Contains(text, "short") {
		t.Errorf("%s", text)
	}
	h.load(304, "check_hash=1", old)
	h.load(201, "", file)
	if ttl := h.get("/key-auths/short").fields(t)["ttl"]; ttl != 60.0 {
		t.Errorf("ttl %v", ttl)
	}
	h.advance(time.Hour)
	h.load(201, "", "_format_version: '3.0'")
	if text := h.dump(""); strings.Contains(text, "ann") {
		t.Errorf("%s", text)
	}
}

// TestImportLeavesAccess: what decides about access is in no export, and goes with no import.
func TestImportLeavesAccess(t *testing.T) {
	h := newHarness(t, nil)
	for _, def := range h.cluster.machine.Definitions() {
		def.Access = def.Kind == "vaults"
	}
	h.must(201, "POST", "/vaults", "name=env&prefix=my-env")
	if text := h.dump(""); strings.Contains(text, "vaults") {
		t.Errorf("%s", text)
	}
	h.load(201, "", "_format_version: '3.0'\nservices: [{host: h}]")
	if r := h.get("/vaults/my-env"); r.status != 200 {
		t.Errorf("%d", r.status)
	}
	if r := h.load(400, "", "_format_version: '3.0'\nvaults: []"); !strings.Contains(r.message(t), `vaults="unknown field"`) {
		t.Errorf("%s", r.body)
	}
}

// TestImportRefuses: what is wrong with a file is said with its place, in Kong's words where Kong has some.
func TestImportRefuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	var bomb strings.Builder
	bomb.WriteString("_format_version: '3.0'\n_ignore:\n- &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		fmt.Fprintf(&bomb, "- &a%d [%s]\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	const head = "_format_version: '3.0'\n"
	for name, c := range map[string]struct{ file, says string }{
		"no yaml":          {"a: [", `{error="failed parsing declarative configuration: line 1`},
		"a word":           {"hello", `{error="failed parsing declarative configuration: expected an object"}`},
		"no version":       {"services: []", `{_format_version="required field missing"}`},
		"a wrong version":  {"_format_version: '4.0'", `{_format_version="expected one of: 1.1, 2.1, 3.0"}`},
		"a number":         {"_format_version: 3.0", `{_format_version="expected a string"}`},
		"transform":        {head + "_transform: 1", `{_transform="expected a boolean"}`},
		"comment":          {head + "_comment: [x]", `{_comment="expected a string"}`},
		"konnect":          {head + "_konnect: {}", `{_konnect="` + msgKonnect + `"}`},
		"a workspace":      {head + "_workspace: other", `{_workspace="` + msgWorkspace + `"}`},
		"decK's defaults":  {head + "_info: {defaults: {service: {retries: 1}}}", `{_info="` + msgDefaults + `"}`},
		"no tags":          {head + "_info: {select_tags: [1]}", `{_info="select_tags: expected an array of strings"}`},
		"an unknown kind":  {head + "consumer_groups: []", `{consumer_groups="unknown field"}`},
		"no list":          {head + "services: {a: 1}", `{services="expected an array"}`},
		"no entity":        {head + "services: [{host: h}, x]", `{services={[2]="expected a record"}}`},
		"no nested list":   {head + "services: [{host: h, routes: x}]", `{services={{routes="expected an array"}}}`},
		"no nested entity": {head + "services: [{host: h, routes: [x]}]", `{services={{routes={"expected a record"}}}}`},
		"an unknown field": {head + "services: [{host: h, foo: 1}]", `{services={{foo="unknown field"}}}`},
		"a missing field":  {head + "services: [{name: s, routes: [{name: r, paths: [/]}]}]", `{services={{host="required field missing"}}}`},
		"Kong's example":   {head + "services: [{port: -12}]", `{services={{host="required field missing",port="value should be between 0 and 65535"}}}`},
		"deep within":      {head + "consumers: [{username: a}, {username: b, acls: [{group: x}, {}]}]", `{consumers={[2]={acls={[2]={group="required field missing"}}}}}`},
		"no reference":     {head + "routes: [{name: r, paths: [/], service: none}]", `{routes={r={"invalid reference 'service: none' (no such entry in 'services')"}}}`},
		"no list item":     {head + "services: [{name: s, url: 'https://h', ca_certificates: [" + someID + "]}]", `{services={s={"invalid reference 'ca_certificates: ` + someID + `' (no such entry in 'ca_certificates')"}}}`},
		"an odd reference": {head + "routes: [{name: r, paths: [/], service: {host: h}}]", `missing primary key`},
		"another parent":   {head + "services: [{name: s, host: h, routes: [{name: r, paths: [/], service: {id: " + someID + "}}]}]", `{routes={r={"invalid reference 'service: {\"id\":\"` + someID + `\"}' (no such entry in 'services')"}}}`},
		"two of a name":    {head + "services: [{name: s, host: h}, {name: s, host: h}]", `{services={[2]="uniqueness violation: 'services' entity with name set to 's' already declared"}}`},
		"two of an id":     {head + "services: [{id: " + someID + ", host: h}, {id: " + someID + ", host: h}]", `with primary key set to '` + someID + `' already declared`},
		"two of a field": {head + "consumers: [{username: foo, custom_id: c}, {username: bar, custom_id: c}]",
			`{consumers={bar="uniqueness violation: 'consumers' entity with custom_id set to 'c' already declared"}}`},
		"two credentials":   {head + "consumers: [{username: a, keyauth_credentials: [{key: secret-key}, {key: secret-key}]}]", `with key set to '***' already declared`},
		"two plugins":       {head + "plugins: [{name: gate}, {name: gate}]", `'plugins' entity with consumer, name, route, service set to 'null, gate, null, null' already declared`},
		"no plugin":         {head + "plugins: [{name: none}]", "plugin 'none' not enabled"},
		"one that rests":    {head + "plugins: [{name: quiet, config: {}}]", fmt.Sprintf(msgDoesNotRun, "quiet")},
		"other protocols":   {head + "services: [{name: s, host: h, routes: [{name: r, paths: [/], protocols: [http], plugins: [{name: echo, protocols: [https]}]}]}]", msgRouteProtocols},
		"a masked key":      {head + "consumers: [{username: a, keyauth_credentials: [{key: '***'}]}]", `keyauth_credentials={{key="` + msgMasked},
		"a masked config":   {head + "vaults: [{name: env, prefix: p, config: '***'}]", `vaults={{config="` + msgMasked},
		"a masked plugin":   {head + "plugins: [{name: locked, config: {auth: {user: u, secret: '***'}}}]", `plugins={{config={auth={secret="` + msgMasked},
		"no shared config":  {head + "plugins: [{name: echo, _config: x}]", `{plugins={{_config="there is no 'x' in _plugin_configs"}}}`},
		"a bomb":            {bomb.String(), "its aliases repeat more than"},
		"too deep":          {head + "_ignore: " + deep, "nested more than 100 levels deep"},
		"too many values":   {head + "_ignore: [" + strings.Repeat(",", yamldoc.MaxMarks) + "]", "there are too many values in it"},
		"a name that twice": {head + "services: [{host: h, host: h}]", `line 2: \"host\" is there twice`},
	} {
		h := newHarness(t, append(testPlugins(), restingPlugin(), lockedPlugin()))
		r := h.do("POST", "/config", yamlType, c.file)
		if r.status != 400 || !strings.Contains(r.message(t), c.says) || r.fields(t)["code"] != 14.0 {
			t.Errorf("%s: %d %.600s\nwant %s", name, r.status, r.body, c.says)
		}
		if len(h.api.view().History()) != 0 {
			t.Errorf("%s: something was done", name)
		}
	}
}

func restingPlugin() *plugin.Definition {
	return &plugin.Definition{Name: "quiet", Version: "1.0.0", Priority: 5, Schema: &schema.Schema{Name: "quiet",
		Fields: []schema.Field{{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{{Name: "x", Type: schema.String}}}}}}
}

func lockedPlugin() *plugin.Definition {
	return &plugin.Definition{Name: "locked", Version: "1.0.0", Priority: 4, New: noInstance, Schema: &schema.Schema{Name: "locked",
		Fields: []schema.Field{{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
			{Name: "auth", Type: schema.Record, Required: true, Fields: []schema.Field{
				{Name: "user", Type: schema.String}, {Name: "secret", Type: schema.String, Encrypted: true},
			}}}}}}}
}

// TestImportTooLarge: the endpoint's own bound, which single entities do not have.
func TestImportTooLarge(t *testing.T) {
	h := newHarness(t, nil, func(cfg *Config) { cfg.MaxBody, cfg.MaxConfigBody = 1000, 10_000 })
	for _, headers := range [][]string{nil, {"Expect", "100-continue"}} {
		if r := h.do("POST", "/config", yamlType, strings.Repeat(" ", 10_001), headers...); r.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %.100s", r.status, r.body)
		}
	}
	h.load(201, "", "_format_version: '3.0'\n_comment: "+strings.Repeat("x", 5000))
}

// TestFlattenedErrors: by entity, as controllers read them, with what cannot be flattened left in place.
func TestFlattenedErrors(t *testing.T) {
	h := newHarness(t, testPlugins())
	r := h.load(400, "flatten_errors=1", `
_format_version: "3.0"
extra: 1
services:
- id: `+someID+`
  name: s
  tags: [t]
  routes: [{name: r, paths: [/], protocols: [nope], tags: [u]}]
  plugins: [{name: echo, config: {deep: {b: x}}}]
routes:
- {name: flat, paths: [/], service: none}
consumers:
- {username: a, jwt_secrets: [{key: k, algorithm: RS256, secret: hidden}]}
`)
	want := `{"code":14,"name":"invalid declarative configuration","message":"declarative config is invalid: {extra=\"unknown field\"}",
	"fields":{"extra":"unknown field"},"flattened_errors":[
	{"entity_id":"` + someID + `","entity_name":"s","entity_tags":["t"],"entity_type":"service","entity":{"id":"` + someID + `","name":"s","tags":["t"]},
	 "errors":[{"type":"field","field":"host","message":"required field missing"}]},
	{"entity_name":"r","entity_tags":["u"],"entity_type":"route","entity":{"name":"r","paths":["/"],"protocols":["nope"],"tags":["u"],"service":{"id":"` + someID + `"}},
	 "errors":[{"type":"field","field":"protocols","message":"unknown type: nope"}]},
	{"entity_name":"flat","entity_type":"route","entity":{"name":"flat","paths":["/"],"service":"none"},
	 "errors":[{"type":"entity","message":"invalid reference 'service: none' (no such entry in 'services')"}]},
	{"entity_name":"echo","entity_type":"plugin","entity":{"name":"echo","config":{"deep":{"b":"x"}},"service":{"id":"` + someID + `"}},
	 "errors":[{"type":"field","field":"config.deep.b","message":"expected an integer"}]},
	{"entity_type":"jwt_secret","entity":{"algorithm":"RS256","key":"***","secret":"***"},"errors":[{"type":"entity","message":"failed conditional validation given value of field 'algorithm'"},{"type":"field","field":"rsa_public_key","message":"required field missing"}]}]}`
	var shown, wanted map[string]any
	if json.Unmarshal(r.body, &shown) != nil || json.Unmarshal([]byte(want), &wanted) != nil {
		t.Fatal(string(r.body))
	}
	if diff := cmp.Diff(wanted, shown); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, r.body)
	}
}

// TestPlannedFields: a plan says what of an entity changes, and of secrets only that they do.
func TestPlannedFields(t *testing.T) {
	h := newHarness(t, append(testPlugins(), lockedPlugin()))
	file := `{"_format_version":"3.0","plugins":[{"name":"locked","tags":["t"],"config":{"auth":{"user":"u","secret":"%s"}}}],
	"services":[{"name":"s","host":"h","retries":%d}]}`
	h.load(201, "", fmt.Sprintf(file, "one", 1))
	h.advance(time.Second)
	r := h.load(200, "dry_run=1", fmt.Sprintf(file, "two", 2))
	var shown shownChanges
	if err := json.Unmarshal(r.body, &shown); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(shown.DryRun, shown.Count)
	for _, c := range shown.Changes {
		got += fmt.Sprint(" ", c.Kind, c.Fields)
	}
	if want := "true 2 services[{retries 1 2}] plugins[{config.auth.secret *** ***}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if strings.Contains(string(r.body), "two") {
		t.Errorf("%s", r.body)
	}
	r = h.load(201, "answer=changes", fmt.Sprintf(file, "two", 2))
	if got := r.fields(t)["count"]; got != 2.0 {
		t.Errorf("%s", r.body)
	}
}

// FuzzImport: nothing panics; and what is taken is exported so that it is taken again, and changes nothing.
func FuzzImport(f *testing.F) {
	f.Add(smallFile)
	f.Add(strings.Replace(everyEntity(f), "hash_secret: true", "hash_secret: false", 1)) // hashing is slow
	f.Add(`{"_format_version":"2.1","services":[{"host":"h","routes":[{"paths":["/a(b)"],"name":"r"}]}],"consumers":[{"custom_id":"x"}]}`)
	f.Add("_format_version: '1.1'\n_plugin_configs: {x: {size: 1}}\nplugins: [{name: echo, _config: x}]\n_info: {select_tags: [a]}")
	f.Fuzz(func(t *testing.T, file string) {
		if len(file) > 1<<15 {
			return
		}
		h := newHarness(t, testPlugins())
		r := h.do("POST", "/config", yamlType, file)
		switch r.status {
		case 201:
		case 400:
			return
		default:
			t.Fatalf("%d %s", r.status, r.body)
		}
		text := h.dump("with_secrets=1")
		if got := h.planOf("", text); len(got) > 0 {
			t.Fatalf("%q of\n%s", got, text)
		}
	})
}
