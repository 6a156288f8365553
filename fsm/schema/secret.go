package schema

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// The parameters of Kong's hashes of secrets: PBKDF2 (RFC 8018) with HMAC-SHA-512, in the PHC string format.
const (
	hashRounds = 10_000
	hashLength = 32
	saltLength = 16
	hashPrefix = "$pbkdf2-sha512$"
)

// HashSecret gives the hash that a secret is kept as. What looks like such a hash is given back as it is, so
// that a dump can be read in again.
func HashSecret(c Context, secret string) (string, error) {
	if strings.HasPrefix(secret, hashPrefix) && strings.Count(secret, "$") == 4 {
		return secret, nil
	}
	salt := []byte(c.NewSecret())[:saltLength] // alphanumerics: 95 bits
	key, err := pbkdf2.Key(sha512.New, secret, salt, hashRounds, hashLength)
	if err != nil {
		return "", fmt.Errorf("hash secret: %w", err)
	}
	return secretHash(salt, key), nil
}

func secretHash(salt, key []byte) string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%si=%d,l=%d$%s$%s", hashPrefix, hashRounds, hashLength, encode(salt), encode(key))
}

// SameSecret says that a hash is HashSecret's of a secret.
func SameSecret(hash, secret string) bool {
	parts := strings.Split(hash, "$")
	if !strings.HasPrefix(hash, hashPrefix) || len(parts) != 5 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[3])
	if err != nil {
		return false
	}
	key, err := pbkdf2.Key(sha512.New, secret, salt, hashRounds, hashLength)
	return err == nil && subtle.ConstantTimeCompare([]byte(secretHash(salt, key)), []byte(hash)) == 1
}
