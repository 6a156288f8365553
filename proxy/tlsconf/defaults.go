package tlsconf

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/sluicegate/sluice/internal/certs"
)

// Defaults are what services that do not say otherwise are spoken to with.
type Defaults struct {
	// Roots verify services (Kong's lua_ssl_trusted_certificate); nil is the
	// system's. RootsDigest tells equal roots from others.
	Roots       *x509.CertPool
	RootsDigest [32]byte
	// Depth is how many certificates may stand between a service's own and a
	// trusted one (lua_ssl_verify_depth, 1 unless set).
	Depth int
	// Certificate is shown to services (client_ssl_cert); nil for none.
	Certificate *tls.Certificate
}

// LoadDefaults reads what settings name: trusted certificates (paths, content,
// or "system"), and the client certificate with its key (paths or content, both
// "" for none).
func LoadDefaults(trusted []string, depth int, cert, key string) (Defaults, error) {
	d := Defaults{Depth: depth}
	var err error
	if d.Roots, d.RootsDigest, err = certs.Trust(trusted); err != nil {
		return Defaults{}, err
	}
	if cert != "" || key != "" {
		if d.Certificate, err = certs.Pair(cert, key); err != nil {
			return Defaults{}, err
		}
	}
	return d, nil
}
