package schema

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Errors of the readers of certificates and private keys, found with errors.Is. None of them, nor what wraps
// them, quotes the text that was read: it may be a private key.
var (
	ErrNoCertificate  = errors.New("no certificate in PEM found")
	ErrNoPrivateKey   = errors.New("no private key in PEM found")
	ErrEncryptedKey   = errors.New("the private key is encrypted")
	ErrUnknownKeyType = errors.New("not a private key that this build can use")
	ErrShortKey       = errors.New("an RSA key must have at least 1024 bits")
)

// minRSABits is what crypto/rsa still signs with.
const minRSABits = 1024

// Certificates reads the certificates of a PEM text in their order: the leaf, then what leads to its root.
// Blocks of other types are passed over, as OpenSSL does. There is at least one certificate, or an error.
func Certificates(text string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	if chain == nil {
		return nil, ErrNoCertificate
	}
	return chain, nil
}

// PrivateKey reads the first private key of a PEM text: PKCS #1, PKCS #8 or SEC 1, not encrypted; RSA,
// ECDSA on the NIST curves, or Ed25519.
func PrivateKey(text string) (crypto.Signer, error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, ErrEncryptedKey
		case block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY"):
			return parsePrivateKey(block.Bytes)
		}
	}
	return nil, ErrNoPrivateKey
}

func parsePrivateKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return usableKey(key)
	}
	return nil, ErrUnknownKeyType
}

func usableKey(key any) (crypto.Signer, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSABits {
			return nil, ErrShortKey
		}
		return k, nil
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, ErrUnknownKeyType
}

// ValidCertificate accepts what Certificates reads. Kong looks at the first certificate of a chain only, and
// then fails handshakes for the others.
func ValidCertificate(text string) error {
	if _, err := Certificates(text); err != nil {
		return fmt.Errorf("invalid certificate: %w", err)
	}
	return nil
}

// ValidPrivateKey accepts what PrivateKey reads.
func ValidPrivateKey(text string) error {
	if _, err := PrivateKey(text); err != nil {
		return fmt.Errorf("invalid key: %w", err)
	}
	return nil
}

// CertificateDigest is Kong's cert_digest: the SHA-256 of a certificate, in lower-case hexadecimal.
func CertificateDigest(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyMatches says whether a private key is that of a certificate.
func KeyMatches(cert *x509.Certificate, key crypto.Signer) bool {
	return SameKey(key.Public(), cert.PublicKey)
}

// SameKey says whether two public keys are one.
func SameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
