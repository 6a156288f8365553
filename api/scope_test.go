package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// scoped is an API in which some things carry the tag a, and some do not; and a token for everything that does.
func scoped(t testing.TB) (h *harness, token string) {
	t.Helper()
	h = newHarness(t, testPlugins())
	h.role("a", `{"collections":["*"],"actions":["*"],"tags":["a"]}`)
	h.run(script{
		{"PUT", "/services/mine", `{"host":"h","tags":["a"]}`, 200, ""},
		{"PUT", "/services/shared", `{"host":"h","tags":["b","a"]}`, 200, ""},
		{"PUT", "/services/theirs", `{"host":"h","tags":["b"]}`, 200, ""},
		{"PUT", "/services/bare", `{"host":"h"}`, 200, ""},
		{"PUT", "/routes/r-mine", `{"paths":["/"],"service":{"name":"mine"},"tags":["a"]}`, 200, ""},
		{"PUT", "/routes/r-theirs", `{"paths":["/"],"service":{"name":"theirs"},"tags":["b"]}`, 200, ""},
		{"PUT", "/routes/r-lent", `{"paths":["/"],"service":{"name":"theirs"},"tags":["a"]}`, 200, ""},
		{"PUT", "/routes/r-imposed", `{"paths":["/"],"service":{"name":"mine"}}`, 200, ""},
		{"PUT", "/consumers/bob", `{"tags":["a"]}`, 200, ""},
		{"PUT", "/consumers/eve", `{"tags":["b"],"custom_id":"e"}`, 200, ""},
		{"PUT", "/consumers/bob/key-auth/k-mine", `{"tags":["a"]}`, 200, ""},
		{"PUT", "/consumers/bob/key-auth/k-imposed", `{}`, 200, ""},
		{"PUT", "/consumers/eve/key-auth/k-theirs", `{"tags":["b"]}`, 200, ""},
		{"PUT", "/upstreams/u-mine", `{"tags":["a"]}`, 200, ""},
		{"POST", "/upstreams/u-mine/targets", `{"target":"h:1","tags":["a"]}`, 201, ""},
		{"POST", "/upstreams/u-mine/targets", `{"target":"h:2"}`, 201, ""},
		{"PUT", "/plugins/p-imposed", `{"name":"echo","service":{"name":"shared"}}`, 200, ""},
		{"PUT", "/plugins/p-everywhere", `{"name":"echo","tags":["a"]}`, 200, ""},
	})
	return h, h.token("a", "a")
}

