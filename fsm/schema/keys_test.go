package schema_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

type jwkCase struct {
	name, text string
	ok         bool
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func publicOf(pair *certstest.Pair) any {
	key, err := schema.PublicKey([]byte(pair.Key))
	if err != nil {
		panic(err)
	}
	return key
}

// jwks are keys that must be read and some that must not.
func jwks() []jwkCase {
	r := publicOf(certstest.SelfSigned("r", certstest.RSA)).(*rsa.PublicKey)
	e := publicOf(certstest.SelfSigned("e")).(*ecdsa.PublicKey)
	point, err := e.Bytes()
	if err != nil {
		panic(err)
	}
	half := len(point) / 2
	x, y := b64(point[1:half+1]), b64(point[half+1:])
	n, f4 := b64(r.N.Bytes()), b64(big.NewInt(int64(r.E)).Bytes())
	seed := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	exchange, err := ecdh.X25519().NewPrivateKey(seed)
	if err != nil {
		panic(err)
	}
	return []jwkCase{
		{"RSA", fmt.Sprintf(`{"kty":"RSA","kid":"1","n":%q,"e":%q}`, n, f4), true},
		{"RSA, private", fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q,"d":"AQAB"}`, n, f4), true},
		{"RSA, short", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, false},
		{"RSA, even exponent", fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"Ag"}`, n), false},
		{"RSA without e", fmt.Sprintf(`{"kty":"RSA","n":%q}`, n), false},
		{"RSA, padded", fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB=="}`, n), false},
		{"RSA, empty d", fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q,"d":""}`, n, f4), false},
		{"EC", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x, y), true},
		{"EC, not on the curve", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, y, x), false},
		{"EC of another curve", fmt.Sprintf(`{"kty":"EC","crv":"P-384","x":%q,"y":%q}`, x, y), false},
		{"EC of no curve", fmt.Sprintf(`{"kty":"EC","crv":"P-1","x":%q,"y":%q}`, x, y), false},
		{"EC, too long", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x+x, y), false},
		{"Ed25519", fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, b64(seed)), true},
		{"Ed25519, short", `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, false},
		{"X25519", fmt.Sprintf(`{"kty":"OKP","crv":"X25519","x":%q}`, b64(exchange.PublicKey().Bytes())), true},
		{"Ed448", fmt.Sprintf(`{"kty":"OKP","crv":"Ed448","x":%q}`, b64(seed)), false},
		{"a secret", `{"kty":"oct","k":"AAAA"}`, false},
		{"no type", `{"kid":"36"}`, false},
		{"no object", `[]`, false},
		{"no JSON", `{`, false},
	}
}

func TestParseJWK(t *testing.T) {
	for _, k := range jwks() {
		if _, err := schema.ParseJWK([]byte(k.text)); (err == nil) != k.ok {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

func TestKeyViolations(t *testing.T) {
	ours, other := certstest.SelfSigned("a"), certstest.SelfSigned("b")
	public := func(pair *certstest.Pair) string {
		der, err := x509.MarshalPKIXPublicKey(publicOf(pair))
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	body := func(fields map[string]any) string {
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pemOf := func(public, private any) string {
		return body(map[string]any{"kid": "1", "pem": map[string]any{"public_key": public, "private_key": private}})
	}
	entity := func(message string) rejection {
		return rejection{fields: `{"@entity":["` + message + `"]}`, message: "schema violation (" + message + ")"}
	}
	with := func(body string, r rejection) rejection { r.body = body; return r }
	inPEM := func(message string) rejection {
		return rejection{fields: `{"pem":"` + message + `"}`, message: "schema violation (pem: " + message + ")"}
	}
	s := entities.Keys()
	checkRejections(t, s, []rejection{
		{`{"jwk":"{}"}`, `{"kid":"required field missing"}`, "schema violation (kid: required field missing)"},
		with(`{"kid":"1"}`, entity("at least one of these fields must be non-empty: 'pem', 'jwk'")),
		with(`{"kid":"1","jwk":"{"}`, entity("could not json decode jwk string")),
		with(`{"kid":"1","jwk":"[]"}`, entity("could not json decode jwk string")),
		with(`{"kid":"1","jwk":"{\"kid\":\"2\"}"}`, entity("kid in jwk.kid must be equal to keys.kid")),
		with(`{"kid":"36","jwk":"{\"kid\":\"36\"}"}`, entity("could not load JWK, likely not a valid key")),
		with(body(map[string]any{"kid": "1", "jwk": jwks()[0].text, "pem": map[string]any{"public_key": public(ours)}}),
			entity("only one or none of these fields must be set: 'pem', 'jwk'")),
		with(pemOf("x", nil), inPEM("could not load public key")),
		with(pemOf(public(other), ours.Key), inPEM("public key does not match private key")),
		with(pemOf(nil, "x"), inPEM("could not load private key: no private key in PEM found")),
		{`{"kid":"1","pem":{}}`, `{"pem":{"@entity":["at least one of these fields must be non-empty: 'private_key', 'public_key'"]}}`,
			"schema violation (pem.@entity: {\n  \"at least one of these fields must be non-empty: 'private_key', 'public_key'\"\n})"},
	})
	for _, good := range []string{
		pemOf(public(ours), ours.Key), pemOf(public(ours), nil), pemOf(nil, ours.Key), pemOf("{vault://env/a}", ours.Key),
		`{"kid":"1","jwk":"{vault://env/jwk}"}`, body(map[string]any{"kid": "1", "jwk": jwks()[0].text}),
	} {
		if _, violation := s.Insert(at(someTime), object(t, good)); violation != nil {
			t.Errorf("%s: %v", good, violation)
		}
	}
}
