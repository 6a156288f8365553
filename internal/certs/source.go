package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Source gives certificates to handshakes and can take new ones from its files
// while it serves. Safe for concurrent use.
type Source struct {
	load    func() ([]*tls.Certificate, error)
	current atomic.Pointer[[]*tls.Certificate]
}

// FromFiles takes pairs of certificate and key files, in PEM; the first pair is
// for clients that ask for no name or an unknown one.
func FromFiles(certs, keys []string) (*Source, error) {
	if len(certs) == 0 || len(certs) != len(keys) {
		return nil, errors.New("every certificate needs its key")
	}
	return newSource(func() ([]*tls.Certificate, error) {
		all := make([]*tls.Certificate, len(certs))
		for i := range certs {
			cert, err := readPair(certs[i], keys[i])
			if err != nil {
				return nil, err
			}
			all[i] = cert
		}
		return all, nil
	})
}

// FromSelfMade takes the self-made certificate of a directory; see SelfMade.
// Every Reload renews it when its end is near.
func FromSelfMade(dir string, now func() time.Time) (*Source, error) {
	return newSource(func() ([]*tls.Certificate, error) {
		cert, err := SelfMade(dir, now())
		return []*tls.Certificate{cert}, err
	})
}

func newSource(load func() ([]*tls.Certificate, error)) (*Source, error) {
	s := &Source{load: load}
	return s, s.Reload()
}

// Reload reads the files again. After an error the old certificates stay.
func (s *Source) Reload() error {
	certs, err := s.load()
	if err != nil {
		return err
	}
	s.current.Store(&certs)
	return nil
}

// GetCertificate is for tls.Config.
func (s *Source) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := *s.current.Load()
	for _, cert := range certs {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return certs[0], nil
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate key: %w", err)
	}
	cert, err := pair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}
