package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// TestNames: which certificate a name gets. A host of two labels has no
// wildcard before it, as in Kong.
func TestNames(t *testing.T) {
	s := newState(t)
	for i, name := range []string{"www.example.com", "*.example.com", "example.*", "*.sub.example.com", "api.example.*", "Mixed.Example.org", "*.co.uk"} {
		pair := certstest.SelfSigned(name)
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
		s.certificate(id, pair, nil)
		s.sni(id, name, id)
	}
	for _, star := range []bool{false, true} {
		other := "fallback"
		if star {
			other = "*"
			s.certificate(idA, certstest.SelfSigned("*"), nil)
			s.sni(idA, "*", idA)
		}
		c := NewCertificates(Config{Fallback: fallback(certstest.SelfSigned("fallback"))})
		if ps := c.Update(s.view()); len(ps) != 0 {
			t.Fatalf("problems: %v", ps)
		}
		for name, want := range map[string]string{
			"www.example.com": "www.example.com", "WWW.Example.COM": "www.example.com", "other.example.com": "*.example.com",
			"api.example.com": "*.example.com", "api.example.org": "api.example.*", "example.com": "example.*", "example.org": "example.*",
			"a.sub.example.com": "*.sub.example.com", "sub.example.com": "*.example.com", "a.b.sub.example.com": other,
			"mixed.example.org": "Mixed.Example.org", "bbc.co.uk": "*.co.uk", "co.uk": other, "localhost": other, "other.org": other,
			"": "fallback", ".": other, "..": other, ".example.com": other, "a..com": other,
		} {
			cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
			if err != nil || cert.Leaf.Subject.CommonName != want {
				t.Errorf("%q (star %v): %v, %v, want %s", name, star, cert.Leaf.Subject, err, want)
			}
		}
	}
}

