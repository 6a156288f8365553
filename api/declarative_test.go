package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
)

const yamlType = "text/yaml"

// load sends a file and demands a status.
func (h *harness) load(status int, arguments, file string) answer {
	h.t.Helper()
	r := h.do(http.MethodPost, "/config?"+arguments, yamlType, file)
	if r.status != status {
		h.t.Fatalf("POST /config?%s: %d %.2000s, want %d", arguments, r.status, r.body, status)
	}
	return r
}

// dump gives the configuration as a file.
func (h *harness) dump(arguments string) string {
	h.t.Helper()
	r := h.get("/config?" + arguments)
	if r.status != http.StatusOK {
		h.t.Fatalf("GET /config: %d %s", r.status, r.body)
	}
	return fmt.Sprint(r.fields(h.t)["config"])
}

// planOf lists what a file would change: "create services demo".
func (h *harness) planOf(arguments, file string) []string {
	h.t.Helper()
	var shown shownChanges
	if err := json.Unmarshal(h.load(200, "dry_run=1&"+arguments, file).body, &shown); err != nil {
		h.t.Fatal(err)
	}
	list := []string{}
	for _, c := range shown.Changes {
		list = append(list, strings.Join([]string{c.Action, c.Kind, c.Name}, " "))
	}
	return list
}

const smallFile = `
_format_version: "3.0"
_comment: the demo
services:
- name: demo
  url: http://demo.test:8080/x
  _comment: of no use
  _ignore: [anything, {at: all}]
  routes:
  - name: all
    paths: [/demo, "~/d[0-9]+$"]
    plugins:
    - name: echo
      config: {size: 2}
  plugins:
  - name: gate
consumers:
- username: ann
  keyauth_credentials:
  - key: ann-key
  basicauth_credentials:
  - {username: ann, password: secret}
  acls:
  - group: admins
upstreams:
- name: u.test
  targets:
  - target: 10.0.0.1:80
  - target: 10.0.0.2
routes:
- name: flat
  service: demo
  paths: [/flat]
- name: flat-by-object
  service: {name: demo}
  paths: [/flat2]
plugins:
- name: echo
  consumer: ann
  route: flat
`

// TestImport: what is nested and what is flat becomes entities with the ids that Kong makes of names, at one index,
// and the same file changes nothing more.
func TestImport(t *testing.T) {
	h := newHarness(t, testPlugins())
	r := h.load(201, "", smallFile)
	if n := len(h.api.view().History()); n != 1 {
		t.Errorf("%d changes in the history", n)
	}
	if id := declaredID("services", "my-service"); id != "0855b320-0dd2-547d-891d-601e9b38647f" { // Kong's
		t.Errorf("%s", id)
	}
	service := h.get("/services/demo").fields(t)
	if service["id"] != declaredID("services", "demo") || service["port"] != 8080.0 || service["path"] != "/x" {
		t.Errorf("%v", service)
	}
	routes := h.get("/services/demo/routes")
	if len(routes.ids(t)) != 3 {
		t.Errorf("%s", routes.body)
	}
	answered := r.fields(t)
	if _, ok := answered["services"].(map[string]any)[declaredID("services", "demo")]; !ok || strings.Contains(string(r.body), "ann-key") {
		t.Errorf("%s", r.body)
	}
	if targets := h.get("/upstreams/u.test/targets/10.0.0.2:8000"); targets.status != 200 {
		t.Errorf("%d %s", targets.status, targets.body)
	}
	index := r.header.Get(headerIndex)
	h.advance(time.Hour)
	if again := h.load(201, "", smallFile); again.header.Get(headerIndex) != index || len(h.api.view().History()) != 1 {
		t.Errorf("the same file made index %s of %s", again.header.Get(headerIndex), index)
	}
	h.load(304, "check_hash=1", smallFile)
	h.load(201, "check_hash=1", strings.Replace(smallFile, "size: 2", "size: 3", 1))
	if got := h.planOf("", smallFile); cmp.Diff([]string{"update plugins echo"}, got) != "" {
		t.Errorf("%v", got)
	}
}

