package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/fsm"
)

// as sends a request to the API that asks who it is from; headers are pairs. A body that begins like JSON is sent
// as such, any other as a form.
func (h *harness) as(token, method, path, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	switch {
	case strings.HasPrefix(body, "{"):
		r.Header.Set("Content-Type", jsonType)
	case body != "":
		r.Header.Set("Content-Type", formType)
	}
	if token != "" {
		r.Header.Set(headerToken, token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return h.guarded(r)
}

func (h *harness) guarded(r *http.Request) answer {
	w := httptest.NewRecorder()
	h.api.Guarded().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.Bytes()}
}

// role makes a role of permissions in JSON, and token a token of roles.
func (h *harness) role(name, permissions string) {
	h.t.Helper()
	if r := h.json("POST", "/admin_roles", `{"name":"`+name+`","permissions":[`+permissions+`]}`); r.status != 201 {
		h.t.Fatalf("role %s: %d %s", name, r.status, r.body)
	}
}

func (h *harness) token(name string, roles ...string) string {
	h.t.Helper()
	text, err := json.Marshal(map[string]any{"name": name, "roles": roles})
	if err != nil {
		h.t.Fatal(err)
	}
	r := h.json("POST", "/admin_tokens", string(text))
	token, _ := r.fields(h.t)["token"].(string)
	if r.status != 201 || token == "" {
		h.t.Fatalf("token %s: %d %s", name, r.status, r.body)
	}
	return token
}

func TestAuthentication(t *testing.T) {
	h := newHarness(t, nil)
	token := h.token("ops", RoleSuperAdmin)
	h.json("POST", "/admin_tokens", `{"name":"soon","roles":["super-admin"],"ttl":60}`)
	bearer := func(value string) []string { return []string{"Authorization", value} }
	for name, c := range map[string]struct {
		token   string
		headers []string
		status  int
	}{
		"header":             {token, nil, 200},
		"bearer":             {"", bearer("Bearer " + token), 200},
		"bearer, any case":   {"", bearer("bEARER  " + token), 200},
		"header counts more": {token, bearer("Bearer nonsense"), 200},
		"wrong header":       {"nonsense", bearer("Bearer " + token), 401},
		"nothing":            {"", nil, 401},
		"no bearer":          {"", bearer("Bearer "), 401},
		"basic":              {"", bearer("Basic " + token), 401},
		"hash":               {hashOf(token), nil, 401},
		"part":               {token[:len(token)-1], nil, 401},
		"more":               {token + "x", nil, 401},
		"name":               {"ops", nil, 401},
	} {
		r := h.as(c.token, "GET", "/services", "", c.headers...)
		if r.status != c.status {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
		if challenge := r.header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Bearer ") != (c.status == 401) {
			t.Errorf("%s: WWW-Authenticate %q", name, challenge)
		}
	}
	// A stranger learns nothing of what there is; a browser's preflight is answered.
	for _, path := range []string{"/", "/nowhere", "/services/x"} {
		if r := h.as("", "GET", path, ""); r.status != 401 {
			t.Errorf("GET %s without a token: %d", path, r.status)
		}
	}
	r := h.as("", "OPTIONS", "/services", "", "Access-Control-Request-Headers", "Kong-Admin-Token", "Origin", "http://manager")
	if r.status != 204 || r.header.Get("Access-Control-Allow-Headers") != "Kong-Admin-Token" || r.header.Get("Access-Control-Allow-Origin") != "http://manager" {
		t.Errorf("preflight: %d %v", r.status, r.header)
	}
	// The other handler lets everybody in.
	if r := h.get("/admin_tokens"); r.status != 200 {
		t.Errorf("without protection: %d", r.status)
	}
}

// What is stored and shown of a token, and what ends it.
func TestTokenLife(t *testing.T) {
	h := newHarness(t, nil)
	made := h.json("POST", "/admin_tokens", `{"name":"ci","roles":["read-only"],"ttl":100}`)
	token, _ := made.fields(t)["token"].(string)
	if made.status != 201 || len(token) != len(tokenPrefix)+43 {
		t.Fatalf("%d %s", made.status, made.body)
	}
	hash := hashOf(token)
	for i, r := range []answer{
		made, h.get("/admin_tokens"), h.get("/admin_tokens/ci"), h.get("/history/1"), h.get("/admin_tokens?as_of=1"), h.get("/history"),
		h.json("PATCH", "/admin_tokens/ci", `{"roles":["super-admin"]}`), h.json("PUT", "/admin_tokens/ci", `{"roles":["super-admin"],"ttl":100}`),
	} {
		if r.status/100 != 2 || bytes.Contains(r.body, []byte(hash)) || bytes.Contains(r.body, []byte(token)) != (i == 0) {
			t.Errorf("answer %d: %d %s", i, r.status, r.body)
		}
	}
	if r := h.get("/history/1"); !strings.Contains(string(r.body), `"token_hash":"***"`) {
		t.Errorf("history: %s", r.body)
	}
	stored := h.api.view().Lookup(fsm.KindAdminToken, "ci")
	if raw := string(stored.Raw); !strings.Contains(raw, hash) || strings.Contains(raw, token) {
		t.Errorf("stored: %s", raw)
	}
	if r := h.as(token, "GET", "/admin_tokens", ""); r.status != 200 {
		t.Errorf("after PATCH and PUT: %d %s", r.status, r.body)
	}
	for body, want := range map[string]string{
		`{"name":"x","roles":["read-only"],"token":"mine"}`:              "unknown field",
		`{"name":"x","roles":["read-only"],"token_hash":"` + hash + `"}`: "unknown field",
		`{"name":"x","roles":[]}`:                                        "length must be at least 1",
		`{"name":"x"}`:                                                   "required field missing",
		`{"name":"x","roles":["no-such"]}`:                               "there is no role 'no-such'",
		`{"roles":["read-only"]}`:                                        "required field missing",
		`{"name":"ci","roles":["read-only"]}`:                            "UNIQUE violation",
	} {
		if r := h.json("POST", "/admin_tokens", body); r.status/100 != 4 || !strings.Contains(string(r.body), want) {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	h.advance(101 * time.Second)
	if r := h.as(token, "GET", "/services", ""); r.status != 401 {
		t.Errorf("after its time: %d", r.status)
	}
	token = h.token("other", RoleSuperAdmin)
	if r := h.as(token, "DELETE", "/admin_tokens/other", ""); r.status != 204 {
		t.Errorf("revoke itself: %d %s", r.status, r.body)
	}
	if r := h.as(token, "GET", "/services", ""); r.status != 401 {
		t.Errorf("revoked: %d", r.status)
	}
}

// A POST that is repeated under its id is answered with the same entity; a token that is not that entity's must not
// be shown with it.
func TestTokenRepeated(t *testing.T) {
	h := newHarness(t, nil)
	const body = `{"name":"ci","roles":["read-only"]}`
	first := h.do("POST", "/admin_tokens", jsonType, body, headerRequestID, "r1")
	again := h.do("POST", "/admin_tokens", jsonType, body, headerRequestID, "r1")
	if first.fields(t)["token"] == nil || again.status != 201 || again.fields(t)["token"] != nil || again.fields(t)["id"] != first.fields(t)["id"] {
		t.Errorf("%s\n%d %s", first.body, again.status, again.body)
	}
	r := h.json("POST", "/transactions", `{"operations":[{"method":"POST","path":"/admin_tokens","body":{"name":"tx","roles":["read-only"]}}]}`)
	token, _ := r.fields(t)["results"].([]any)[0].(map[string]any)["body"].(map[string]any)["token"].(string)
	if a := h.as(token, "GET", "/services", ""); a.status != 200 {
		t.Errorf("token of a transaction %q: %d", token, a.status)
	}
}

func TestRoles(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/admin_roles", `{"name":"team","permissions":[{"collections":["services"],"actions":["read"]}]}`, 201, `"tags":null`},
		{"POST", "/admin_roles", `{"name":"x","permissions":[{"collections":["service"],"actions":["read"]}]}`, 400, "there is no collection 'service'"},
		{"POST", "/admin_roles", `{"name":"x","permissions":[{"collections":["admin_tokens"],"actions":["read"]}]}`, 400, "there is no collection 'admin_tokens'"},
		{"POST", "/admin_roles", `{"name":"x","permissions":[{"collections":["*"],"actions":["write"]}]}`, 400, "expected one of"},
		{"POST", "/admin_roles", `{"name":"x","permissions":[{"collections":["*"],"actions":["read"],"tags":[]}]}`, 400, "length must be at least 1"},
		{"POST", "/admin_roles", `{"name":"x","permissions":[{"collections":[],"actions":["read"]}]}`, 400, "length must be at least 1"},
		{"POST", "/admin_roles", `{"name":"super-admin","permissions":[]}`, 400, "is built in"},
		{"PUT", "/admin_roles/read-only", `{"permissions":[]}`, 400, "is built in"},
		{"POST", "/admin_tokens", `{"name":"t","roles":["team"]}`, 201, `"token":"sluice_`},
		{"DELETE", "/admin_roles/team", "", 400, "is still one of the token 't'"},
		{"PATCH", "/admin_roles/team", `{"name":"squad"}`, 400, "is still one of the token 't'"},
		{"PATCH", "/admin_roles/team", `{"permissions":[{"collections":["*"],"actions":["*"],"tags":["a"]}]}`, 200, `"tags":["a"]`},
		{"DELETE", "/admin_tokens/t", "", 204, ""},
		{"DELETE", "/admin_roles/team", "", 204, ""},
	})
}

// certificate makes a request look as if a listener had verified a client's certificate.
func certificate(r *http.Request, commonName string, uris ...string) *http.Request {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: commonName}}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
	return r
}

