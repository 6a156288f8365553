package jwt

import (
	"strings"
	"testing"

	jwtlib "github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// FuzzToken: no token panics, and none is accepted that the library, asked for
// the credential's algorithm alone, would not accept too.
func FuzzToken(f *testing.F) {
	good := hs256(f, claims{"iss": "k1"})
	for _, seed := range []string{
		good, "", ".", "..", "...", good + ".", good[:len(good)-1], "e30.e30.", "e30.bnVsbA.e30",
		b64(`{"alg":"none"}`) + "." + b64(`{"iss":"k1"}`) + ".", b64(`{"alg":"ES512"}`) + "." + b64(`{"iss":"ec"}`) + "." + b64("x"),
		b64(`{"alg":"EdDSA"}`) + "." + b64(`{"iss":"ed"}`) + ".", strings.Repeat("W", 1000) + ".e30.",
		good + "=", strings.Replace(good, ".", "\n.", 1),
	} {
		f.Add(seed)
	}
	d := directory()
	d.AddJWT(&fsm.JWTSecret{ID: "ed", Key: "ed", Consumer: fsm.Ref{ID: "c1"}, Algorithm: "EdDSA", RSAPublicKey: edPair(f).public})
	d.AddJWT(&fsm.JWTSecret{ID: "ec", Key: "ec", Consumer: fsm.Ref{ID: "c1"}, Algorithm: "ES512", RSAPublicKey: "no key"})
	p := plugintest.Instance(f, plugintest.Env(nil), name, `{"claims_to_verify":["exp","nbf"],"uri_param_names":[]}`).(plugin.Accessor)
	f.Fuzz(func(t *testing.T, raw string) {
		ex := withToken(raw)
		ex.Directory = d
		if p.Access(ex) == plugin.Stop {
			if ex.Response.Status != 401 || ex.Consumer != nil {
				t.Fatalf("answered %d for %v", ex.Response.Status, ex.Consumer)
			}
			return
		}
		parser := jwtlib.NewParser(jwtlib.WithValidMethods([]string{"HS256"}), jwtlib.WithPaddingAllowed(), jwtlib.WithoutClaimsValidation())
		_, err := parser.Parse(strings.TrimLeft(raw, " \t"), func(*jwtlib.Token) (any, error) { return []byte(secret), nil })
		if err != nil {
			t.Fatalf("accepted %q: %v", raw, err)
		}
	})
}

// TestTampering: no change of one byte of a token leaves its meaning intact,
// except in the bits of the last character that carry nothing.
func TestTampering(t *testing.T) {
	good := hs256(t, claims{"iss": "k1", "sub": "someone"})
	p := plugintest.Instance(t, plugintest.Env(nil), name, `{}`).(plugin.Accessor)
	d := directory()
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(good)-2).Draw(t, "at")
		c := rapid.Byte().Draw(t, "byte")
		if good[at] == c {
			return
		}
		ex := withToken(good[:at] + string([]byte{c}) + good[at+1:])
		ex.Directory = d
		if p.Access(ex) == plugin.Continue {
			t.Fatalf("accepted with %q at %d", c, at)
		}
	})
}

func benchmark(b *testing.B, algorithm string, key any, credential fsm.JWTSecret) {
	credential.Algorithm = algorithm
	p := plugintest.Instance(b, plugintest.Env(nil), name, `{}`).(plugin.Accessor)
	ex := withToken(sign(b, methodOf(algorithm), key, nil, claims{"iss": "k1", "sub": "someone", "exp": 1900000000}))
	ex.Directory = with(credential)
	b.ReportAllocs()
	for b.Loop() {
		if p.Access(ex) != plugin.Continue {
			b.Fatalf("refused: %s", ex.Response.Body)
		}
	}
}

func BenchmarkHS256(b *testing.B) {
	benchmark(b, "HS256", []byte(secret), fsm.JWTSecret{Secret: secret})
}

func BenchmarkRS256(b *testing.B) {
	pair := rsaPair(b)
	benchmark(b, "RS256", pair.private, fsm.JWTSecret{RSAPublicKey: pair.public})
}

func BenchmarkEdDSA(b *testing.B) {
	pair := edPair(b)
	benchmark(b, "EdDSA", pair.private, fsm.JWTSecret{RSAPublicKey: pair.public})
}
