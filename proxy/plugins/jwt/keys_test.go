package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strconv"
	"strings"
	"sync"
	"testing"

	jwtlib "github.com/golang-jwt/jwt/v5"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// keyPair is a private key and its public one in PEM.
type keyPair struct {
	private any
	public  string
}

func pemOf(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func rsaPair(t testing.TB) keyPair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{key, pemOf(t, key.Public())}
}

func ecPair(t testing.TB, curve elliptic.Curve) keyPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{key, pemOf(t, key.Public())}
}

func edPair(t testing.TB) keyPair {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{key, pemOf(t, public)}
}

// with makes a directory in which bob's credential k1 has an algorithm and key.
func with(credential fsm.JWTSecret) *plugintest.Directory {
	d := directory()
	credential.ID, credential.Key, credential.Consumer = "id1", "k1", fsm.Ref{ID: "c1"}
	d.AddJWT(&credential)
	return d
}

// outcome asks and gives "" or the message of the refusal.
func outcome(t testing.TB, config string, d *plugintest.Directory, token string) string {
	t.Helper()
	ex := withToken(token)
	if ask(t, config, d, ex) == plugin.Continue {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(ex.Response.Body), `{"message":"`), `"}`)
}

func TestAlgorithms(t *testing.T) {
	rsaKey, edKey, hmac := rsaPair(t), edPair(t), keyPair{[]byte(secret), ""}
	methods := map[jwtlib.SigningMethod]keyPair{
		jwtlib.SigningMethodHS256: hmac, jwtlib.SigningMethodHS384: hmac, jwtlib.SigningMethodHS512: hmac,
		jwtlib.SigningMethodRS256: rsaKey, jwtlib.SigningMethodRS384: rsaKey, jwtlib.SigningMethodRS512: rsaKey,
		jwtlib.SigningMethodPS256: rsaKey, jwtlib.SigningMethodPS384: rsaKey, jwtlib.SigningMethodPS512: rsaKey,
		jwtlib.SigningMethodES256: ecPair(t, elliptic.P256()),
		jwtlib.SigningMethodES384: ecPair(t, elliptic.P384()),
		jwtlib.SigningMethodES512: ecPair(t, elliptic.P521()),
		jwtlib.SigningMethodEdDSA: edKey,
	}
	for method, pair := range methods {
		t.Run(method.Alg(), func(t *testing.T) {
			d := with(fsm.JWTSecret{Algorithm: method.Alg(), Secret: secret, RSAPublicKey: pair.public})
			token := sign(t, method, pair.private, nil, claims{"iss": "k1"})
			if got := outcome(t, `{}`, d, token); got != "" {
				t.Errorf("refused: %s", got)
			}
			if got := outcome(t, `{"secret_is_base64":true}`, d, token); got != "" && pair.public != "" {
				t.Errorf("secret_is_base64 touched a public key: %s", got)
			}
			head := token[:strings.LastIndex(token, ".")+1]
			for _, forged := range []string{head, head + b64("short"), head + b64(strings.Repeat("x", 64)), head + b64(strings.Repeat("\x00", 132))} {
				if got := outcome(t, `{}`, d, forged); got != "Invalid signature" {
					t.Errorf("signature %q: %q", forged[len(head):], got)
				}
			}
			for other, otherPair := range methods {
				if other.Alg() == method.Alg() {
					continue
				}
				token := sign(t, other, otherPair.private, nil, claims{"iss": "k1"})
				if got := outcome(t, `{}`, d, token); got != "Invalid algorithm" {
					t.Errorf("a token of %s: %q", other.Alg(), got)
				}
			}
		})
	}
}

// TestPublicKeyAsSecret is the classic attack: the public key, which everyone
// may know, signs as an HMAC secret.
func TestPublicKeyAsSecret(t *testing.T) {
	pair := rsaPair(t)
	d := with(fsm.JWTSecret{Algorithm: "RS256", Secret: secret, RSAPublicKey: pair.public})
	token := sign(t, jwtlib.SigningMethodHS256, []byte(pair.public), nil, claims{"iss": "k1"})
	if got := outcome(t, `{}`, d, token); got != "Invalid algorithm" {
		t.Errorf("outcome %q", got)
	}
}

// TestDERSignature: ES* signatures are r and s side by side, not ASN.1.
func TestDERSignature(t *testing.T) {
	pair := ecPair(t, elliptic.P256())
	d := with(fsm.JWTSecret{Algorithm: "ES256", RSAPublicKey: pair.public})
	token := sign(t, jwtlib.SigningMethodES256, pair.private, nil, claims{"iss": "k1"})
	signed := token[:strings.LastIndex(token, ".")]
	hash := jwtlib.SigningMethodES256.Hash.New()
	hash.Write([]byte(signed))
	der, err := ecdsa.SignASN1(rand.Reader, pair.private.(*ecdsa.PrivateKey), hash.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, `{}`, d, signed+"."+b64(string(der))); got != "Invalid signature" {
		t.Errorf("outcome %q", got)
	}
}