func TestCertificateSubjects(t *testing.T) {
	h := newHarness(t, nil, func(c *Config) { c.Origins = []string{"https://manager.test"} })
	h.run(script{
		{"POST", "/admin_tokens", `{"name":"host","roles":["read-only"],"subject":"ops.example.com"}`, 201, `"subject":"ops.example.com"`},
		{"POST", "/admin_tokens", `{"name":"uri","roles":["super-admin"],"subject":"spiffe://example.com/ops"}`, 201, `"name":"uri"`},
		{"POST", "/admin_tokens", `{"name":"twice","roles":["read-only"],"subject":"ops.example.com"}`, 409, "UNIQUE"},
	})
	if r := h.get("/admin_tokens/host"); r.fields(t)["token"] != nil || strings.Contains(string(h.api.view().Lookup(fsm.KindAdminToken, "host").Raw), memberTokenHash) {
		t.Errorf("a token was made: %s", r.body)
	}
	get := func() *http.Request { return httptest.NewRequest("GET", "/services", nil) }
	unverified := certificate(get(), "ops.example.com")
	unverified.TLS.VerifiedChains = nil
	withToken := certificate(get(), "ops.example.com")
	withToken.Header.Set(headerToken, "nonsense")
	from := func(header, value string) *http.Request {
		r := certificate(get(), "ops.example.com")
		r.Header.Set(header, value)
		return r
	}
	for name, c := range map[string]struct {
		r      *http.Request
		status int
	}{
		"from a page of its own":     {from("Origin", "https://example.com"), 200}, // httptest's host
		"from a page that may":       {from("Origin", "https://manager.test"), 200},
		"from another page":          {from("Origin", "https://evil.test"), 401},
		"from another page's link":   {from("Sec-Fetch-Site", "cross-site"), 401},
		"from the address bar":       {from("Sec-Fetch-Site", "none"), 200},
		"from a page without origin": {from("Origin", "null"), 401},
		"common name":                {certificate(get(), "ops.example.com"), 200},
		"uri":                        {certificate(get(), "anything", "spiffe://x/y", "spiffe://example.com/ops"), 200},
		"other name":                 {certificate(get(), "other.example.com"), 401},
		"no name":                    {certificate(get(), ""), 401},
		"uri as a common name":       {certificate(get(), "spiffe://example.com/ops"), 401},
		"not verified":               {unverified, 401},
		"with a wrong token":         {withToken, 401},
		"a token's hash, empty":      {certificate(get(), "first"), 401},
	} {
		if r := h.guarded(c.r); r.status != c.status {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// The history, the access log and a log around the API say who it was.
func TestWho(t *testing.T) {
	var log bytes.Buffer
	core, seen := observer.New(zap.WarnLevel)
	h := newHarness(t, nil, func(c *Config) { c.AccessLog, c.Logger = &log, zap.New(core) })
	token, reader := h.token("alice", RoleSuperAdmin), h.token("bob", RoleReadOnly)
	if r := h.as(token, "POST", "/services", `{"name":"s","host":"h"}`); r.status != 201 {
		t.Fatal(string(r.body))
	}
	if r := h.get("/history?size=1"); !strings.Contains(string(r.body), `"who":"alice"`) {
		t.Errorf("history: %s", r.body)
	}
	if !strings.Contains(log.String(), " - alice [") {
		t.Errorf("access log: %s", log.String())
	}
	var user User
	r := httptest.NewRequest("GET", "/services", nil)
	r.Header.Set(headerToken, token)
	h.guarded(r.WithContext(WithUser(r.Context(), &user)))
	if user.Name != "alice" {
		t.Errorf("user %q", user.Name)
	}

	h.advance(time.Second)
	for range 3 {
		h.as("", "GET", "/key-auths/secret", "")
	}
	h.as(reader, "DELETE", "/services/s", "")
	if unauthorized, denied := h.api.Refused(); unauthorized != 3 || denied != 1 {
		t.Errorf("%d and %d refusals", unauthorized, denied)
	}
	h.advance(time.Second)
	h.as(reader, "DELETE", "/services/s", "")
	entries := seen.FilterMessage("admin request refused").All()
	if len(entries) != 2 || entries[0].ContextMap()["path"] != "/key-auths/***" || entries[1].ContextMap()["others_since"] != uint64(3) || entries[1].ContextMap()["token"] != "bob" {
		t.Errorf("logged: %+v", entries)
	}
}

// Somebody's writes are not answered to somebody else who uses the same request id.
func TestRequestIDsOfOthers(t *testing.T) {
	h := newHarness(t, nil)
	a, b := h.token("a", RoleSuperAdmin), h.token("b", RoleSuperAdmin)
	const body = `{"host":"h"}`
	first := h.as(a, "POST", "/services", body, headerRequestID, "x").fields(t)["id"]
	if again := h.as(a, "POST", "/services", body, headerRequestID, "x").fields(t)["id"]; again != first {
		t.Errorf("repeated: %v, want %v", again, first)
	}
	if other := h.as(b, "POST", "/services", body, headerRequestID, "x").fields(t)["id"]; other == first {
		t.Error("another one's write was answered")
	}
}

// Of many nodes that start at once, one makes the first token, and only of a cluster without any.
func TestFirstToken(t *testing.T) {
	h := newHarness(t, nil)
	nodes := []*API{h.api}
	for range 2 {
		nodes = append(nodes, New(h.api.cfg))
	}
	tokens := func() (made []string) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() {
				token, err := n.FirstToken(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if token != "" {
					made = append(made, token)
				}
			})
		}
		all.Wait()
		return made
	}
	made := tokens()
	if len(made) != 1 {
		t.Fatalf("%d first tokens", len(made))
	}
	if r := h.as(made[0], "GET", "/admin_tokens", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if again := tokens(); len(again) != 0 {
		t.Errorf("after a restart: %d tokens", len(again))
	}
	other := h.token("other", RoleSuperAdmin)
	h.as(other, "DELETE", "/admin_tokens/first", "")
	if again := tokens(); len(again) != 0 {
		t.Error("a second first token, though there is another one")
	}
	h.as(other, "DELETE", "/admin_tokens/other", "")
	if again := tokens(); len(again) != 1 || again[0] == made[0] {
		t.Errorf("of a cluster that has none any more: %d tokens", len(again))
	}
}

// A try whose answer is lost is not the end: the next one gives the same token.
func TestFirstTokenUnconfirmed(t *testing.T) {
	h := newHarness(t, nil)
	lost := false
	h.cluster.before = func(c *fsm.Command) error {
		if c.Type != fsm.CommandWrite || lost {
			return nil
		}
		lost = true
		if _, err := h.cluster.apply(c); err != nil {
			return err
		}
		return ErrUnconfirmed
	}
	token, err := h.api.FirstToken(t.Context())
	if err != nil || token == "" || !lost {
		t.Fatalf("%q, %v", token, err)
	}
	if r := h.as(token, "GET", "/services", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.cluster.before = func(*fsm.Command) error { return ErrUnconfirmed }
	if _, err := h.api.FirstToken(ended); err == nil {
		t.Error("no error after the end of the context")
	}
}

// A stream ends when its token is revoked.
func TestWatchEndsWithItsToken(t *testing.T) {
	h := newHarness(t, nil)
	token := h.token("watcher", RoleReadOnly)
	server := httptest.NewServer(h.api.Guarded())
	defer server.Close()
	defer h.api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(headerToken, token)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewReader(resp.Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(line, ": watching") {
		t.Fatalf("%d %q %v", resp.StatusCode, line, err)
	}
	h.must(200, "PUT", "/services/seen", "host=h")
	h.must(204, "DELETE", "/admin_tokens/watcher", "")
	h.must(200, "PUT", "/services/unseen", "host=h")
	rest, err := io.ReadAll(events)
	if err != nil || strings.Contains(string(rest), "unseen") {
		t.Errorf("%q %v", rest, err)
	}
}
