// Package tlsconf makes what the proxy speaks TLS with: the certificate of each
// handshake with a client, out of the entities certificates and snis; the keys
// of session tickets; OCSP staples; and the configuration of connections to
// services. See DESIGN.md.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// Errors of entities that cannot be used as they are, found with errors.Is.
// None quotes a key.
var (
	// ErrVault: the value is a {vault://...} reference, and there are no vaults.
	ErrVault = errors.New("there are no vaults")
	// ErrMissing: an entity is named that is not there.
	ErrMissing = errors.New("is not there")
	// ErrShadowed: the name is that of another SNI, but for its case.
	ErrShadowed = errors.New("another SNI has the same name in another spelling")
	// ErrRevoked: the responder says that the certificate is revoked.
	ErrRevoked = errors.New("the certificate is revoked")
	// ErrMustStaple: the certificate demands a staple, and there is none.
	ErrMustStaple = errors.New("the certificate demands an OCSP staple, and there is none")
	// ErrDepth: a service's chain is longer than tls_verify_depth allows.
	ErrDepth = errors.New("certificate chain too long")
)

// Problem is an entity that cannot be served as it is; all others can.
type Problem struct {
	// Kind is certificates, snis, ca_certificates or services.
	Kind, ID string
	Err      error
}

// Resolve gives the value of a reference in a view's configuration, or why there
// is none; its error must not quote a value. nil has no vaults.
type Resolve func(v *fsm.View, reference string) (string, error)

// values gives the values of two texts, each of which may be a reference.
func (r Resolve) values(v *fsm.View, cert, key string) (string, string, error) {
	for _, text := range []*string{&cert, &key} {
		if !schema.IsReference(*text) {
			continue
		}
		if r == nil {
			return "", "", ErrVault
		}
		value, err := r(v, *text)
		if err != nil {
			return "", "", err
		}
		*text = value
	}
	return cert, key, nil
}

// parsePair reads a chain and its key.
func parsePair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil { // with GODEBUG=x509keypairleaf=0
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &pair, nil
}

// typed gives the typed view of an entity, or nil if it is not there.
func typed[T any](from Getter, kind, id string) (*T, error) {
	if e := from.Get(kind, id); e != nil {
		if value, ok := e.Value.(*T); ok {
			return value, nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", kind, id, ErrMissing)
}

// Getter finds entities by id; *fsm.View is one.
type Getter interface {
	Get(kind, id string) *fsm.Entity
}
