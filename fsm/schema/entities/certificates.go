package entities

import (
	"errors"
	"strings"
	"time"

	"github.com/sluicegate/sluice/fsm/schema"
)

// The errors of the checks of certificates. Their texts are Kong's messages.
var (
	errKeyMismatch    = errors.New("certificate does not match key")
	errAltKeyMismatch = errors.New("alternative certificate does not match key")
	errSameKeyType    = errors.New("certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), " +
		"the provided certificates were both of the same type")
	errManyCertificates = errors.New("please submit only one certificate at a time")
	errExpired          = errors.New(`certificate expired, "Not After" time is in the past`)
	errNoCA             = errors.New(`certificate does not appear to be a CA because it is missing the "CA" basic constraint`)
)

const certificateTag = "-----BEGIN CERTIFICATE-----"

// id is schema.ID where Kong publishes no minimum length.
func id() schema.Field {
	f := schema.ID()
	f.LenMin = nil
	return f
}

// Certificates describes pairs of a certificate chain and its private key, and an alternative pair whose key
// is of another type. snis is not stored with them: it makes and replaces entities of Snis.
func Certificates() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "certificates",
		Fields: []schema.Field{
			id(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			{Name: "cert", Type: schema.String, Required: true, Referenceable: true, Custom: schema.Text(schema.ValidCertificate)},
			{Name: "key", Type: schema.String, Required: true, Referenceable: true, Encrypted: true,
				Custom: schema.Text(schema.ValidPrivateKey)},
			{Name: "cert_alt", Type: schema.String, Optional: true, Referenceable: true, Custom: schema.Text(schema.ValidCertificate)},
			{Name: "key_alt", Type: schema.String, Optional: true, Referenceable: true, Encrypted: true,
				Custom: schema.Text(schema.ValidPrivateKey)},
			schema.Tags(),
			{Name: "snis", Type: schema.Array, Optional: true, Transient: true,
				Elements: &schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidWildcardHost)}},
		},
		Checks: []schema.Check{
			{MutuallyRequired: []string{"cert_alt", "key_alt"}},
			{Custom: &schema.CustomCheck{FieldSources: []string{"cert", "key"}, Func: pairCheck("cert", "key", errKeyMismatch)}},
			{Custom: &schema.CustomCheck{
				FieldSources: []string{"cert_alt", "key_alt"}, Func: pairCheck("cert_alt", "key_alt", errAltKeyMismatch),
			}},
			{Custom: &schema.CustomCheck{FieldSources: []string{"cert", "cert_alt"}, Func: checkKeyTypes}},
		},
	})
}

// pairCheck demands that a key is that of a certificate.
func pairCheck(cert, key string, mismatch error) func(map[string]any) error {
	return func(record map[string]any) error {
		certText, ok1 := record[cert].(string)
		keyText, ok2 := record[key].(string)
		if !ok1 || !ok2 {
			return nil
		}
		chain, err := schema.Certificates(certText)
		if err != nil {
			return err
		}
		private, err := schema.PrivateKey(keyText)
		if err != nil {
			return err
		}
		if !schema.KeyMatches(chain[0], private) {
			return mismatch
		}
		return nil
	}
}

// checkKeyTypes demands that the two pairs are for different clients.
func checkKeyTypes(record map[string]any) error {
	text, ok1 := record["cert"].(string)
	alt, ok2 := record["cert_alt"].(string)
	if !ok1 || !ok2 {
		return nil
	}
	chain, err := schema.Certificates(text)
	if err != nil {
		return err
	}
	other, err := schema.Certificates(alt)
	if err != nil {
		return err
	}
	if chain[0].PublicKeyAlgorithm == other[0].PublicKeyAlgorithm {
		return errSameKeyType
	}
	return nil
}

// SNIs describes the server names for which a certificate is served: exact, or with a wildcard as the first
// or last label, or "*" for all others.
func SNIs() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "snis",
		Fields: []schema.Field{
			id(),
			{Name: "name", Type: schema.String, Required: true, Unique: true, UniqueAcrossWS: true,
				Custom: schema.Text(schema.ValidWildcardHost)},
			schema.CreatedAt(),
			schema.UpdatedAt(),
			schema.Tags(),
			{Name: "certificate", Type: schema.Foreign, Reference: "certificates", Required: true},
		},
	})
}

// CACertificates describes the certificates of authorities that services are verified with. cert_digest is
// made of cert, whatever a client sends.
func CACertificates() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "ca_certificates",
		Fields: []schema.Field{
			id(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			{Name: "cert", Type: schema.String, Required: true, Custom: schema.Text(schema.ValidCertificate)},
			{Name: "cert_digest", Type: schema.String, Unique: true},
			schema.Tags(),
		},
		Checks:   []schema.Check{{Custom: &schema.CustomCheck{FieldSources: []string{"cert"}, Timed: checkAuthority}}},
		Complete: addDigest,
	})
}

func checkAuthority(now time.Time, record map[string]any) error {
	text, ok := record["cert"].(string)
	if !ok {
		return nil
	}
	if strings.Count(text, certificateTag) > 1 {
		return errManyCertificates
	}
	chain, err := schema.Certificates(text)
	switch {
	case err != nil:
		return err
	case chain[0].NotAfter.Unix() < now.Unix():
		return errExpired
	case !chain[0].BasicConstraintsValid || !chain[0].IsCA:
		return errNoCA
	}
	return nil
}

func addDigest(record map[string]any) {
	text, _ := record["cert"].(string)
	if chain, err := schema.Certificates(text); err == nil {
		record["cert_digest"] = schema.CertificateDigest(chain[0])
	}
}