// TestImportTakesNames: an entity that is there under an id of its own keeps it, whatever kind of name it has.
func TestImportTakesNames(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/services", "name=demo&host=old.test&retries=9")
	h.must(201, "POST", "/services/demo/routes", "name=all&paths=/old")
	h.must(201, "POST", "/routes/all/plugins", "name=echo&config.size=7")
	h.must(201, "POST", "/consumers", "username=ann&custom_id=7")
	h.must(201, "POST", "/consumers/ann/key-auth", "key=ann-key")
	h.must(201, "POST", "/consumers/ann/acls", "group=admins")
	h.must(201, "POST", "/upstreams", "name=u.test")
	h.must(201, "POST", "/upstreams/u.test/targets", "target=10.0.0.2")
	h.must(201, "POST", "/services", "name=goes&host=goes.test")
	before := map[string]any{}
	paths := []string{"/services/demo", "/routes/all", "/consumers/ann", "/key-auths/ann-key", "/consumers/ann/acls/admins", "/upstreams/u.test"}
	for _, path := range paths {
		before[path] = h.get(path).fields(t)["id"]
	}
	got := h.planOf("", smallFile)
	created := 0
	for _, line := range got {
		if strings.HasPrefix(line, "create") {
			created++
		} else if strings.HasPrefix(line, "delete") && line != "delete services goes" {
			t.Error(line)
		}
	}
	// gate, the basic-auth, a target, two routes and a plugin
	if created != 6 {
		t.Errorf("%d created: %q", created, got)
	}
	h.load(201, "", smallFile)
	for _, path := range paths {
		if now := h.get(path).fields(t)["id"]; now != before[path] {
			t.Errorf("%s: %v, was %v", path, now, before[path])
		}
	}
	if r := h.get("/services/goes"); r.status != 404 {
		t.Errorf("%d", r.status)
	}
	if retries := h.get("/services/demo").fields(t)["retries"]; retries != 5.0 {
		t.Errorf("retries %v: what a file does not say is the default", retries)
	}
}

// TestMerge: nothing goes, and names of what is there may be referred to.
func TestMerge(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/services", "name=stays&host=h.test")
	file := `{"_format_version":"3.0","routes":[{"name":"r","paths":["/r"],"service":"stays"}]}`
	if r := h.load(400, "", file); !strings.Contains(r.message(t), "invalid reference 'service: stays' (no such entry in 'services')") {
		t.Errorf("%s", r.body)
	}
	h.load(201, "merge=1", file)
	if r := h.get("/services/stays/routes"); len(r.ids(t)) != 1 {
		t.Errorf("%s", r.body)
	}
	r := h.load(400, "merge=1", `{"_format_version":"3.0","services":[{"id":"`+someID+`","name":"stays","host":"x"}]}`)
	if !strings.Contains(r.message(t), "'services' entity with name set to 'stays' exists already, with the id") {
		t.Errorf("%s", r.body)
	}
	// with its id in the file, the other one goes
	h.load(201, "", `{"_format_version":"3.0","services":[{"id":"`+someID+`","name":"stays","host":"x"}]}`)
	if id := h.get("/services/stays").fields(t)["id"]; id != someID {
		t.Errorf("%v", id)
	}
}

// TestSelectTags: only what has all the tags goes, and what is in the file gets them.
func TestSelectTags(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/services", "name=other&host=h.test&tags=a")
	h.must(201, "POST", "/services", "name=mine&host=h.test&tags=a&tags=b")
	h.load(201, "", `
_format_version: "3.0"
_info: {select_tags: [a, b], defaults: {}}
_workspace: default
routes: [{name: r, paths: [/r], service: {name: other}, tags: [c, a]}]
`)
	if r := h.get("/services/mine"); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if tags := fmt.Sprint(h.get("/routes/r").fields(t)["tags"]); tags != "[c a b]" {
		t.Errorf("%s", tags)
	}
	if r := h.get("/services/other/routes"); len(r.ids(t)) != 1 {
		t.Errorf("%s", r.body)
	}
}

