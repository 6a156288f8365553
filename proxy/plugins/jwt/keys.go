package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// errKey says that a credential's key or secret does not fit its algorithm.
var errKey = errors.New("invalid key or secret")

// maxKeys bounds the public keys that stay parsed on a node; about 1 kB each.
const maxKeys = 4096

// keyCache keeps the parsed public keys of credentials, because to parse one
// costs as much as to verify a signature with it. Safe for concurrent use.
//
// An entry belongs to a credential's id and holds the text it was made of: a
// credential whose key or algorithm has changed, in whatever way, does not
// match its entry and replaces it. The entries of deleted credentials stay until
// their place is needed. When all places are taken an arbitrary entry goes,
// which costs its credential one more parse.
type keyCache struct {
	mu      sync.RWMutex
	entries map[string]parsedKey // by credential id
}

type parsedKey struct {
	algorithm, text string
	key             any
	err             error
}

func newKeyCache() *keyCache { return &keyCache{entries: map[string]parsedKey{}} }

// key gives what verifies the signatures of a credential's tokens: []byte for
// HS*, else a public key of the type that the algorithm wants. The error is
// errKey.
func (c *keyCache) key(credential *fsm.JWTSecret, secretIsBase64 bool) (any, error) {
	if strings.HasPrefix(credential.Algorithm, "HS") {
		return secretOf(credential.Secret, secretIsBase64)
	}
	c.mu.RLock()
	entry, ok := c.entries[credential.ID]
	c.mu.RUnlock()
	if ok && entry.algorithm == credential.Algorithm && entry.text == credential.RSAPublicKey {
		return entry.key, entry.err
	}
	entry = parsedKey{algorithm: credential.Algorithm, text: credential.RSAPublicKey}
	entry.key, entry.err = parseKey(credential.Algorithm, credential.RSAPublicKey)
	c.put(credential.ID, entry)
	return entry.key, entry.err
}

func (c *keyCache) put(id string, entry parsedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.entries[id]; !known && len(c.entries) >= maxKeys {
		for other := range c.entries {
			delete(c.entries, other)
			break
		}
	}
	c.entries[id] = entry
}

// secretOf gives the bytes of an HMAC secret. An empty one is refused: whoever
// knows nothing could sign with it.
func secretOf(secret string, isBase64 bool) ([]byte, error) {
	key := []byte(secret)
	if isBase64 {
		plain := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(secret, "="))
		var err error
		if key, err = base64.RawURLEncoding.DecodeString(plain); err != nil {
			return nil, errKey
		}
	}
	if len(key) == 0 {
		return nil, errKey
	}
	return key, nil
}

// parseKey reads a key in PEM and checks that it is of the kind and, for ES*, of
// the curve that the algorithm wants (RFC 7518, section 3.4). A private key does
// for its public one, as in Kong.
func parseKey(algorithm, text string) (any, error) {
	public, err := schema.PublicKey([]byte(text))
	if err != nil {
		return nil, errKey
	}
	switch key := public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS") {
			return key, nil
		}
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}
		if key.Curve.Params().BitSize == bits[algorithm] {
			return key, nil
		}
	case ed25519.PublicKey:
		if algorithm == "EdDSA" {
			return key, nil
		}
	}
	return nil, errKey
}