func TestBadKeys(t *testing.T) {
	rsaKey, p384, ed := rsaPair(t).public, ecPair(t, elliptic.P384()).public, edPair(t).public
	tests := map[string]fsm.JWTSecret{
		"no key":                {Algorithm: "ES256"},
		"no PEM":                {Algorithm: "ES256", RSAPublicKey: "key"},
		"broken PEM":            {Algorithm: "RS256", RSAPublicKey: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
		"PEM of something else": {Algorithm: "RS256", RSAPublicKey: "-----BEGIN X-----\nAAAA\n-----END X-----\n"},
		"another curve":         {Algorithm: "ES256", RSAPublicKey: p384},
		"RSA for EC":            {Algorithm: "ES256", RSAPublicKey: rsaKey},
		"EC for RSA":            {Algorithm: "RS256", RSAPublicKey: p384},
		"EC for EdDSA":          {Algorithm: "EdDSA", RSAPublicKey: p384},
		"Ed25519 for RSA":       {Algorithm: "PS256", RSAPublicKey: ed},
		"empty secret":          {Algorithm: "HS256"},
	}
	private := map[string]any{
		"HS": []byte("x"), "RS": rsaPair(t).private, "PS": rsaPair(t).private,
		"ES": ecPair(t, elliptic.P256()).private, "Ed": edPair(t).private,
	}
	for name, credential := range tests {
		t.Run(name, func(t *testing.T) {
			token := sign(t, methodOf(credential.Algorithm), private[credential.Algorithm[:2]], nil, claims{"iss": "k1"})
			if got := outcome(t, `{}`, with(credential), token); got != "Invalid key/secret" {
				t.Errorf("outcome %q", got)
			}
		})
	}
	d := with(fsm.JWTSecret{Algorithm: "XX256", Secret: secret})
	if got := outcome(t, `{}`, d, hs256(t, claims{"iss": "k1"})); got != "Invalid algorithm" {
		t.Errorf("a credential of an unknown algorithm: %q", got)
	}
}

// TestPrivateKeys: a credential may hold the private key, as Kong allows.
func TestPrivateKeys(t *testing.T) {
	encode := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	rsaKey := rsaPair(t).private.(*rsa.PrivateKey)
	ecKey := ecPair(t, elliptic.P256()).private.(*ecdsa.PrivateKey)
	pkcs8, err8 := x509.MarshalPKCS8PrivateKey(rsaKey)
	ecDER, errEC := x509.MarshalECPrivateKey(ecKey)
	parameters := encode("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}, nil)
	tests := map[string]struct {
		algorithm, text string
		key             any
	}{
		"PKCS #1 public":  {"RS256", encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil), rsaKey},
		"PKCS #1 private": {"RS256", encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), rsaKey},
		"PKCS #8":         {"RS256", encode("PRIVATE KEY", pkcs8, err8), rsaKey},
		"SEC 1":           {"ES256", parameters + encode("EC PRIVATE KEY", ecDER, errEC), ecKey},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			token := sign(t, methodOf(test.algorithm), test.key, nil, claims{"iss": "k1"})
			d := with(fsm.JWTSecret{Algorithm: test.algorithm, RSAPublicKey: test.text})
			if got := outcome(t, `{}`, d, token); got != "" {
				t.Errorf("refused: %s", got)
			}
		})
	}
}

func TestSecretIsBase64(t *testing.T) {
	key := "\xfb\xff\xbe any bytes"
	token := sign(t, jwtlib.SigningMethodHS256, []byte(key), nil, claims{"iss": "k1"})
	for _, encoding := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		d := with(fsm.JWTSecret{Algorithm: "HS256", Secret: encoding.EncodeToString([]byte(key))})
		if got := outcome(t, `{"secret_is_base64":true}`, d, token); got != "" {
			t.Errorf("refused: %s", got)
		}
		if got := outcome(t, `{}`, d, token); got != "Invalid signature" {
			t.Errorf("taken as it is: %q", got)
		}
	}
	empty := sign(t, jwtlib.SigningMethodHS256, []byte{}, nil, claims{"iss": "k1"})
	for _, text := range []string{"==", "*", "A"} {
		d := with(fsm.JWTSecret{Algorithm: "HS256", Secret: text})
		if got := outcome(t, `{"secret_is_base64":true}`, d, empty); got != "Invalid key/secret" {
			t.Errorf("secret %q: %q", text, got)
		}
	}
}

// TestKeyRotation: a changed credential is seen at once though its old key was
// kept, by all instances of the node.
func TestKeyRotation(t *testing.T) {
	env := plugintest.Env(nil)
	before, after := ecPair(t, elliptic.P256()), ecPair(t, elliptic.P256())
	for range 2 {
		p := plugintest.Instance(t, env, name, `{}`).(plugin.Accessor)
		for _, pair := range []keyPair{before, after} {
			d := with(fsm.JWTSecret{Algorithm: "ES256", RSAPublicKey: pair.public})
			for _, signer := range []keyPair{before, after, before} {
				ex := withToken(sign(t, jwtlib.SigningMethodES256, signer.private, nil, claims{"iss": "k1"}))
				ex.Directory = d
				if got := p.Access(ex) == plugin.Continue; got != (signer.public == pair.public) {
					t.Fatalf("accepted: %v", got)
				}
			}
		}
	}
}

func TestKeyCacheBound(t *testing.T) {
	c := newKeyCache()
	ed := edPair(t).public
	var wait sync.WaitGroup
	for worker := range 2 {
		wait.Go(func() {
			for i := range maxKeys {
				credential := &fsm.JWTSecret{ID: strconv.Itoa(i*2 + worker), Algorithm: "EdDSA", RSAPublicKey: ed}
				if key, err := c.key(credential, false); err != nil || key == nil {
					t.Errorf("credential %d: %v", i, err)
				}
			}
		})
	}
	wait.Wait()
	if len(c.entries) != maxKeys {
		t.Errorf("%d keys are kept, want %d", len(c.entries), maxKeys)
	}
}
