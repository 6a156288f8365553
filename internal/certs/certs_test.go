package certs

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func selfMade(t *testing.T, dir string, now time.Time) *tls.Certificate {
	t.Helper()
	cert, err := SelfMade(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSelfMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	now := time.Now()
	cert := selfMade(t, dir, now)
	leaf := cert.Leaf
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve.Params().Name != "P-256" {
		t.Errorf("key is %T", leaf.PublicKey)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > lifetime || life < lifetime-24*time.Hour {
		t.Errorf("valid for %s", life)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	host, _ := os.Hostname()
	for _, name := range []string{"localhost", host, "127.0.0.1", "::1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("directory holds %v", left)
	}
}

func TestSelfMadeIsKeptAndRenewed(t *testing.T) {
	dir := t.TempDir()
	start := time.Now()
	first := selfMade(t, dir, start)
	end := first.Leaf.NotAfter
	tests := []struct {
		name string
		now  time.Time
		kept bool
	}{
		{"at once", start, true},
		{"31 days before its end", end.Add(-31 * 24 * time.Hour), true},
		{"29 days before its end", end.Add(-29 * 24 * time.Hour), false},
	}
	for _, tt := range tests {
		got := selfMade(t, dir, tt.now)
		if kept := got.Leaf.Equal(first.Leaf); kept != tt.kept {
			t.Errorf("%s: kept is %v", tt.name, kept)
		}
		if !got.Leaf.NotAfter.After(tt.now.Add(renewBefore)) {
			t.Errorf("%s: ends %s", tt.name, got.Leaf.NotAfter)
		}
	}
}

// TestSelfMadeDamaged: what cannot be used is made anew, and the rest is an
// error that leaves the files alone.
func TestSelfMadeDamaged(t *testing.T) {
	other := t.TempDir()
	selfMade(t, other, time.Now())
	otherKey, err := os.ReadFile(filepath.Join(other, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func(dir string) error{
		"key of another":  func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), otherKey, 0o600) },
		"no key":          func(dir string) error { return os.Remove(filepath.Join(dir, keyFile)) },
		"no certificate":  func(dir string) error { return os.Remove(filepath.Join(dir, certFile)) },
		"half a file":     func(dir string) error { return os.Truncate(filepath.Join(dir, certFile), 100) },
		"an empty one":    func(dir string) error { return os.Truncate(filepath.Join(dir, keyFile), 0) },
		"nothing at all":  func(dir string) error { return os.RemoveAll(dir) },
		"no damage there": func(string) error { return nil },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			first := selfMade(t, dir, time.Now())
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			second := selfMade(t, dir, time.Now())
			if same := second.Leaf.Equal(first.Leaf); same != (name == "no damage there") {
				t.Errorf("the same certificate: %v", same)
			}
			if third := selfMade(t, dir, time.Now()); !third.Leaf.Equal(second.Leaf) {
				t.Error("the new one was not kept")
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, certFile), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := SelfMade(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "read the self-made certificate") {
			t.Errorf("error: %v", err)
		}
	})
}

// handshake gives the certificate that a client with this server name sees.
func handshake(t *testing.T, s *Source, name string) *x509.Certificate {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(server, &tls.Config{GetCertificate: s.GetCertificate}).Handshake() }()
	c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0]
}

func TestSourceReload(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := FromSelfMade(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first := handshake(t, s, "localhost")
	if !handshake(t, s, "unknown.example").Equal(first) {
		t.Error("an unknown name is not given the first certificate")
	}
	now = now.Add(lifetime)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	second := handshake(t, s, "localhost")
	if second.Equal(first) {
		t.Error("the certificate was not renewed")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("Reload from a file in place of a directory")
	}
	if !handshake(t, s, "localhost").Equal(second) {
		t.Error("a failed Reload changed the certificate")
	}
}

func TestFromFiles(t *testing.T) {
	dir := t.TempDir()
	selfMade(t, dir, time.Now())
	cert, key := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	s, err := FromFiles([]string{cert}, []string{key})
	if err != nil {
		t.Fatal(err)
	}
	if got := handshake(t, s, "localhost"); got.Subject.CommonName != "localhost" {
		t.Errorf("certificate of %s", got.Subject)
	}
	for name, files := range map[string][2][]string{
		"none":         {},
		"no key":       {{cert}, nil},
		"missing":      {{cert + ".not"}, {key}},
		"missing key":  {{cert}, {key + ".not"}},
		"wrong way up": {{key}, {cert}},
	} {
		if _, err := FromFiles(files[0], files[1]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
