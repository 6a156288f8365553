package schema_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

const (
	garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	params  = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
)

func TestCertificates(t *testing.T) {
	root := certstest.Root("root")
	leaf := root.Issue("middle", certstest.CA).Issue("leaf")
	tests := map[string]struct {
		text  string
		names []string // common names, or nil for an error
	}{
		"a chain":               {leaf.Cert, []string{"leaf", "middle"}},
		"text around it":        {"subject=x\n" + root.Cert + "\nthe end", []string{"root"}},
		"a key in the file":     {leaf.Key + root.Cert, []string{"root"}},
		"nothing":               {"", nil},
		"only a key":            {leaf.Key, nil},
		"no certificate inside": {garbage, nil},
		"broken later":          {root.Cert + garbage, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			chain, err := schema.Certificates(tt.text)
			if (err != nil) != (tt.names == nil) || len(chain) != len(tt.names) {
				t.Fatalf("%d certificates, %v", len(chain), err)
			}
			for i, cert := range chain {
				if cert.Subject.CommonName != tt.names[i] {
					t.Errorf("certificate %d is %s, want %s", i, cert.Subject.CommonName, tt.names[i])
				}
			}
		})
	}
}

func TestPrivateKey(t *testing.T) {
	ecdsa, rsa := certstest.SelfSigned("e"), certstest.SelfSigned("r", certstest.RSA)
	encrypted := strings.ReplaceAll(ecdsa.Key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
	legacy := strings.Replace(ecdsa.Key, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1)
	tests := map[string]struct {
		text string
		want error
	}{
		"ECDSA":               {ecdsa.Key, nil},
		"RSA":                 {rsa.Key, nil},
		"behind parameters":   {params + ecdsa.Key, nil},
		"behind its chain":    {ecdsa.Cert + ecdsa.Key, nil},
		"nothing":             {"", schema.ErrNoPrivateKey},
		"a certificate":       {ecdsa.Cert, schema.ErrNoPrivateKey},
		"encrypted":           {encrypted, schema.ErrEncryptedKey},
		"encrypted, RFC 1421": {legacy, schema.ErrEncryptedKey},
		"garbage":             {strings.ReplaceAll(garbage, "CERTIFICATE", "PRIVATE KEY"), schema.ErrUnknownKeyType},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			key, err := schema.PrivateKey(tt.text)
			if !errors.Is(err, tt.want) || (err == nil) != (key != nil) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestCertificateViolations(t *testing.T) {
	ecdsa, other, rsa := certstest.SelfSigned("e"), certstest.SelfSigned("o"), certstest.SelfSigned("r", certstest.RSA)
	q := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pair := func(p *certstest.Pair, suffix string) string {
		return `"cert` + suffix + `":` + q(p.Cert) + `,"key` + suffix + `":` + q(p.Key)
	}
	const (
		mismatch = "certificate does not match key"
		altNot   = "alternative certificate does not match key"
		same     = "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both of the same type"
		together = "all or none of these fields must be set: 'cert_alt', 'key_alt'"
	)
	entity := func(message string) (fields, text string) {
		return `{"@entity":[` + q(message) + `]}`, "schema violation (" + message + ")"
	}
	rejected := func(body, message string) rejection {
		fields, text := entity(message)
		return rejection{body, fields, text}
	}
	checkRejections(t, entities.Certificates(), []rejection{
		{`{}`, `{"cert":"required field missing","key":"required field missing"}`,
			"2 schema violations (cert: required field missing; key: required field missing)"},
		{`{"cert":"x","key":` + q(ecdsa.Key) + `}`, `{"cert":"invalid certificate: no certificate in PEM found"}`,
			"schema violation (cert: invalid certificate: no certificate in PEM found)"},
		{`{"key":"x","cert":` + q(ecdsa.Cert) + `}`, `{"key":"invalid key: no private key in PEM found"}`,
			"schema violation (key: invalid key: no private key in PEM found)"},
		rejected(`{"cert":`+q(ecdsa.Cert)+`,"key":`+q(other.Key)+`}`, mismatch),
		rejected(`{`+pair(ecdsa, "")+`,"cert_alt":`+q(rsa.Cert)+`}`, together),
		rejected(`{`+pair(ecdsa, "")+`,"cert_alt":`+q(rsa.Cert)+`,"key_alt":`+q(other.Key)+`}`, altNot),
		rejected(`{`+pair(ecdsa, "")+`,`+pair(other, "_alt")+`}`, same),
		{`{` + pair(ecdsa, "") + `,"snis":["a.test","b:80"]}`, `{"snis":[null,"must not have a port"]}`,
			"schema violation (snis.2: must not have a port)"},
	})
	for _, body := range []string{
		`{` + pair(ecdsa, "") + `,` + pair(rsa, "_alt") + `,"snis":["*.a.test","a.*","*"]}`,
		`{"cert":"{vault://env/cert}","key":"{vault://env/key}"}`,
		`{"cert":"{vault://env/cert}","key":` + q(ecdsa.Key) + `}`,
	} {
		if _, v := entities.Certificates().Insert(at(someTime), object(t, body)); v != nil {
			t.Errorf("%v", v)
		}
	}
	checkRejections(t, entities.SNIs(), []rejection{
		{`{"name":"*.wildcard.*","certificate":{"id":"` + someID + `"}}`, `{"name":"only one wildcard must be specified"}`,
			"schema violation (name: only one wildcard must be specified)"},
		{`{"name":"a.*.b"}`, `{"name":"wildcard must be leftmost or rightmost character","certificate":"required field missing"}`,
			"2 schema violations (certificate: required field missing; name: wildcard must be leftmost or rightmost character)"},
		{`{"name":"10.0.0.1","certificate":{"id":"` + someID + `"}}`, `{"name":"must not be an IP"}`, "schema violation (name: must not be an IP)"},
	})
}

func TestCACertificateViolations(t *testing.T) {
	now := time.Unix(someTime, 0)
	good := certstest.Root("ca", certstest.Valid(now.Add(-time.Hour), now.Add(time.Hour)))
	old := certstest.Root("old", certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	tests := map[string]struct{ cert, want string }{
		"one":      {good.Cert, ""},
		"two":      {good.Cert + good.Cert, "schema violation (please submit only one certificate at a time)"},
		"expired":  {old.Cert, `schema violation (certificate expired, "Not After" time is in the past)`},
		"no CA":    {certstest.SelfSigned("x").Cert, `schema violation (certificate does not appear to be a CA because it is missing the "CA" basic constraint)`},
		"no PEM":   {"x", "schema violation (cert: invalid certificate: no certificate in PEM found)"},
		"no value": {"", "schema violation (cert: length must be at least 1)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			entity, violation := entities.CACertificates().Insert(at(someTime), map[string]any{"cert": tt.cert, "cert_digest": "mine"})
			if violation != nil {
				if violation.Error() != tt.want {
					t.Errorf("%v\nwant %s", violation, tt.want)
				}
				return
			}
			sum := sha256.Sum256(good.Leaf.Raw)
			if tt.want != "" || entity["cert_digest"] != hex.EncodeToString(sum[:]) {
				t.Errorf("accepted with digest %v", entity["cert_digest"])
			}
		})
	}
}

// FuzzPEM: no text makes the readers panic, and what they accept they accept again, in the entity too.
func FuzzPEM(f *testing.F) {
	leaf := certstest.Root("ca").Issue("leaf")
	for _, text := range []string{"", leaf.Cert, leaf.Key, leaf.Cert + leaf.Key, garbage, params + leaf.Key, leaf.Key[:200], "-----BEGIN"} {
		f.Add(text, text)
	}
	certificates, authorities := entities.Certificates(), entities.CACertificates()
	f.Fuzz(func(t *testing.T, cert, key string) {
		chain, err := schema.Certificates(cert)
		if (err == nil) != (len(chain) > 0) || (err == nil) != (schema.ValidCertificate(cert) == nil) {
			t.Fatalf("%d certificates, %v", len(chain), err)
		}
		private, err := schema.PrivateKey(key)
		if (err == nil) != (private != nil) {
			t.Fatalf("key %v, %v", private, err)
		}
		if err != nil && len(key) > 40 && strings.Contains(err.Error(), key[:40]) {
			t.Fatalf("the error quotes the key: %v", err)
		}
		entity, violation := certificates.Insert(at(someTime), map[string]any{"cert": cert, "key": key})
		if violation == nil {
			if _, violation = certificates.Insert(at(someTime), entity); violation != nil {
				t.Fatalf("accepted once: %v", violation)
			}
		}
		authorities.Insert(at(someTime), map[string]any{"cert": cert})
	})
}
