package schema

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// ErrKey is the error of ValidKey. Its text is Kong's message.
var ErrKey = errors.New("invalid key")

// ValidKey accepts a public or a private key in PEM that crypto/x509 can parse: RSA, ECDSA on the NIST
// curves, Ed25519, X25519. Kong, with OpenSSL, also takes Ed448 and the other curves, none of which JWT
// algorithms of Sluice use.
func ValidKey(text string) error {
	_, err := PublicKey([]byte(text))
	return err
}

// PublicKey gives the public part of the first key in a PEM text. The error is ErrKey.
func PublicKey(text []byte) (crypto.PublicKey, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam -genkey writes them before the key
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, ErrKey
	}
	var key any
	err := ErrKey
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, ErrKey
	}
	if private, ok := key.(crypto.Signer); ok {
		return private.Public(), nil
	}
	return key, nil
}