// TestKinds: of two pairs a client gets the one it can use, the cheaper one if
// it can use both, also for a name that the certificates are not made for.
func TestKinds(t *testing.T) {
	s := newState(t)
	ecdsa, rsa := certstest.SelfSigned("ecdsa"), certstest.SelfSigned("rsa", certstest.RSA)
	s.certificate(idA, rsa, ecdsa)
	s.sni(idA, "both.test", idA)
	s.certificate(idB, rsa, nil)
	s.sni(idB, "rsa.test", idB)
	c := NewCertificates(Config{Fallback: fallback(ecdsa)})
	c.Update(s.view())
	server := Server{GetCertificate: c.GetCertificate}.TLSConfig()
	old := func(suite uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite} }
	}
	tests := map[string]struct {
		name   string
		client func(*tls.Config)
		want   string
	}{
		"any client":          {"both.test", func(*tls.Config) {}, "ecdsa"},
		"TLS 1.2":             {"both.test", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "ecdsa"},
		"RSA only":            {"both.test", old(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), "rsa"},
		"ECDSA only":          {"both.test", old(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), "ecdsa"},
		"an RSA pair alone":   {"rsa.test", func(*tls.Config) {}, "rsa"},
		"nothing that can be": {"rsa.test", old(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := careless(tt.name)
			tt.client(client)
			m := meet(t, client, server)
			if tt.want == "" {
				if m.clientErr == nil {
					t.Error("the handshake went through")
				}
				return
			}
			if got := m.leaf(t); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestBrokenCertificates: what cannot be read is told and left out; its names go
// to the next best certificate, and all others are served.
func TestBrokenCertificates(t *testing.T) {
	s := newState(t)
	wild, good, alt := certstest.SelfSigned("wild"), certstest.SelfSigned("good"), certstest.SelfSigned("alt", certstest.RSA)
	s.certificate(idA, wild, nil)
	s.sni(idA, "*.a.test", idA)
	s.put("certificates", idB, map[string]any{"cert": good.Cert, "key": wild.Key})
	s.sni(idB, "bad.a.test", idB)
	s.put("certificates", idC, map[string]any{"cert": good.Cert, "key": good.Key, "cert_alt": alt.Cert, "key_alt": "{vault://env/key}"})
	s.sni(idC, "half.a.test", idC)
	s.sni(idD, "HALF.a.test", idA)
	c := NewCertificates(Config{Fallback: fallback(good)})
	problems := c.Update(s.view())
	want := []Problem{{"certificates", idB, nil}, {"certificates", idC, ErrVault}, {"snis", idD, ErrShadowed}}
	for i, p := range problems {
		if i >= len(want) || p.Kind != want[i].Kind || p.ID != want[i].ID || want[i].Err != nil && !errors.Is(p.Err, want[i].Err) {
			t.Errorf("problem %d is %+v", i, p)
		}
		if strings.Contains(p.Err.Error(), strings.Split(wild.Key, "\n")[1]) {
			t.Errorf("the problem shows a key: %v", p.Err)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems", len(problems))
	}
	for name, want := range map[string]string{"bad.a.test": "wild", "half.a.test": "good", "x.a.test": "wild"} {
		cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || cert.Leaf.Subject.CommonName != want {
			t.Errorf("%s: %v, %v, want %s", name, cert.Leaf.Subject, err, want)
		}
	}
	if again := c.Update(s.view()); len(again) != len(problems) {
		t.Errorf("%d problems of an unchanged view", len(again))
	}
}

// TestUnchangedIsKept: a certificate whose PEM stays is not read again, whatever
// happens to it or around it.
func TestUnchangedIsKept(t *testing.T) {
	s := newState(t)
	a := certstest.SelfSigned("a")
	s.certificate(idA, a, nil)
	s.sni(idA, "a.test", idA)
	c := NewCertificates(Config{Fallback: fallback(a)})
	served := func() *tls.Certificate {
		c.Update(s.view())
		cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	before := served()
	s.put("certificates", idA, map[string]any{"cert": a.Cert, "key": a.Key, "tags": []string{"new"}})
	s.certificate(idB, certstest.SelfSigned("b"), nil)
	s.sni(idB, "b.test", idB)
	if served() != before {
		t.Error("it was read again for a tag")
	}
	s.certificate(idA, certstest.SelfSigned("new"), nil)
	if served().Leaf.Subject.CommonName != "new" {
		t.Error("the new one is not served")
	}
	s.delete("certificates", idA)
	if served().Leaf.Subject.CommonName != "a" {
		t.Error("a deleted one is served")
	}
}

// TestHotSwap: no handshake fails while certificates change under it, and one
// that begins after Update gets what it brought.
func TestHotSwap(t *testing.T) {
	s := newState(t)
	pairs := []*certstest.Pair{certstest.SelfSigned("0"), certstest.SelfSigned("1", certstest.RSA)}
	s.certificate(idA, pairs[0], nil)
	s.sni(idA, "a.test", idA)
	c := NewCertificates(Config{Fallback: fallback(certstest.SelfSigned("fallback"))})
	c.Update(s.view())
	server := Server{GetCertificate: c.GetCertificate, Tickets: NewTickets(time.Hour, nil, nil)}.TLSConfig("http/1.1")
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				m := meet(t, careless("a.test"), server)
				if m.clientErr != nil || m.serverErr != nil || m.client.PeerCertificates[0].Subject.CommonName == "fallback" {
					t.Errorf("client %v, server %v", m.clientErr, m.serverErr)
					return
				}
			}
		})
	}
	for i := range 40 {
		s.certificate(idA, pairs[i%2], nil)
		c.Update(s.view())
		if got := meet(t, careless("a.test"), server).leaf(t); got != fmt.Sprint(i%2) {
			t.Errorf("after update %d: %s", i, got)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// FuzzNames: no name panics, and what a name gets is its own, a wildcard that
// covers it, or the fallback.
func FuzzNames(f *testing.F) {
	s := newState(f)
	pair := certstest.SelfSigned("x")
	s.certificate(idA, pair, nil)
	s.sni(idA, "*.a.test", idA)
	s.sni(idB, "a.*", idA)
	c := NewCertificates(Config{Fallback: fallback(certstest.SelfSigned("fallback"))})
	c.Update(s.view())
	for _, name := range []string{"", ".", "a.test", "b.a.test", "*.a.test", "a.", "\xff.a.test", "a..test"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		lower := strings.ToLower(name)
		covered := strings.HasSuffix(lower, ".a.test") || strings.HasPrefix(lower, "a.")
		if cert.Leaf.Subject.CommonName == "x" && !covered {
			t.Fatalf("%q got a certificate", name)
		}
	})
}

func BenchmarkGetCertificate(b *testing.B) {
	s := newState(b)
	pair := certstest.SelfSigned("x")
	s.certificate(idA, pair, nil)
	s.sni(idA, "*.example.com", idA)
	c := NewCertificates(Config{Fallback: fallback(pair)})
	c.Update(s.view())
	hello := &tls.ClientHelloInfo{ServerName: "www.example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
}