// TestScope: a token reaches what carries its tag, whichever path leads there.
func TestScope(t *testing.T) {
	const denied = "only within its tags (a)"
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		// looking
		{"GET", "/services/mine", "", 200, ""},
		{"GET", "/services/theirs", "", 404, ""},
		{"GET", "/services/bare", "", 404, ""},
		{"GET", "/services/theirs/routes", "", 404, ""},
		{"GET", "/services/theirs/routes/r-lent", "", 404, ""},
		{"GET", "/routes/r-lent", "", 200, ""},
		{"GET", "/routes/r-lent/service", "", 404, ""},
		{"GET", "/routes/r-imposed/service", "", 404, ""},
		{"GET", "/consumers?custom_id=e", "", 200, `{"data":[],"next":null}`},
		{"GET", "/key-auths/k-theirs", "", 404, ""},
		{"GET", "/key-auths/k-theirs/consumer", "", 404, ""},
		{"GET", "/tags/b", "", 200, `"entity_name":"services"`}, // shared has it
		{"HEAD", "/services/theirs", "", 404, ""},
		{"GET", "/services/theirs?as_of=3", "", 404, ""},
		{"GET", "/upstreams/u-mine/targets/all", "", 200, `"target":"h:1"`},

		// making
		{"POST", "/services", `{"name":"n","host":"h","tags":["a"]}`, 201, ""},
		{"POST", "/services", `{"name":"n","host":"h"}`, 403, denied},
		{"POST", "/services", `{"name":"n","host":"h","tags":["b"]}`, 403, denied},
		{"POST", "/services", `{"name":"theirs","host":"h","tags":["a"]}`, 409, "UNIQUE"},
		{"PUT", "/services/theirs", `{"host":"h","tags":["a"]}`, 403, "outside of what the token may see"},
		{"PUT", "/services/new", `{"host":"h","tags":["a"]}`, 200, ""},
		{"POST", "/services/mine/routes", `{"paths":["/"],"tags":["a"]}`, 201, ""},
		{"POST", "/services/theirs/routes", `{"paths":["/"],"tags":["a"]}`, 404, ""},
		{"POST", "/routes", `{"paths":["/"],"tags":["a"],"service":{"name":"theirs"}}`, 400, "foreign key unresolved"},
		{"POST", "/routes", `{"paths":["/"],"tags":["a"],"service":{"id":"<theirs>"}}`, 403, denied},
		{"POST", "/plugins", `{"name":"echo","tags":["a"],"service":{"id":"<theirs>"}}`, 403, denied},
		{"POST", "/plugins", `{"name":"echo","tags":["a"],"service":{"id":"<mine>"},"consumer":{"id":"<eve>"}}`, 403, denied},
		{"POST", "/plugins", `{"name":"gate","tags":["a"]}`, 403, denied}, // for everybody's requests
		{"POST", "/plugins", `{"name":"gate","tags":["a"],"service":{"name":"mine"}}`, 201, ""},
		{"POST", "/consumers/bob/key-auth", `{"key":"k"}`, 403, denied},
		{"PUT", "/routes/r-mine/service", `{"host":"h"}`, 403, denied},
		{"PUT", "/routes/r-lent/service", `{"host":"h","tags":["a"]}`, 200, ""}, // a service of its own for its route

		// changing
		{"PATCH", "/services/mine", `{"host":"i"}`, 200, ""},
		{"PATCH", "/services/mine", `{"tags":["a","c"]}`, 200, ""},
		{"PATCH", "/services/mine", `{"tags":["b"]}`, 403, denied},
		{"PATCH", "/services/mine", `{"tags":null}`, 403, denied},
		{"PUT", "/services/mine", `{"host":"h"}`, 403, denied},
		{"PATCH", "/services/theirs", `{"tags":["a"]}`, 404, ""},
		{"PATCH", "/services/<theirs>", `{"tags":["a"]}`, 404, ""},
		{"PATCH", "/routes/r-mine", `{"service":{"id":"<theirs>"}}`, 403, denied},
		{"PATCH", "/routes/r-lent/service", `{"host":"x"}`, 404, ""},
		{"PATCH", "/routes/r-lent", `{"paths":["/x"]}`, 200, ""}, // it was lent with that service
		{"PATCH", "/routes/r-imposed", `{"paths":["/x"]}`, 404, ""},
		{"PATCH", "/plugins/p-everywhere", `{"enabled":false}`, 200, ""},
		{"PATCH", "/services/theirs", `{"host":"x"}`, 404, ""},
		{"PUT", "/upstreams/u-mine/targets/h:2", `{"weight":1}`, 404, ""},

		// removing
		{"DELETE", "/services/theirs", "", 204, ""}, // nothing to do, as if it were not there
		{"DELETE", "/services/theirs/routes/r-lent", "", 404, ""},
		{"DELETE", "/services/shared", "", 403, "may delete plugins only within its tags (a)"},
		{"DELETE", "/services/mine", "", 400, "references this 'services' entity"},
		{"DELETE", "/consumers/bob", "", 403, "may delete keyauth_credentials only within its tags (a)"},
		{"DELETE", "/consumers/bob/key-auth/k-imposed", "", 404, ""},
		{"DELETE", "/consumers/bob/key-auth/k-mine", "", 204, ""},
		{"DELETE", "/upstreams/u-mine", "", 403, "may delete targets"},
		{"DELETE", "/routes/r-mine", "", 204, ""},
	} {
		t.Run(step.method+" "+strings.ReplaceAll(step.path, "/", "|")+" "+step.body, func(t *testing.T) {
			h, token := scoped(t)
			id := strings.NewReplacer("<theirs>", h.idOf("services", "theirs"), "<mine>", h.idOf("services", "mine"), "<eve>", h.idOf("consumers", "eve"))
			before := h.outside("a")
			want := strings.ReplaceAll(step.want, "keyauth_credentials", "key-auths")
			r := h.as(token, step.method, id.Replace(step.path), id.Replace(step.body))
			if r.status != step.status || !strings.Contains(string(r.body), want) {
				t.Errorf("%d %s, want %d %s", r.status, r.body, step.status, want)
			}
			if after := h.outside("a"); !slices.Equal(before, after) {
				t.Errorf("what is outside was changed:\n%q\n%q", before, after)
			}
		})
	}
}

func (h *harness) idOf(kind, name string) string {
	e := h.api.view().Lookup(kind, name)
	if e == nil {
		h.t.Fatalf("no %s %s", kind, name)
	}
	return e.ID
}