// TestImportVersions: before 3.0 a path that looks like a regular expression is one.
func TestImportVersions(t *testing.T) {
	for version, want := range map[string]string{
		"1.1": `[/lit/A ~/r(\d+)/%2F\-x]`, "2.1": `[/lit/A ~/r(\d+)/%2F\-x]`, "3.0": "",
	} {
		h := newHarness(t, nil)
		file := `{"_format_version":"` + version + `","services":[{"name":"s","host":"h","routes":[{"name":"r","paths":["/lit/%41","/r(\\d+)/%2f%2d%78"]}]}]}`
		r := h.do("POST", "/config", jsonType, file)
		if want == "" {
			if r.status != 400 || !strings.Contains(r.message(t), "non-normalized path") {
				t.Errorf("%s: %d %s", version, r.status, r.body)
			}
			continue
		}
		if got := fmt.Sprint(h.get("/routes/r").fields(t)["paths"]); r.status != 201 || got != want {
			t.Errorf("%s: %d %s %s", version, r.status, got, r.body)
		}
	}
}

// TestTransform: with _transform: false passwords are hashes already.
func TestTransform(t *testing.T) {
	h := newHarness(t, nil)
	file := `
_format_version: "3.0"
_transform: %v
consumers:
- username: ann
  basicauth_credentials: [{username: ann, password: secret}]
  oauth2_credentials: [{name: app, client_id: app, client_secret: s3cret, hash_secret: true}]
`
	h.load(201, "", fmt.Sprintf(file, true))
	hash := h.get("/basic-auths/ann").fields(t)["password"]
	if hash == "secret" {
		t.Error("the password is stored as it is")
	}
	h.load(304, "check_hash=1", fmt.Sprintf(file, true)) // another salt is no change
	h.load(201, "", fmt.Sprintf(file, false))
	if got := h.get("/basic-auths/ann").fields(t)["password"]; got != "secret" {
		t.Errorf("%v", got)
	}
	if got := h.get("/oauth2/app").fields(t)["client_secret"]; got != "s3cret" {
		t.Errorf("%v", got)
	}
}

