package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// object writes an object of strings, lists and objects as JSON.
func object(t testing.TB, fields map[string]any) string {
	t.Helper()
	text, err := encodeJSON(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func certificateBody(t testing.TB, p *certstest.Pair, snis any) string {
	t.Helper()
	fields := map[string]any{"cert": p.Cert, "key": p.Key}
	if snis != nil {
		fields["snis"] = snis
	}
	return object(t, fields)
}

func TestCertificateSNIs(t *testing.T) {
	h := newHarness(t, nil)
	pair := certstest.SelfSigned("a")
	with := func(snis any) string { return certificateBody(t, pair, snis) }
	first := `{"id":"` + someID + `",` + with([]string{"b.test", "a.test"})[1:]
	h.run(script{
		{"POST", "/certificates", first, 201, `"snis":["a.test","b.test"]`},
		{"POST", "/certificates", with([]string{"x.test", "x.test"}), 400, "schema violation (snis: x.test is duplicated)"},
		{"POST", "/certificates", with([]string{"c.test", "a.test"}), 400,
			"schema violation (snis: a.test already associated with existing certificate '" + someID + "')"},
		{"GET", "/snis/c.test", "", 404, "Not found"},
		{"GET", "/snis/a.test", "", 200, `"certificate":{"id":"` + someID + `"}`},
		{"GET", "/certificates/a.test", "", 200, `"id":"` + someID + `"`},
		{"GET", "/certificates/b.test", "", 200, `"snis":["a.test","b.test"]`},
		{"GET", "/certificates/c.test", "", 404, `{"message":"SNI not found"}`},
		{"GET", "/certificates/a.test:80", "", 400, `"code":10`},
		{"GET", "/certificates/" + otherID, "", 404, `could not find the entity with primary key '{id=\"` + otherID + `\"}'`},
		{"DELETE", "/certificates/c.test", "", 404, "SNI not found"},
		{"PATCH", "/certificates/c.test", "tags=x", 404, "SNI not found"},
		{"DELETE", "/certificates/" + otherID, "", 204, ""},
		{"GET", "/certificates", "", 200, `"snis":["a.test","b.test"]`},
		{"GET", "/certificates/a.test/snis", "", 200, `"name":"b.test"`},
		{"GET", "/certificates/" + someID + "/snis/a.test", "", 200, `"name":"a.test"`},
		{"GET", "/certificates/a.test/snis/nope", "", 404, "Not found"},
		{"GET", "/snis/a.test/certificate", "", 404, "Not found"},

		{"PATCH", "/certificates/a.test", "tags=x", 200, `"snis":["a.test","b.test"]`},
		{"PATCH", "/certificates/a.test", `{"snis":["b.test","c.test"]}`, 200, `"snis":["b.test","c.test"]`},
		{"GET", "/snis/a.test", "", 404, "Not found"},
		{"PATCH", "/certificates/c.test", `{"snis":"d.test"}`, 200, `"snis":["d.test"]`},
		{"PATCH", "/certificates/d.test", "snis[]=d.test&snis[]=e.test", 200, `"snis":["d.test","e.test"]`},
		{"PATCH", "/certificates/d.test", `{"snis":["*.*"]}`, 400, "snis.1: only one wildcard must be specified"},
		{"PATCH", "/certificates/d.test", `{"snis":null}`, 200, `"snis":[]`},
		{"PUT", "/certificates/" + someID, with([]string{"a.test"}), 200, `"snis":["a.test"]`},
		{"PUT", "/certificates/a.test", with(nil), 200, `"snis":[]`},
		{"PUT", "/certificates/" + someID, with([]string{"a.test"}), 200, `"snis":["a.test"]`},
		{"PUT", "/certificates/a.test", with([]string{"b.test"}), 200, `"snis":["a.test","b.test"]`},
		{"PUT", "/certificates/a.test", with([]string{"b.test"}), 200, `"id":"` + someID + `"`},
		{"PUT", "/certificates/new.test", with([]string{"more.test"}), 200, `"snis":["more.test","new.test"]`},
		{"PUT", "/certificates/" + otherID, with("one.test"), 200, `"snis":["one.test"]`},
		{"PUT", "/certificates/" + otherID, with([]string{"a.test"}), 400, "already associated with existing certificate '" + someID + "'"},

		{"POST", "/certificates/a.test/snis", "name=*.w.test", 201, `"name":"*.w.test"`},
		{"GET", "/snis/%2A.w.test", "", 200, `"name":"*.w.test"`},
		{"POST", "/snis", "name=*.w.test&certificate.id=" + someID, 409, `UNIQUE violation detected on '{name=\"*.w.test\"}'`},
		{"POST", "/snis", "name=n.test&certificate.id=" + nodeID, 400, "does not reference an existing 'certificates' entity."},
		{"PUT", "/snis/n.test", "certificate.id=" + otherID, 200, `"name":"n.test"`},
		{"PATCH", "/snis/n.test", "certificate.id=" + someID, 200, `"id":"` + someID + `"`},
		{"GET", "/certificates/" + someID, "", 200, `"snis":["*.w.test","a.test","b.test","n.test"]`},
		{"DELETE", "/certificates/a.test", "", 204, ""},
		{"GET", "/snis/n.test", "", 404, "Not found"},
		{"GET", "/snis/one.test", "", 200, `"id":"` + otherID + `"`},
	})
}

func TestServicesNameCertificates(t *testing.T) {
	h := newHarness(t, nil)
	root := certstest.Root("ca")
	ca := object(t, map[string]any{"id": otherID, "cert": root.Cert})
	service := `{"name":"s","url":"https://h","client_certificate":{"id":"` + someID + `"},"ca_certificates":["` + otherID + `"]}`
	h.run(script{
		{"POST", "/services", service, 400, `the foreign key '{id=\"` + someID + `\"}' does not reference an existing 'certificates' entity.`},
		{"POST", "/certificates", `{"id":"` + someID + `",` + certificateBody(t, root, []string{"a.test"})[1:], 201, ""},
		{"POST", "/services", service, 400, `the foreign key '{id=\"` + otherID + `\"}' does not reference an existing 'ca_certificates' entity.`},
		{"POST", "/ca_certificates", ca, 201, `"cert_digest":"`},
		{"POST", "/services", service, 201, `"client_certificate":{"id":"` + someID + `"}`},
		{"POST", "/services", `{"url":"http://h","client_certificate":{"id":"` + someID + `"}}`, 400, "client_certificate: value must be null"},
		{"GET", "/certificates/a.test/services", "", 200, `"name":"s"`},
		{"GET", "/services/s/client_certificate", "", 200, `"snis":["a.test"]`},
		{"DELETE", "/certificates/a.test", "", 400, "an existing 'services' entity references this 'certificates' entity"},
		{"GET", "/certificates/a.test", "", 200, `"snis":["a.test"]`},
		{"DELETE", "/ca_certificates/" + otherID, "", 400, `"code":19`},
		{"DELETE", "/ca_certificates/" + otherID, "", 400, "ca certificate " + otherID + " is still referenced by services (id = "},
		{"PATCH", "/services/s", `{"ca_certificates":null,"client_certificate":null}`, 200, `"ca_certificates":null`},
		{"DELETE", "/ca_certificates/" + otherID, "", 204, ""},
		{"DELETE", "/certificates/a.test", "", 204, ""},
	})
}

func TestCACertificates(t *testing.T) {
	h := newHarness(t, nil)
	root := certstest.Root("ca")
	leaf := root.Issue("leaf")
	body := func(cert string) string { return object(t, map[string]any{"cert": cert}) }
	h.run(script{
		{"POST", "/ca_certificates", "tags=x", 400, "schema violation (cert: required field missing)"},
		{"POST", "/ca_certificates", body(leaf.Cert), 400, `certificate does not appear to be a CA`},
		{"POST", "/ca_certificates", body(root.Cert + root.Cert), 400, "please submit only one certificate at a time"},
		{"POST", "/ca_certificates", body(root.Cert), 201, `"cert_digest":"`},
		{"POST", "/ca_certificates", body(root.Cert), 409, "UNIQUE violation detected on '{cert_digest="},
		{"PUT", "/ca_certificates/" + someID, body(certstest.Root("other").Cert), 200, `"id":"` + someID + `"`},
		{"GET", "/ca_certificates/nope", "", 400, `invalid primary key: '{id=\"expected a valid UUID\"}'`},
		{"PUT", "/ca_certificates/nope", body(root.Cert), 400, `"code":1`},
		{"GET", "/ca_certificates/" + otherID, "", 404, `{"message":"Not found"}`},
		{"POST", "/schemas/ca_certificates/validate", body(leaf.Cert), 400, `certificate does not appear to be a CA`},
	})
}

// TestCertificateRace: of two writers that claim a name at once, one gets it, and the other is told who has
// it, as if it had come later; and a name that moved meanwhile is not taken away again.
func TestCertificateRace(t *testing.T) {
	h := newHarness(t, nil)
	pair := certstest.SelfSigned("a")
	h.run(script{{"POST", "/certificates", `{"id":"` + someID + `",` + certificateBody(t, pair, []string{"old.test"})[1:], 201, ""}})
	raced := false
	h.cluster.before = func(*fsm.Command) error {
		if raced {
			return nil
		}
		raced = true
		if r := h.json("PATCH", "/certificates/"+someID, `{"snis":["old.test","mine.test"]}`); r.status != 200 {
			t.Errorf("the faster writer: %d %s", r.status, r.body)
		}
		return nil
	}
	r := h.json("POST", "/certificates", certificateBody(t, pair, []string{"mine.test"}))
	if want := "mine.test already associated with existing certificate '" + someID + "'"; r.status != 400 || !strings.Contains(r.message(t), want) {
		t.Errorf("the slower writer: %d %s", r.status, r.body)
	}

	h.run(script{{"PUT", "/certificates/" + otherID, certificateBody(t, pair, []string{"other.test"}), 200, ""}})
	raced = false
	h.cluster.before = func(*fsm.Command) error {
		if raced {
			return nil
		}
		raced = true
		if r := h.form("PATCH", "/snis/old.test", "certificate.id="+otherID); r.status != 200 {
			t.Errorf("the faster writer: %d %s", r.status, r.body)
		}
		return nil
	}
	h.run(script{
		{"PATCH", "/certificates/" + someID, `{"snis":[]}`, 200, `"snis":[]`},
		{"GET", "/certificates/" + otherID, "", 200, `"snis":["old.test","other.test"]`},
	})
}

// TestCertificateForm: PEM survives a form, as curl --data-urlencode and -F send it.
func TestCertificateForm(t *testing.T) {
	h := newHarness(t, nil)
	pair := certstest.SelfSigned("a", certstest.RSA)
	r := h.must(201, "POST", "/certificates", url.Values{"cert": {pair.Cert}, "key": {pair.Key}, "snis[]": {"b.test", "a.test"}}.Encode())
	fields := r.fields(t)
	names, _ := json.Marshal(fields["snis"])
	if fields["cert"] != pair.Cert || fields["key"] != pair.Key || string(names) != `["a.test","b.test"]` {
		t.Errorf("answered %s", r.body)
	}
	if !slices.Contains(h.get("/certificates").ids(t), fields["id"].(string)) {
		t.Error("the list does not have it")
	}
}

// TestCertificateWarnings: what is stored and will not do is said.
func TestCertificateWarnings(t *testing.T) {
	h := newHarness(t, nil)
	fine, old := certstest.SelfSigned("a"), certstest.SelfSigned("b", certstest.Valid(h.now.Add(-2*time.Hour), h.now.Add(-time.Hour)))
	for _, tt := range [][2]string{
		{certificateBody(t, fine, nil), ""},
		{certificateBody(t, old, nil), "cert: expired"},
		{object(t, map[string]any{"cert": fine.Cert, "key": "{vault://env/key}"}), ""},
	} {
		if r := h.json("POST", "/certificates", tt[0]); r.status != 201 || r.header.Get(headerWarning) != tt[1] {
			t.Errorf("%d, warning %q, want %q", r.status, r.header.Get(headerWarning), tt[1])
		}
	}
}

// TestKeysAreNotLogged: neither a refused nor an accepted certificate leaves its key in a log or an error.
func TestKeysAreNotLogged(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	var access bytes.Buffer
	h := newHarness(t, nil, func(cfg *Config) { cfg.Logger, cfg.AccessLog = zap.New(core), &access })
	pair, other := certstest.SelfSigned("a"), certstest.SelfSigned("b")
	secret := strings.Split(pair.Key, "\n")[1]
	for _, body := range []string{
		certificateBody(t, pair, []string{"a.test"}),
		certificateBody(t, pair, []string{"a.test"}),
		object(t, map[string]any{"cert": other.Cert, "key": pair.Key}),
		object(t, map[string]any{"cert": pair.Key, "key": pair.Key}),
		object(t, map[string]any{"cert": pair.Cert, "key": pair.Key[:len(pair.Key)/2]}),
		object(t, map[string]any{"cert": pair.Cert, "key": []any{pair.Key}}),
		object(t, map[string]any{"cert": pair.Cert, "key": pair.Key, "id": pair.Key[:20]}),
	} {
		r := h.json("POST", "/certificates", body)
		if r.status != 201 && bytes.Contains(r.body, []byte(secret)) {
			t.Errorf("the error shows the key: %s", r.body)
		}
	}
	h.cluster.before = func(*fsm.Command) error { return &fsm.Error{Code: fsm.CodeRefused, Message: "no"} }
	h.json("PUT", "/certificates/"+someID, certificateBody(t, pair, nil))
	for _, entry := range logged.All() {
		text, err := json.Marshal(entry.ContextMap())
		if err != nil || strings.Contains(entry.Message, secret) || bytes.Contains(text, []byte(secret)) {
			t.Errorf("logged: %s %s", entry.Message, text)
		}
	}
	if logged.Len() == 0 || access.Len() == 0 || strings.Contains(access.String(), secret) {
		t.Errorf("%d lines, access log %s", logged.Len(), access.String())
	}
}