// outside gives all that a token for a tag may not touch, as it is stored; by the plainest of rules: what does not
// have the tag in it. Names of servers go by their certificate, and tokens by their application.
func (h *harness) outside(tag string) (list []string) {
	v := h.api.view()
	inside := func(raw []byte) bool {
		var e struct{ Tags []string }
		if err := json.Unmarshal(raw, &e); err != nil {
			h.t.Fatal(err)
		}
		return slices.Contains(e.Tags, tag)
	}
	for _, c := range h.api.collections {
		for e := range v.All(c.Kind) {
			in := inside(e.Raw)
			switch c.Kind {
			case "snis":
				if len(e.Tags()) == 0 {
					in = inside(v.Get("certificates", e.Ref("certificate")).Raw)
				}
			case "oauth2_tokens":
				in = inside(v.Get("oauth2_credentials", e.Ref("credential")).Raw)
				if s := e.Ref("service"); s != "" {
					in = in && inside(v.Get("services", s).Raw)
				}
			}
			if !in {
				list = append(list, c.Kind+" "+string(e.Raw))
			}
		}
	}
	return list
}

// The lists, their pages and the tags show what is in the scope, and no gap where something else is.
func TestScopeOfLists(t *testing.T) {
	h, token := scoped(t)
	want := map[string][]string{"/services": {"mine", "shared"}, "/services?tags=b": {"shared"}, "/routes": {"r-lent", "r-mine"}, "/services/mine/routes": {"r-mine"}, "/consumers": {"bob"}}
	for path, names := range want {
		var got []string
		next := path
		for next != "" {
			separator := "?"
			if strings.Contains(next, "?") {
				separator = "&"
			}
			if !strings.Contains(next, "size=") {
				next += separator + "size=1"
			}
			page := h.as(token, "GET", next, "").fields(t)
			for _, e := range page["data"].([]any) {
				fields := e.(map[string]any)
				name, _ := fields["name"].(string)
				if name == "" {
					name, _ = fields["username"].(string)
				}
				got = append(got, name)
			}
			next, _ = page["next"].(string)
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s: %q, want %q", path, got, names)
		}
	}
	for _, path := range []string{"/tags", "/tags/b", "/tags/a"} {
		for _, e := range h.as(token, "GET", path, "").fields(t)["data"].([]any) {
			row := e.(map[string]any)
			if found := h.api.view().Get(row["entity_name"].(string), row["entity_id"].(string)); found == nil || !slices.Contains(found.Tags(), "a") {
				t.Errorf("%s: %v", path, row)
			}
		}
	}
	if r := h.as(token, "GET", "/tags", ""); strings.Contains(string(r.body), "admin_") || !strings.Contains(string(r.body), "upstreams") {
		t.Errorf("tags: %s", r.body)
	}
}

// A transaction is what its operations are, and nothing that it does on the way opens a door.
func TestScopeOfTransactions(t *testing.T) {
	h, token := scoped(t)
	theirs := h.idOf("services", "theirs")
	before := h.outside("a")
	for body, c := range map[string]struct {
		status int
		want   string
	}{
		`{"method":"PATCH","path":"/services/mine","body":{"host":"x"}},{"method":"DELETE","path":"/routes/r-mine"}`:                                                   {200, `"action":"delete"`},
		`{"method":"PATCH","path":"/services/theirs","body":{"tags":["a"]}}`:                                                                                           {404, "operation 1"},
		`{"method":"PATCH","path":"/services/mine","body":{"tags":["b"]}}`:                                                                                             {403, "only within its tags"},
		`{"method":"PATCH","path":"/services/mine","body":{"tags":["b"]}},{"method":"PATCH","path":"/services/mine","body":{"tags":["a"]}}`:                            {404, "operation 2"},
		`{"method":"PUT","path":"/services/` + theirs + `","body":{"host":"h","tags":["a"]}}`:                                                                          {400, "operation 1"},
		`{"method":"DELETE","path":"/services/shared"}`:                                                                                                                {403, "may delete plugins"},
		`{"method":"POST","path":"/admin_tokens","body":{"name":"x","roles":["super-admin"]}}`:                                                                         {403, "super-admin"},
		`{"method":"PUT","path":"/services/n","body":{"host":"h","tags":["a"]}},{"method":"PATCH","path":"/routes/r-lent","body":{"service":{"id":"` + theirs + `"}}}`: {200, ""},
	} {
		for _, dry := range []string{"?dry_run=1", ""} {
			r := h.as(token, "POST", "/transactions"+dry, `{"operations":[`+body+`]}`)
			if r.status != c.status || !strings.Contains(string(r.body), c.want) {
				t.Errorf("%s%s: %d %s", body, dry, r.status, r.body)
			}
		}
	}
	if after := h.outside("a"); !slices.Equal(before, after) {
		t.Errorf("what is outside was changed:\n%q\n%q", before, after)
	}
}

