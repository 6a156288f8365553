package certs

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMaterial(t *testing.T) {
	pem := certstest.SelfSigned("a").Cert
	for name, setting := range map[string]string{
		"path":    write(t, "c.pem", pem),
		"content": pem,
		"base64":  base64.StdEncoding.EncodeToString([]byte(pem)),
	} {
		if got, err := Material(setting); err != nil || string(got) != pem {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestErrorsDoNotQuoteContent: a key that was given as content, damaged or not,
// is never part of an error.
func TestErrorsDoNotQuoteContent(t *testing.T) {
	a, b := certstest.SelfSigned("a"), certstest.SelfSigned("b")
	secret := strings.Split(a.Key, "\n")[1]
	encoded := base64.StdEncoding.EncodeToString([]byte(a.Key))
	for name, pair := range map[string][2]string{
		"mismatch":         {b.Cert, a.Key},
		"swapped":          {a.Key, a.Cert},
		"damaged base64":   {a.Cert, encoded[:len(encoded)-3] + "*"},
		"base64, mismatch": {b.Cert, encoded},
		"key as a path":    {a.Cert, strings.ReplaceAll(a.Key, "-----BEGIN", "----BEGIN")},
		"missing file":     {write(t, "c.pem", a.Cert), "/nowhere.pem"},
	} {
		_, err := Pair(pair[0], pair[1])
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), encoded[40:80]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Pair(a.Cert, encoded); err != nil {
		t.Errorf("a good pair: %v", err)
	}
}

func TestTrust(t *testing.T) {
	a, b := certstest.Root("a"), certstest.Root("b")
	both := write(t, "ca.pem", a.Cert+b.Key+b.Cert)
	pool, digest, err := Trust([]string{both})
	if err != nil {
		t.Fatal(err)
	}
	want := a.Pool()
	want.AddCert(b.Leaf)
	if !pool.Equal(want) {
		t.Error("the pool is not of both")
	}
	if _, again, _ := Trust([]string{a.Cert, b.Cert}); again != digest {
		t.Error("equal trust has two digests")
	}
	for _, other := range [][]string{nil, {a.Cert}, {System}, {System, both}} {
		if _, d, err := Trust(other); err != nil || d == digest {
			t.Errorf("%d entries: same digest, or %v", len(other), err)
		}
	}
	if _, _, err := Trust([]string{b.Key}); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("a key alone: %v", err)
	}
	if _, _, err := Trust([]string{"/nowhere.pem"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestKindsOfKeys: with a pair of each kind, a client gets the one it can use,
// also for a name that no pair is for.
func TestKindsOfKeys(t *testing.T) {
	rsa, ecdsa := certstest.SelfSigned("rsa", certstest.RSA, certstest.Names("a.test")), certstest.SelfSigned("ecdsa", certstest.Names("a.test"))
	s, err := FromFiles([]string{ecdsa.Cert, rsa.Cert}, []string{ecdsa.Key, rsa.Key})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.test", "other.test"} {
		for want, schemes := range map[string][]tls.SignatureScheme{
			"ecdsa": {tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}, "rsa": {tls.PSSWithSHA256},
		} {
			hello := &tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: schemes,
				SupportedCurves: []tls.CurveID{tls.X25519}}
			if cert, err := s.GetCertificate(hello); err != nil || cert.Leaf.Subject.CommonName != want {
				t.Errorf("%s wants %s: %v, %v", name, want, cert.Leaf.Subject, err)
			}
		}
	}
}
