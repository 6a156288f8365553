package schema

import (
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
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ErrKey
		}
		if block.Type == "EC PARAMETERS" { // openssl ecparam -genkey writes them before the key
			continue
		}
		if !isKey(block) {
			return ErrKey
		}
		return nil
	}
}

func isKey(block *pem.Block) bool {
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		_, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		_, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		_, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		_, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		_, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return false
	}
	return err == nil
}