// What others write between the look at a delete and the delete itself is not taken along.
func TestScopeOfDeletesThatRace(t *testing.T) {
	h, token := scoped(t)
	mine := h.idOf("services", "mine")
	h.must(204, "DELETE", "/routes/r-mine", "")
	h.must(204, "DELETE", "/routes/r-imposed", "")
	raced := false
	h.cluster.before = func(c *fsm.Command) error {
		if c.Type != fsm.CommandWrite || raced {
			return nil
		}
		raced = true
		_, err := h.cluster.apply(fsm.NewWrite("", 0, fsm.Op{Verb: fsm.Create, Kind: "plugins", ID: someID,
			Raw: []byte(`{"id":"` + someID + `","name":"echo","service":{"id":"` + mine + `"}}`)}))
		return err
	}
	if r := h.as(token, "DELETE", "/services/mine", ""); r.status != 403 || !raced {
		t.Errorf("%d %s", r.status, r.body)
	}
	if h.api.view().Get("plugins", someID) == nil {
		t.Error("the plugin of somebody else is gone")
	}
	if _, err := h.cluster.apply(fsm.NewWrite("", 0, fsm.Op{Verb: fsm.Delete, Kind: "plugins", ID: someID})); err != nil {
		t.Fatal(err)
	}
	h.must(200, "PUT", "/plugins/own", "name=echo&service.name=mine&tags=a")
	if r := h.as(token, "DELETE", "/services/mine", ""); r.status != 204 || h.api.view().Lookup("plugins", "own") != nil {
		t.Errorf("with what belongs to it: %d %s", r.status, r.body)
	}
}

// A certificate's server names are a part of it.
func TestScopeOfServerNames(t *testing.T) {
	h, token := scoped(t)
	pair := certstest.SelfSigned("a")
	body := func(tag string, snis ...string) string {
		return object(t, map[string]any{"cert": pair.Cert, "key": pair.Key, "snis": snis, "tags": []string{tag}})
	}
	if r := h.json("POST", "/certificates", body("b", "theirs.test")); r.status != 201 {
		t.Fatalf("%s", r.body)
	}
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/certificates", body("a", "mine.test", "too.test"), 201, `"snis":["mine.test","too.test"]`},
		{"POST", "/certificates", body("b", "other.test"), 403, ""},
		{"POST", "/certificates", body("a", "theirs.test"), 403, "outside of what the token may see"},
		{"GET", "/certificates/theirs.test", "", 404, "SNI not found"},
		{"GET", "/snis/theirs.test", "", 404, ""},
		{"PATCH", "/certificates/mine.test", `{"snis":["mine.test"]}`, 200, `"snis":["mine.test"]`},
		{"GET", "/snis", "", 200, `"name":"mine.test"`},
		{"DELETE", "/certificates/mine.test", "", 204, ""},
	} {
		if r := h.as(token, step.method, step.path, step.body); r.status != step.status || !strings.Contains(string(r.body), step.want) {
			t.Errorf("%s %s: %d %s", step.method, step.path, r.status, r.body)
		}
	}
}

// Who may look at everything and write a part sees what is refused, and is told so.
func TestReadAllWriteSome(t *testing.T) {
	h, _ := scoped(t)
	h.role("mixed", `{"collections":["services"],"actions":["read"]},{"collections":["services"],"actions":["update"],"tags":["a"]}`)
	token := h.token("mixed", "mixed")
	for path, status := range map[string]int{"/services/mine": 200, "/services/theirs": 403, "/services/none": 404} {
		if r := h.as(token, "PATCH", path, `{"host":"x"}`); r.status != status {
			t.Errorf("PATCH %s: %d %s", path, r.status, r.body)
		}
	}
	if r := h.as(token, "GET", "/services/theirs", ""); r.status != 200 {
		t.Errorf("GET: %d", r.status)
	}
	if r := h.as(token, "PUT", "/services/fresh", `{"host":"x","tags":["a"]}`); r.status != 403 || !strings.Contains(string(r.body), "no permission to create services") {
		t.Errorf("PUT of a new one: %d %s", r.status, r.body)
	}
}

// A write of a bounded token that is repeated under its id is answered as the first one was.
func TestScopedWriteRepeated(t *testing.T) {
	h, token := scoped(t)
	send := func() answer {
		return h.as(token, "POST", "/services", `{"name":"once","host":"h","tags":["a"]}`, headerRequestID, "x")
	}
	first, again := send(), send()
	if first.status != 201 || again.status != 201 || first.fields(t)["id"] != again.fields(t)["id"] {
		t.Errorf("%d %s\n%d %s", first.status, first.body, again.status, again.body)
	}
	h.must(200, "PATCH", "/services/once", "tags=b") // by somebody who may
	if r := send(); r.status != 404 {
		t.Errorf("after it was taken out of the scope: %d %s", r.status, r.body)
	}
}
