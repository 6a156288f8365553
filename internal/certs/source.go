package certs

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// Source gives certificates to handshakes and can take new ones from its files
// while it serves. Safe for concurrent use.
type Source struct {
	load    func() ([]*tls.Certificate, error)
	current atomic.Pointer[[]*tls.Certificate]
}

// FromFiles takes pairs of certificates and keys, each as Material takes it; the
// first pair is for clients that ask for no name or an unknown one, and can use
// it.
func FromFiles(certs, keys []string) (*Source, error) {
	if len(certs) == 0 || len(certs) != len(keys) {
		return nil, errors.New("every certificate needs its key")
	}
	return newSource(func() ([]*tls.Certificate, error) {
		all := make([]*tls.Certificate, len(certs))
		for i := range certs {
			cert, err := Pair(certs[i], keys[i])
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
	if len(certs) == 1 {
		return certs[0], nil
	}
	for _, cert := range certs {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	// None is for the name. Then it is the first that the client can use at all:
	// pairs of several kinds of keys are there for that.
	nameless := *hello
	nameless.ServerName = ""
	for _, cert := range certs {
		if nameless.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return certs[0], nil
}
