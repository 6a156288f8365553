// Package certs gives TLS listeners their certificates: files that the operator
// names, or one made at the first start and kept in the data directory.
package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// lifetime is the longest that browsers take: 825 days.
	lifetime = 825 * 24 * time.Hour
	// renewBefore is how long before its end a self-made certificate is
	// replaced.
	renewBefore = 30 * 24 * time.Hour
	// backdate covers clients whose clock is late.
	backdate = time.Hour

	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// SelfMade gives the self-made certificate of a directory (data_dir/tls). It
// makes one (ECDSA P-256, signed by itself, for localhost, the host's name and
// the loopback addresses) when there is none, when the one there is damaged, or
// when it ends within 30 days of now. An unreadable directory is an error.
func SelfMade(dir string, now time.Time) (*tls.Certificate, error) {
	cert, err := readSelfMade(dir)
	if err != nil {
		return nil, err
	}
	if cert != nil && now.Add(renewBefore).Before(cert.Leaf.NotAfter) {
		return cert, nil
	}
	certPEM, keyPEM, err := generate(now)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep a certificate: %w", err)
	}
	// A crash between the two leaves a pair that does not match; it is taken
	// for damaged at the next start.
	if err := replaceFile(filepath.Join(dir, keyFile), keyPEM); err != nil {
		return nil, err
	}
	if err := replaceFile(filepath.Join(dir, certFile), certPEM); err != nil {
		return nil, err
	}
	return pair(certPEM, keyPEM)
}

// readSelfMade gives nil without an error when there is no usable pair.
func readSelfMade(dir string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the self-made certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the self-made certificate: %w", err)
	}
	cert, err := pair(certPEM, keyPEM)
	if err != nil {
		return nil, nil
	}
	return cert, nil
}

func pair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &cert, nil
}

func generate(now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost", Organization: []string{"Sluice, self-made"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(lifetime - backdate),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	var c, k bytes.Buffer
	if err := errors.Join(
		pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	); err != nil {
		return nil, nil, err
	}
	return c.Bytes(), k.Bytes(), nil
}

// replaceFile writes a file that only its owner reads, whole or not at all.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("keep a certificate: %w", err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("keep a certificate: %w", err)
	}
	return nil
}