// TestImportBodies: every form that a file may come in.
func TestImportBodies(t *testing.T) {
	const asYAML, asJSON = "_format_version: '3.0'\nservices: [{name: s, host: h}]", `{"_format_version":"3.0","services":[{"name":"s","host":"h"}]}`
	quoted, err := json.Marshal(asYAML)
	if err != nil {
		t.Fatal(err)
	}
	multipart := "--b\r\nContent-Disposition: form-data; name=\"config\"; filename=\"kong.yml\"\r\n\r\n" + asYAML + "\r\n--b--\r\n"
	for name, c := range map[string]struct{ contentType, body string }{
		"yaml":            {"application/yaml", asYAML},
		"yaml, by text":   {"text/yaml; charset=utf-8", asYAML},
		"no type":         {"", asYAML},
		"json":            {jsonType, asJSON},
		"json in yaml":    {yamlType, asJSON},
		"json in json":    {jsonType, `{"config":` + strings.ReplaceAll(string(quoted), "_format", "_format") + `}`},
		"form":            {formType, "config=" + url.QueryEscape(asYAML)},
		"form with hash":  {formType, "check_hash=1&config=" + url.QueryEscape(asYAML)},
		"multipart":       {"multipart/form-data; boundary=b", multipart},
		"json with flags": {jsonType, `{"flatten_errors":true,"check_hash":1,` + asJSON[1:]},
	} {
		h := newHarness(t, nil)
		if r := h.do("POST", "/config", c.contentType, c.body); r.status != 201 || h.get("/services/s").status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	h := newHarness(t, nil)
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		message           string
	}{
		"nothing":          {"", "", 400, "expected a declarative configuration"},
		"no json":          {jsonType, "{", 400, "Cannot parse JSON body"},
		"a form of yaml":   {formType, asYAML, 400, errNoConfigArg.message},
		"another type":     {"image/png", "x", 415, ""},
		"config is a list": {jsonType, `{"config":[1]}`, 400, "expected a declarative configuration"},
	} {
		r := h.do("POST", "/config", c.contentType, c.body)
		if r.status != c.status || c.message != "" && r.message(t) != c.message {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if h.cluster.index != 0 {
		t.Errorf("index %d", h.cluster.index)
	}
}

// TestImportLosesNoWrite: what another writer does meanwhile is not undone by a plan that has not seen it.
func TestImportLosesNoWrite(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/services", "name=s&host=old.test")
	old := h.get("/services/s").fields(t)["id"]
	writes := 0
	h.cluster.before = func(c *fsm.Command) error {
		if c.Write == nil {
			return nil
		}
		if writes++; writes == 1 {
			h.cluster.before = nil
			h.must(200, "PATCH", "/services/s", "host=other.test&retries=7")
		}
		return nil
	}
	h.load(201, "", `{"_format_version":"3.0","services":[{"name":"s","host":"new.test"}]}`)
	got := h.get("/services/s").fields(t)
	if got["host"] != "new.test" || got["retries"] != 5.0 || got["id"] != old || len(h.api.view().History()) != 3 {
		t.Errorf("%v, %d changes", got, len(h.api.view().History()))
	}
}

// TestImportDeck: what decK's files have beyond Kong's, and Kong's dumps beyond entities.
func TestImportDeck(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.load(201, "", `
_format_version: "3.0"
_info: {select_tags: [], defaults: {}}
_plugin_configs:
  sized: {size: 3, words: [shared]}
_transform: true
parameters: [{key: cluster_id, value: x}]
workspaces: [{name: default, id: 0dc6f45b-8f8d-40d2-a504-473544ee190b}]
services:
- {name: s, host: h, ws_id: 0dc6f45b-8f8d-40d2-a504-473544ee190b}
plugins:
- name: echo
  _config: sized
  config: {words: [own]}
  service: {name: s}
`)
	config := h.get("/plugins").fields(t)["data"].([]any)[0].(map[string]any)["config"].(map[string]any)
	if fmt.Sprint(config["size"], config["words"]) != "3 [own]" {
		t.Errorf("%v", config)
	}
}

// TestImportNameless: entities without a name are told by their content, also those that are alike.
func TestImportNameless(t *testing.T) {
	h := newHarness(t, nil)
	var b strings.Builder
	b.WriteString("_format_version: '3.0'\nservices:\n")
	for range 3000 {
		b.WriteString("- {host: same.test}\n")
	}
	h.load(201, "", b.String())
	h.load(304, "check_hash=1", b.String())
	if got := h.planOf("", b.String()+"- {host: other.test}\n"); fmt.Sprint(got) != "[create services ]" {
		t.Errorf("%d changes", len(got))
	}
}

// TestImportRenames: a name that moved to another entity is not taken back by an id that was made of it.
func TestImportRenames(t *testing.T) {
	h := newHarness(t, nil)
	file := func(names ...string) string {
		return "_format_version: '3.0'\nservices: [{host: h, name: " + strings.Join(names, "}, {host: h, name: ") + "}]"
	}
	h.load(201, "", file("a"))
	first := h.get("/services/a").fields(t)["id"]
	h.must(200, "PATCH", "/services/a", "name=b")
	h.load(201, "", file("a", "b"))
	if b, a := h.get("/services/b").fields(t)["id"], h.get("/services/a").fields(t)["id"]; b != first || a == first {
		t.Errorf("a %v, b %v, first %v", a, b, first)
	}
	h.load(304, "check_hash=1", file("b", "a"))
	// two entities may swap their names in one change
	h.load(201, "", fmt.Sprintf(`{"_format_version":"3.0","services":[{"id":"%s","name":"a","host":"h"},{"id":"%s","name":"b","host":"h"}]}`,
		first, h.get("/services/a").fields(t)["id"]))
	if a := h.get("/services/a").fields(t)["id"]; a != first {
		t.Errorf("a %v, want %v", a, first)
	}
}
