package tlsconf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// responder is an OCSP responder on loopback, whose answers a test sets.
type responder struct {
	t      *testing.T
	server *httptest.Server

	mu     sync.Mutex
	asked  int
	answer func(w http.ResponseWriter, serial *ocsp.Request)
}

func newResponder(t *testing.T) *responder {
	r := &responder{t: t}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		question, err := ocsp.ParseRequest(body)
		if err != nil || req.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("question: %v, %s", err, req.Header)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		r.answer(w, question)
	}))
	t.Cleanup(r.server.Close)
	return r
}

func (r *responder) set(answer func(w http.ResponseWriter, q *ocsp.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *responder) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// signed answers what the template says, signed by signer.
func (r *responder) signed(issuer *x509.Certificate, signer *certstest.Pair, embed bool, template ocsp.Response) func(http.ResponseWriter, *ocsp.Request) {
	return func(w http.ResponseWriter, q *ocsp.Request) {
		template.SerialNumber, template.IssuerHash = q.SerialNumber, crypto.SHA1
		if embed {
			template.Certificate = signer.Leaf
		}
		answer, err := ocsp.CreateResponse(issuer, signer.Leaf, template, signer.Signer)
		if err != nil {
			r.t.Error(err)
		}
		_, _ = w.Write(answer) // the client may have left
	}
}

func (r *responder) client() *http.Client { return r.server.Client() }

// TestOCSPAnswers: only an answer that says good, for now, from whom it may come
// from is stapled, and none of the others keeps the handshake from going
// through.
func TestOCSPAnswers(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	r := newResponder(t)
	root := certstest.Root("ca")
	leaf := root.Issue("leaf", certstest.OCSP(r.server.URL), certstest.Names("a.test"))
	withRoot := *leaf
	withRoot.Cert += root.Cert
	appointed, expired := root.Issue("o", certstest.ExtKeyUsage(x509.ExtKeyUsageOCSPSigning)), root.Issue("e", certstest.ExtKeyUsage(x509.ExtKeyUsageOCSPSigning), certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	good := ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	with := func(change func(*ocsp.Response)) ocsp.Response {
		r := good
		change(&r)
		return r
	}
	raw := func(status int, body []byte) func(http.ResponseWriter, *ocsp.Request) {
		return func(w http.ResponseWriter, _ *ocsp.Request) {
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	tests := map[string]struct {
		answer  func(http.ResponseWriter, *ocsp.Request)
		stapled bool
		problem error // in Problems
	}{
		"good":                 {r.signed(root.Leaf, root, false, good), true, nil},
		"good, without an end": {r.signed(root.Leaf, root, false, with(func(r *ocsp.Response) { r.NextUpdate = time.Time{} })), true, nil},
		"good, by delegation":  {r.signed(root.Leaf, appointed, true, good), true, nil},
		"not appointed":        {r.signed(root.Leaf, root.Issue("x"), true, good), false, nil},
		"appointed once":       {r.signed(root.Leaf, expired, true, good), false, nil},
		"a stranger":           {r.signed(root.Leaf, certstest.Root("ca"), false, good), false, nil},
		"revoked": {r.signed(root.Leaf, root, false, with(func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now })),
			false, ErrRevoked},
		"unknown":      {r.signed(root.Leaf, root, false, with(func(r *ocsp.Response) { r.Status = ocsp.Unknown })), false, nil},
		"over":         {r.signed(root.Leaf, root, false, with(func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Minute) })), false, nil},
		"of tomorrow":  {r.signed(root.Leaf, root, false, with(func(r *ocsp.Response) { r.ThisUpdate = now.Add(time.Hour / 2) })), false, nil},
		"an error":     {raw(500, nil), false, nil},
		"try later":    {raw(200, ocsp.TryLaterErrorResponse), false, nil},
		"garbage":      {raw(200, []byte("garbage")), false, nil},
		"nothing":      {raw(200, nil), false, nil},
		"far too much": {raw(200, bytes.Repeat([]byte("0"), maxAnswer+2)), false, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r.set(tt.answer)
			s := newState(t)
			s.certificate(idA, &withRoot, nil)
			s.sni(idA, "a.test", idA)
			stapler := NewStapler(StaplerConfig{Client: r.client(), Now: (&clock{now}).now})
			c := NewCertificates(Config{Fallback: fallback(leaf), Stapler: stapler, Now: (&clock{now}).now})
			c.Update(s.view())
			stapler.pass(t.Context())
			client := &tls.Config{ServerName: "a.test", RootCAs: root.Pool()}
			m := meet(t, client, Server{GetCertificate: c.GetCertificate}.TLSConfig())
			if m.leaf(t) != "leaf" || (len(m.client.OCSPResponse) > 0) != tt.stapled {
				t.Errorf("a staple of %d bytes", len(m.client.OCSPResponse))
			}
			problems := stapler.Problems()
			if (len(problems) > 0) != (tt.problem != nil) || tt.problem != nil && !errors.Is(problems[0].Err, tt.problem) {
				t.Errorf("problems %v", problems)
			}
		})
	}
}

