package entities

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
)

// The errors of keys. Their texts are Kong's messages.
var (
	errJWKText    = errors.New("could not json decode jwk string")
	errJWK        = errors.New("could not load JWK, likely not a valid key")
	errKeyID      = errors.New("kid in jwk.kid must be equal to keys.kid")
	errPublicKey  = errors.New("could not load public key")
	errPrivateKey = errors.New("could not load private key")
	errKeyPair    = errors.New("public key does not match private key")
)

// uniqueName is a name that may be anything.
func uniqueName() schema.Field {
	return schema.Field{Name: "name", Type: schema.String, Optional: true, Unique: true}
}

// KeySets describes groups of keys.
func KeySets() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name:   "key_sets",
		Fields: []schema.Field{id(), uniqueName(), schema.Tags(), schema.CreatedAt(), schema.UpdatedAt()},
	})
}

// Keys describes keys, as a JSON Web Key (RFC 7517) or as one or both halves of a pair in PEM.
func Keys() *schema.Schema {
	secret := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.String, Optional: true, Referenceable: true}
	}
	private := secret("private_key")
	private.Encrypted = true
	return schema.Must(&schema.Schema{
		Name: "keys",
		Fields: []schema.Field{
			id(),
			{Name: "set", Type: schema.Foreign, Reference: "key_sets", OnDelete: "cascade", Optional: true},
			uniqueName(),
			{Name: "kid", Type: schema.String, Required: true, Repeatable: true},
			{Name: "jwk", Type: schema.String, Referenceable: true, Encrypted: true},
			{
				Name: "pem", Type: schema.Record, Optional: true,
				Fields: []schema.Field{private, secret("public_key")},
				Checks: []schema.Check{{AtLeastOneOf: []string{"private_key", "public_key"}}},
				Custom: checkPEM,
			},
			schema.Tags(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
		},
		Checks: []schema.Check{
			// Kong lists the two in no fixed order; this is the one of its message that was seen
			{MutuallyExclusive: []string{"pem", "jwk"}},
			{AtLeastOneOf: []string{"pem", "jwk"}},
			{Custom: &schema.CustomCheck{FieldSources: []string{"jwk", "pem", "kid"}, Func: checkJWK}},
		},
	})
}

// checkJWK demands a JWK that can be used and has the key's own id.
func checkJWK(record map[string]any) error {
	text, ok := record["jwk"].(string)
	if !ok {
		return nil
	}
	var jwk map[string]any
	if json.Unmarshal([]byte(text), &jwk) != nil {
		return errJWKText
	}
	if jwk["kid"] != record["kid"] {
		return errKeyID
	}
	if schema.ValidJWK([]byte(text)) != nil {
		return errJWK
	}
	return nil
}

// checkPEM demands halves that can be read and belong together. What a vault holds is not known here.
func checkPEM(value any) error {
	pem, _ := value.(map[string]any)
	publicText, hasPublic := pem["public_key"].(string)
	privateText, hasPrivate := pem["private_key"].(string)
	if schema.IsReference(publicText) || schema.IsReference(privateText) {
		return nil
	}
	public, err := schema.PublicKey([]byte(publicText))
	if hasPublic && err != nil {
		return errPublicKey
	}
	if !hasPrivate {
		return nil
	}
	private, err := schema.PrivateKey(privateText)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errPrivateKey, err)
	case hasPublic && !schema.SameKey(private.Public(), public):
		return errKeyPair
	}
	return nil
}
