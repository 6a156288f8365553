package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func keyFile(t *testing.T, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSign(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	tests := []struct {
		algorithm, secret, keyFile string
		verify                     any
	}{
		{"HS256", "s", "", []byte("s")}, {"HS384", "s", "", []byte("s")}, {"HS512", "s", "", []byte("s")},
		{"RS256", "", keyFile(t, rsaKey), &rsaKey.PublicKey}, {"PS512", "", keyFile(t, rsaKey), &rsaKey.PublicKey},
		{"ES256", "", keyFile(t, ecKey), &ecKey.PublicKey}, {"EdDSA", "", keyFile(t, edKey), edPublic},
	}
	for _, tt := range tests {
		o := tokenOptions{key: "k1", secret: tt.secret, privateKey: tt.keyFile, algorithm: tt.algorithm, keyClaim: "iss", lifetime: time.Minute,
			claims: []string{"sub=alice", "n=12345678901234567", "roles=[\"a\"]", "eq=a=b"}}
		token, err := o.sign(now)
		if err != nil {
			t.Errorf("%s: %v", tt.algorithm, err)
			continue
		}
		claims := jwt.MapClaims{}
		_, err = jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return tt.verify, nil },
			jwt.WithValidMethods([]string{tt.algorithm}), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithJSONNumber())
		if err != nil {
			t.Errorf("%s: %v", tt.algorithm, err)
		}
		want := jwt.MapClaims{"iss": "k1", "iat": json.Number("1800000000"), "nbf": json.Number("1800000000"), "exp": json.Number("1800000060"),
			"sub": "alice", "n": json.Number("12345678901234567"), "roles": []any{"a"}, "eq": "a=b"}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("%s: claims (-want +got):\n%s", tt.algorithm, diff)
		}
	}
}

func TestSignRefusals(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]tokenOptions{
		`unknown algorithm "none"`:    {algorithm: "none"},
		`unknown algorithm "HS1"`:     {algorithm: "HS1"},
		"HS256 needs --secret":        {algorithm: "HS256"},
		"RS256 needs --private-key":   {algorithm: "RS256", secret: "s"},
		"private key: open":           {algorithm: "RS256", privateKey: "/no/such/file"},
		"for RS256":                   {algorithm: "RS256", privateKey: keyFile(t, ecKey)},
		"sign with ES384":             {algorithm: "ES384", privateKey: keyFile(t, ecKey)},
		`--claim "x" is not name=val`: {algorithm: "HS256", secret: "s", claims: []string{"x"}},
	}
	for want, o := range tests {
		if token, err := o.sign(time.Now()); err == nil || !strings.Contains(err.Error(), want) || token != "" {
			t.Errorf("want %s, got %q, %v", want, token, err)
		}
	}
}

// fakeAdmin answers like the Admin API of a gateway with these credentials.
type fakeAdmin struct {
	consumers   map[string]bool
	credentials []credential
	calls       []string
}

func (f *fakeAdmin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/consumers/"), "/jwt")
	var body map[string]string
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch {
	case r.URL.Path == "/consumers":
		f.consumers[body["username"]] = true
		writeJSON(w, http.StatusCreated, body)
	case !f.consumers[name]:
		writeJSON(w, http.StatusNotFound, map[string]string{"message": "Not found"})
	case !strings.HasSuffix(r.URL.Path, "/jwt"):
		writeJSON(w, http.StatusOK, map[string]string{"username": name})
	case r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]any{"data": f.credentials})
	default:
		made := credential{Key: "made", Secret: "new", Algorithm: "HS256"}
		if a := body["algorithm"]; a != "" {
			made.Algorithm = a
		}
		f.credentials = append(f.credentials, made)
		writeJSON(w, http.StatusCreated, made)
	}
}

func TestFromConsumer(t *testing.T) {
	hs := credential{Key: "hs", Secret: "s1", Algorithm: "HS256"}
	rs := credential{Key: "rs", Algorithm: "RS256"}
	tests := []struct {
		name        string
		known       bool
		credentials []credential
		options     tokenOptions
		want        credential
		calls       int
		err         string
	}{
		{"everything is made", false, nil, tokenOptions{}, credential{Key: "made", Secret: "new", Algorithm: "HS256"}, 4, ""},
		{"a credential is made", true, []credential{rs}, tokenOptions{}, credential{Key: "made", Secret: "new", Algorithm: "HS256"}, 3, ""},
		{"nothing is made", true, []credential{rs, hs}, tokenOptions{}, hs, 2, ""},
		{"another algorithm", true, []credential{hs}, tokenOptions{algorithm: "HS512"}, credential{Key: "made", Secret: "new", Algorithm: "HS512"}, 3, ""},
		{"private key", true, []credential{hs, rs}, tokenOptions{privateKey: "x"}, rs, 2, ""},
		{"private key for nothing", true, []credential{hs}, tokenOptions{privateKey: "x"}, credential{}, 2, "no credential for --private-key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			admin := &fakeAdmin{consumers: map[string]bool{"alice": tt.known}, credentials: tt.credentials}
			server := httptest.NewServer(admin)
			defer server.Close()
			client, err := (&adminOptions{url: server.URL}).client()
			if err != nil {
				t.Fatal(err)
			}
			o := tt.options
			o.consumer = "alice"
			err = o.fromConsumer(t.Context(), client)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if got := (credential{Key: o.key, Secret: o.secret, Algorithm: o.algorithm}); err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if len(admin.calls) != tt.calls {
				t.Errorf("calls: %q", admin.calls)
			}
		})
	}
}

func TestAdminClient(t *testing.T) {
	for _, bad := range []string{"", "localhost:8001", "ftp://x", "http://", "http://a b"} {
		if _, err := (&adminOptions{url: bad}).client(); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "<html>not JSON</html>", http.StatusBadGateway)
	}))
	client, err := (&adminOptions{url: server.URL + "/"}).client()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.call(t.Context(), "GET", "/", nil, nil); err == nil || err.Error() != "the Admin API answered 502: <html>not JSON</html>" {
		t.Errorf("error: %v", err)
	}
	server.Close()
	if err := client.call(t.Context(), "GET", "/", nil, nil); err == nil || !strings.Contains(err.Error(), "is the node running?") {
		t.Errorf("error: %v", err)
	}
}
