package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// System stands for the system's authorities in a list of trusted certificates
// (Kong's lua_ssl_trusted_certificate).
const System = "system"

// ErrNoCertificate is answered for a file of trusted certificates without any.
var ErrNoCertificate = errors.New("there is no certificate in it")

// Material gives the PEM that a setting names: a path, the PEM itself, or the
// PEM in base64, as Kong takes them. Errors never quote what was given as
// content.
func Material(setting string) ([]byte, error) {
	if strings.Contains(setting, "-----BEGIN ") {
		return []byte(setting), nil
	}
	if data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(setting)); err == nil && strings.Contains(string(data), "-----BEGIN ") {
		return data, nil
	}
	return os.ReadFile(setting)
}

// describe names a setting's value in an error.
func describe(setting string) string {
	if strings.ContainsAny(setting, "\r\n") || len(setting) > 512 || strings.HasPrefix(setting, "LS0t") || strings.Contains(setting, "-----BEGIN") {
		return "(content)"
	}
	return setting
}

// Pair reads a certificate with its key, each as Material takes it.
func Pair(cert, key string) (*tls.Certificate, error) {
	certPEM, err := Material(cert)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", unquoted(cert, err))
	}
	keyPEM, err := Material(key)
	if err != nil {
		return nil, fmt.Errorf("certificate key: %w", unquoted(key, err))
	}
	pair, err := pair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", describe(cert), describe(key), err)
	}
	return pair, nil
}

// unquoted keeps an error of os.ReadFile, which quotes its path, from showing
// content that was taken for one.
func unquoted(setting string, err error) error {
	if describe(setting) == setting {
		return err
	}
	return errors.New("the content is neither PEM nor base64 of PEM")
}

// Trust reads what services are verified with: files or content with any number
// of certificates each, and System. digest tells equal trust from other; it is
// of what is listed, not of what the system trusts.
func Trust(list []string) (pool *x509.CertPool, digest [32]byte, err error) {
	pool = x509.NewCertPool()
	sum := sha256.New()
	for _, setting := range list {
		if setting != System {
			continue
		}
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, digest, fmt.Errorf("the system's trusted certificates: %w", err)
		}
		sum.Write([]byte(System))
	}
	for _, setting := range list {
		if setting == System {
			continue
		}
		data, err := Material(setting)
		if err != nil {
			return nil, digest, fmt.Errorf("trusted certificates: %w", unquoted(setting, err))
		}
		if err := addAll(pool, data, sum.Write); err != nil {
			return nil, digest, fmt.Errorf("trusted certificates %s: %w", describe(setting), err)
		}
	}
	return pool, [32]byte(sum.Sum(nil)), nil
}

func addAll(pool *x509.CertPool, data []byte, also func([]byte) (int, error)) error {
	found := false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		pool.AddCert(cert)
		_, _ = also(cert.Raw) // a hash takes everything
		found = true
	}
	if !found {
		return ErrNoCertificate
	}
	return nil
}
