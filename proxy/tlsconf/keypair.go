package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// keyPair is a chain with its key, and the staple it goes out with. Only the
// staple changes; safe for concurrent use.
type keyPair struct {
	bare   *tls.Certificate
	staple atomic.Pointer[staple]
}

// staple is a copy of a pair with an OCSP answer, good until a time.
type staple struct {
	cert  *tls.Certificate
	until time.Time
}

// at gives the certificate to send at a time: a staple that is over is worse
// than none.
func (p *keyPair) at(now time.Time) *tls.Certificate {
	if s := p.staple.Load(); s != nil && now.Before(s.until) {
		return s.cert
	}
	return p.bare
}

// stapled says whether at would give a staple.
func (p *keyPair) stapled(now time.Time) bool { return p.at(now) != p.bare }

func (p *keyPair) setStaple(answer []byte, until time.Time) {
	cert := *p.bare
	cert.OCSPStaple = answer
	p.staple.Store(&staple{cert: &cert, until: until})
}

// certificate is a parsed entity: one pair, or two of different kinds.
type certificate struct {
	id    string
	pairs []*keyPair // those that cost less first: ECDSA and Ed25519, then RSA
}

// resolved is an entity with the values of its references, of which some may have
// none.
type resolved struct {
	fsm.Certificate
	why, whyAlt error // why a pair has none
}

// same says that nothing would be read another way. A reference without a value
// is looked for every time.
func (r *resolved) same(other *resolved) bool {
	return r.Certificate == other.Certificate && r.why == nil && r.whyAlt == nil && other.why == nil && other.whyAlt == nil
}

func (r Resolve) certificate(v *fsm.View, c *fsm.Certificate) resolved {
	out := resolved{Certificate: *c}
	out.Cert, out.Key, out.why = r.values(v, c.Cert, c.Key)
	out.CertAlt, out.KeyAlt, out.whyAlt = r.values(v, c.CertAlt, c.KeyAlt)
	return out
}

// parse reads the pairs of an entity. If only one of two can be read, it is
// served, and the error tells of the other.
func parse(c *resolved) (*certificate, error) {
	out := &certificate{id: c.ID}
	var errs []error
	for _, p := range []struct {
		name, cert, key string
		why             error
	}{{"cert", c.Cert, c.Key, c.why}, {"cert_alt", c.CertAlt, c.KeyAlt, c.whyAlt}} {
		if p.cert == "" && p.key == "" && p.why == nil && p.name != "cert" {
			continue
		}
		pair, err := (*tls.Certificate)(nil), p.why
		if err == nil {
			pair, err = parsePair(p.cert, p.key)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		out.pairs = append(out.pairs, &keyPair{bare: pair})
	}
	slices.SortStableFunc(out.pairs, func(a, b *keyPair) int { return cost(a) - cost(b) })
	return out, errors.Join(errs...)
}

func cost(p *keyPair) int {
	if p.bare.Leaf.PublicKeyAlgorithm == x509.RSA {
		return 1
	}
	return 0
}

// pick gives the first pair that the client can use, or, so that the handshake
// fails for that reason, the first. Whether a pair is for the client's name is
// not asked: the SNI said that it is to be served.
func (c *certificate) pick(hello *tls.ClientHelloInfo) *keyPair {
	if len(c.pairs) == 1 {
		return c.pairs[0]
	}
	nameless := *hello
	nameless.ServerName = ""
	for _, p := range c.pairs {
		if nameless.SupportsCertificate(p.bare) == nil {
			return p
		}
	}
	return c.pairs[0]
}
