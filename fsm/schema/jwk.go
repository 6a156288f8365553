package schema

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"math/big"
)

// ErrJWK is the error of ParseJWK.
var ErrJWK = errors.New("not a JSON Web Key that this build can use")

// jwk holds the members of a JSON Web Key (RFC 7517, 7518, 8037) that its public part is made of, and D, the
// private part, which is only looked at.
type jwk struct {
	Kty, Crv   string
	N, E, X, Y *string
	D          *string
}

// ValidJWK accepts a JSON Web Key, public or private, that ParseJWK can read.
func ValidJWK(text []byte) error {
	_, err := ParseJWK(text)
	return err
}

// ParseJWK gives the public part of a JSON Web Key: RSA, EC on the NIST curves, Ed25519 or X25519. Secrets
// ("oct") are no keys of this kind. The error is ErrJWK and quotes nothing.
func ParseJWK(text []byte) (crypto.PublicKey, error) {
	var k jwk
	if json.Unmarshal(text, &k) != nil {
		return nil, ErrJWK
	}
	if k.D != nil && k.bytes(k.D) == nil {
		return nil, ErrJWK
	}
	var key crypto.PublicKey
	switch k.Kty {
	case "RSA":
		key = k.rsa()
	case "EC":
		key = k.ec()
	case "OKP":
		key = k.okp()
	}
	if key == nil {
		return nil, ErrJWK
	}
	return key, nil
}

// bytes decodes a member; nil if there is none, or nothing in it.
func (k *jwk) bytes(member *string) []byte {
	if member == nil {
		return nil
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(*member)
	if err != nil || len(decoded) == 0 {
		return nil
	}
	return decoded
}

func (k *jwk) rsa() crypto.PublicKey {
	n, e := new(big.Int).SetBytes(k.bytes(k.N)), new(big.Int).SetBytes(k.bytes(k.E))
	if n.BitLen() < minRSABits || n.Bit(0) == 0 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > math.MaxInt32 || e.Bit(0) == 0 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}

func (k *jwk) ec() crypto.PublicKey {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
	x, y := k.bytes(k.X), k.bytes(k.Y)
	if curve == nil {
		return nil
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size || x == nil || y == nil {
		return nil
	}
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil
	}
	return key
}

func (k *jwk) okp() crypto.PublicKey {
	x := k.bytes(k.X)
	switch {
	case k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x)
	case k.Crv == "X25519":
		if key, err := ecdh.X25519().NewPublicKey(x); err == nil {
			return key
		}
	}
	return nil
}
