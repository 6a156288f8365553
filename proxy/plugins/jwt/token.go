package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	jwtlib "github.com/golang-jwt/jwt/v5"
)

// What is wrong with a token that cannot be read, in Kong's words.
var (
	errJSON      = errors.New("invalid JSON")
	errAlgorithm = errors.New("invalid alg")
	errClaims    = errors.New("invalid claims")
	errSignature = errors.New("invalid signature")

	errBase64 = errors.New("not base64url")
)

// token is a token in the compact form (RFC 7515, section 7.1), taken apart and
// not yet believed.
type token struct {
	header, claims map[string]any
	algorithm      string
	signed         string // what the signature is of
	signature      []byte
}

// parse takes a token apart. The error is one of those above.
func parse(raw string) (*token, error) {
	head, rest, ok := strings.Cut(raw, ".")
	if !ok {
		return nil, errJSON
	}
	body, tail, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, errJSON
	}
	header, err := decodeJSON(head)
	if err != nil {
		return nil, errJSON
	}
	claims, err := decodeJSON(body)
	if err != nil {
		return nil, errJSON
	}
	t := &token{signed: raw[:len(head)+1+len(body)]}
	t.header, _ = header.(map[string]any)
	t.algorithm, _ = t.header["alg"].(string)
	if methodOf(t.algorithm) == nil {
		return nil, errAlgorithm
	}
	if t.claims, ok = claims.(map[string]any); !ok {
		return nil, errClaims
	}
	if t.signature, err = decodeSegment(tail); err != nil {
		return nil, errSignature
	}
	return t, nil
}

// decodeJSON reads a segment into a value of encoding/json. Names are exact: a
// map has no look-up without regard to case, as structs have.
func decodeJSON(segment string) (any, error) {
	data, err := decodeSegment(segment)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// decodeSegment decodes base64url. Padding is tolerated, as in Kong; line
// breaks, which encoding/base64 would skip, are not.
func decodeSegment(segment string) ([]byte, error) {
	if strings.ContainsAny(segment, "\r\n") {
		return nil, errBase64
	}
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(segment, "="))
}

// methodOf gives the algorithm of a name, nil for one that is not known. "none"
// is not known.
func methodOf(algorithm string) jwtlib.SigningMethod {
	switch algorithm {
	case "HS256":
		return jwtlib.SigningMethodHS256
	case "HS384":
		return jwtlib.SigningMethodHS384
	case "HS512":
		return jwtlib.SigningMethodHS512
	case "RS256":
		return jwtlib.SigningMethodRS256
	case "RS384":
		return jwtlib.SigningMethodRS384
	case "RS512":
		return jwtlib.SigningMethodRS512
	case "PS256":
		return jwtlib.SigningMethodPS256
	case "PS384":
		return jwtlib.SigningMethodPS384
	case "PS512":
		return jwtlib.SigningMethodPS512
	case "ES256":
		return jwtlib.SigningMethodES256
	case "ES384":
		return jwtlib.SigningMethodES384
	case "ES512":
		return jwtlib.SigningMethodES512
	case "EdDSA":
		return jwtlib.SigningMethodEdDSA
	}
	return nil
}
