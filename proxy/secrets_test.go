package proxy

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/internal/certs/certstest"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/vault"
)

// test-secret answers with its config's secret; test-unused has one that it does
// not use.
func init() {
	secret := schema.Field{Name: "secret", Type: schema.String, Referenceable: true}
	config := &schema.Schema{Name: "test-secret", Fields: []schema.Field{
		{Name: "config", Type: schema.Record, Fields: []schema.Field{secret, {Name: "server", Type: schema.Record, Fields: []schema.Field{secret}}}},
	}}
	answer := func(_ *plugin.Env, in *plugin.Instance) (any, error) {
		said, _ := in.Config["secret"].(string)
		return accessHook(func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(200, said) }), nil
	}
	plugin.Register(&plugin.Definition{Name: "test-secret", Version: "1", Priority: 5, Schema: config, New: answer})
	plugin.Register(&plugin.Definition{Name: "test-unused", Version: "1", Priority: 4, Schema: config, New: answer, Unused: []string{"server"}})
}

// environ is an environment that changes.
type environ struct {
	mu     sync.Mutex
	values map[string]string
}

func (e *environ) lookup(name string) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	value, ok := e.values[name]
	return value, ok
}

func (e *environ) set(name, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.values[name] = value
}

// withSecrets makes a world whose vault is an environment.
func withSecrets(t *testing.T) (*world, *environ) {
	w, e := newWorld(t), &environ{values: map[string]string{"A": "one", "X_A": "two"}}
	w.config.Vaults = vault.New(vault.Config{LookupEnv: e.lookup})
	return w, e
}

// problem gives the problem of an entity, or nil.
func (w *world) problem(id string) error {
	for _, p := range w.proxy.Problems() {
		if p.ID == id {
			return p.Err
		}
	}
	return nil
}

// TestSecretsOfPlugins: a plugin gets the values of its references, and one whose
// reference leads nowhere is the only thing that suffers.
func TestSecretsOfPlugins(t *testing.T) {
	w, e := withSecrets(t)
	add := func(path, name string, config object) string {
		route := w.route("", object{"paths": []string{path}})
		return w.put("plugins", object{"name": name, "enabled": true, "route": object{"id": route}, "config": config})
	}
	add("/plain", "test-secret", object{"secret": "plain"})
	add("/env", "test-secret", object{"secret": "{vault://env/a}"})
	byPrefix := add("/vault", "test-secret", object{"secret": "{vault://my-env/a}"})
	missing := add("/missing", "test-secret", object{"secret": "x", "server": object{"secret": "{vault://env/b}"}})
	unused := add("/unused", "test-unused", object{"secret": "fine", "server": object{"secret": "{vault://env/b}"}})
	w.start()
	w.get("/plain").want(t, 200, "plain")
	w.get("/env").want(t, 200, "one")
	w.get("/vault").want(t, 500, "")
	w.get("/missing").want(t, 500, "")
	w.get("/unused").want(t, 200, "fine")
	if err := w.problem(byPrefix); !errors.Is(err, vault.ErrNoVault) {
		t.Errorf("a vault that is not there: %v", err)
	}
	if err := w.problem(missing); !errors.Is(err, vault.ErrNoValue) || !strings.Contains(err.Error(), "server: secret: {vault://env/b}") {
		t.Errorf("a value that is not there: %v", err)
	}
	if err := w.problem(unused); err != nil {
		t.Errorf("what is not used: %v", err)
	}
	// a vault that comes, changes and goes takes its references along, and has all others read again
	id := w.put("vaults", object{"name": "env", "prefix": "my-env", "config": object{"prefix": "x-"}})
	w.get("/vault").want(t, 200, "two")
	if err := w.problem(byPrefix); err != nil {
		t.Errorf("a vault that is there: %v", err)
	}
	e.set("B", "b")
	w.put("vaults", object{"id": id, "name": "env", "prefix": "my-env", "config": nil})
	w.get("/vault").want(t, 200, "one")
	w.get("/missing").want(t, 200, "x")
	if err := w.proxy.Wait(t.Context(), w.apply(fsm.Op{Verb: fsm.Delete, Kind: "vaults", ID: id})); err != nil {
		t.Fatal(err)
	}
	w.get("/vault").want(t, 500, "")
}

// TestSecretsOfCertificates: a certificate's texts may be references, and one that
// leads nowhere leaves its names to the next best.
func TestSecretsOfCertificates(t *testing.T) {
	w, e := withSecrets(t)
	fallback, ours, rotated := certstest.SelfSigned("fallback"), certstest.SelfSigned("a.test"), certstest.SelfSigned("rotated")
	pair, err := tls.X509KeyPair([]byte(fallback.Cert), []byte(fallback.Key))
	if err != nil {
		t.Fatal(err)
	}
	w.config.Listen = []Listener{{Address: "127.0.0.1:0", TLS: true}}
	w.config.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	certificate := w.put("certificates", object{"cert": "{vault://env/cert}", "key": "{vault://env/key}"})
	w.put("snis", object{"name": "a.test", "certificate": object{"id": certificate}})
	w.start()
	served := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", w.addr(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	changeVaults := func(name string) { w.put("vaults", object{"name": "env", "prefix": name}) }
	if got := served(); got != "fallback" || !errors.Is(w.problem(certificate), vault.ErrNoValue) {
		t.Errorf("without values: %s, problem %v", got, w.problem(certificate))
	}
	e.set("CERT", ours.Cert)
	e.set("KEY", fallback.Key)
	changeVaults("one")
	if err := w.problem(certificate); served() != "fallback" || err == nil || strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Errorf("with another's key: %v", err)
	}
	e.set("KEY", ours.Key)
	changeVaults("two")
	if got := served(); got != "a.test" || w.problem(certificate) != nil {
		t.Errorf("with values: %s, problem %v", got, w.problem(certificate))
	}
	e.set("CERT", rotated.Cert)
	e.set("KEY", rotated.Key)
	changeVaults("three")
	if got := served(); got != "rotated" {
		t.Errorf("with other values: %s", got)
	}
}

// TestSecretsOfClientCertificates: what a service is shown may be a reference.
func TestSecretsOfClientCertificates(t *testing.T) {
	w, e := withSecrets(t)
	ours := certstest.SelfSigned("client")
	certificate := w.put("certificates", object{"cert": ours.Cert, "key": "{vault://env/key}"})
	service := w.put("services", object{
		"name": "s", "host": "127.0.0.1", "port": 1, "protocol": "https", "enabled": true, "client_certificate": object{"id": certificate},
	})
	w.route(service, object{"paths": []string{"/s"}})
	w.start()
	if err := w.problem(service); !errors.Is(err, vault.ErrNoValue) {
		t.Errorf("without a value: %v", err)
	}
	e.set("KEY", ours.Key)
	w.put("vaults", object{"name": "env", "prefix": "one"})
	if err := w.problem(service); err != nil {
		t.Errorf("with a value: %v", err)
	}
}