// TestStapleLife: a staple is asked for again at half of its time, outlives
// failures until its end, and is not sent after that.
func TestStapleLife(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	now := &clock{start}
	r := newResponder(t)
	root := certstest.Root("ca")
	leaf := root.Issue("leaf", certstest.OCSP(r.server.URL), certstest.MustStaple)
	leaf.Cert += root.Cert
	s := newState(t)
	s.certificate(idA, leaf, nil)
	s.sni(idA, "a.test", idA)
	stapler := NewStapler(StaplerConfig{Client: r.client(), Now: now.now})
	c := NewCertificates(Config{Fallback: fallback(leaf), Stapler: stapler, Now: now.now})
	c.Update(s.view())

	good := func() {
		r.set(r.signed(root.Leaf, root, false, ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Time, NextUpdate: now.Add(4 * time.Hour)}))
	}
	bad := func() { r.set(func(w http.ResponseWriter, _ *ocsp.Request) { w.WriteHeader(503) }) }
	steps := []struct {
		name     string
		at       time.Duration
		before   func()
		asked    int
		stapled  bool
		problems int
	}{
		{"the first time", 0, good, 1, true, 0},
		{"nothing to do", time.Hour, nil, 1, true, 0},
		{"half of it is over", 2 * time.Hour, bad, 2, true, 0},
		{"again soon", 2*time.Hour + time.Minute, nil, 3, true, 0},
		{"it is over", 4 * time.Hour, nil, 4, false, 1},
		{"back", 6 * time.Hour, good, 5, true, 0},
		{"refreshed", 8 * time.Hour, good, 6, true, 0},
	}
	for _, step := range steps {
		now.Time = start.Add(step.at)
		if step.before != nil {
			step.before()
		}
		next := stapler.pass(t.Context())
		cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		if r.times() != step.asked || (cert.OCSPStaple != nil) != step.stapled || len(stapler.Problems()) != step.problems || !next.After(now.Time) {
			t.Errorf("%s: asked %d times, stapled %v, problems %v, next in %v", step.name, r.times(), cert.OCSPStaple != nil, stapler.Problems(), next.Sub(now.Time))
		}
	}
	s.put("certificates", idA, map[string]any{"cert": leaf.Cert, "key": leaf.Key, "tags": []string{"x"}})
	c.Update(s.view())
	if cert, _ := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.test"}); cert.OCSPStaple == nil {
		t.Error("a new tag cost the staple")
	}
	s.delete("certificates", idA)
	c.Update(s.view())
	now.Time = start.Add(100 * time.Hour)
	if stapler.pass(t.Context()); r.times() != 6 {
		t.Error("a deleted certificate is asked about")
	}
}

// TestMustStaple: a certificate that clients refuse without a staple is told of,
// also where nobody can be asked for one.
func TestMustStaple(t *testing.T) {
	root := certstest.Root("ca")
	s := newState(t)
	s.certificate(idA, root.Issue("nobody to ask", certstest.MustStaple), nil)
	s.certificate(idB, root.Issue("no issuer", certstest.MustStaple, certstest.OCSP("http://127.0.0.1:1/")), nil)
	s.certificate(idC, root.Issue("does not need one", certstest.OCSP("ftp://127.0.0.1/")), nil)
	stapler := NewStapler(StaplerConfig{})
	c := NewCertificates(Config{Fallback: fallback(root), Stapler: stapler})
	c.Update(s.view())
	stapler.pass(t.Context())
	problems := stapler.Problems()
	if len(problems) != 2 || problems[0].ID != idA || problems[1].ID != idB || !errors.Is(problems[0].Err, ErrMustStaple) || !errors.Is(problems[1].Err, errNoIssuer) {
		t.Errorf("problems %v", problems)
	}
}

// TestDeadResponder: a host that does not answer is not asked about every one of
// its certificates.
func TestDeadResponder(t *testing.T) {
	asked := make(chan struct{}, 100)
	dead := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		asked <- struct{}{}
		return nil, errors.New("connection refused")
	})}
	root := certstest.Root("ca")
	s := newState(t)
	for i := range 40 {
		leaf := root.Issue("leaf", certstest.OCSP("http://dead.test/"))
		leaf.Cert += root.Cert
		s.certificate(strings.Replace(idA, "aaaaaaaa", "aaaaaa"+string(rune('0'+i/10))+string(rune('0'+i%10)), 1), leaf, nil)
	}
	stapler := NewStapler(StaplerConfig{Client: dead})
	NewCertificates(Config{Fallback: fallback(root), Stapler: stapler}).Update(s.view())
	stapler.pass(t.Context())
	if n := len(asked); n < patience || n > patience+atOnce {
		t.Errorf("asked %d times", n)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRun: the staple of a certificate that comes while Run runs is there soon,
// and Run ends with its context, also while it asks.
func TestRun(t *testing.T) {
	r := newResponder(t)
	root := certstest.Root("ca")
	leaf := root.Issue("leaf", certstest.OCSP(r.server.URL))
	leaf.Cert += root.Cert
	now := time.Now()
	r.set(r.signed(root.Leaf, root, false, ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}))
	stapler := NewStapler(StaplerConfig{Client: r.client()})
	c := NewCertificates(Config{Fallback: fallback(root), Stapler: stapler})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); stapler.Run(ctx) }()
	s := newState(t)
	s.certificate(idA, leaf, nil)
	s.sni(idA, "a.test", idA)
	c.Update(s.view())
	server := Server{GetCertificate: c.GetCertificate}.TLSConfig()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if m := meet(t, careless("a.test"), server); m.leaf(t) == "leaf" && m.client.OCSPResponse != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no staple")
		}
	}
	asking := make(chan struct{})
	release := make(chan struct{})
	r.set(func(http.ResponseWriter, *ocsp.Request) { close(asking); <-release })
	other := root.Issue("other", certstest.OCSP(r.server.URL))
	other.Cert += root.Cert
	s.certificate(idB, other, nil)
	c.Update(s.view())
	<-asking
	cancel()
	<-done
	close(release)
}
