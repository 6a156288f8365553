// Package entities holds the schemas of Kong's entities. Each function returns a new compiled schema, which
// is safe for concurrent use; callers make them once, at start-up.
//
// GET /schemas/{entity} publishes these literals attribute by attribute, so what looks redundant in one
// (an explicit LenMin of 1, Optional) is what Kong shows there.
package entities

import "github.com/sluicegate/sluice/fsm/schema"

// tags is schema.Tags where Kong publishes the minimum length of a tag.
func tags() schema.Field {
	f := schema.Tags()
	f.Elements.LenMin = new(1)
	return f
}

// parentConsumer is the owner of a credential.
func parentConsumer() schema.Field {
	return schema.Field{
		Name: "consumer", Type: schema.Foreign, Reference: "consumers", OnDelete: "cascade", Required: true,
	}
}

// Consumers describes who or what sends requests.
func Consumers() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "consumers",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			{Name: "username", Type: schema.String, Unique: true, LenMin: new(1)},
			{Name: "custom_id", Type: schema.String, Unique: true, LenMin: new(1)},
			tags(),
		},
		Checks: []schema.Check{{AtLeastOneOf: []string{"custom_id", "username"}}},
	})
}

// JWTSecrets describes the credentials of plugin jwt. Algorithms with a key pair, ES* excepted, need
// the public key in PEM; Kong leaves ES* out of that rule, and so does Sluice.
func JWTSecrets() *schema.Schema {
	algorithms := schema.Strings(
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
		"PS256", "PS384", "PS512", "EdDSA",
	)
	withKey := []string{"^RS256$", "^RS384$", "^RS512$", "^PS256$", "^PS384$", "^PS512$", "^EdDSA$"}
	return schema.Must(&schema.Schema{
		Name: "jwt_secrets",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "key", Type: schema.String, Optional: true, Unique: true, Auto: true, LenMin: new(1)},
			{Name: "secret", Type: schema.String, Auto: true, LenMin: new(1)},
			{Name: "rsa_public_key", Type: schema.String},
			{Name: "algorithm", Type: schema.String, Default: "HS256", OneOf: algorithms, LenMin: new(1)},
			schema.Tags(),
		},
		Checks: []schema.Check{{Conditional: &schema.Conditional{
			IfField:   "algorithm",
			IfMatch:   schema.Field{MatchAny: &schema.Patterns{Patterns: withKey}},
			ThenField: "rsa_public_key",
			ThenMatch: schema.Field{Required: true, Custom: schema.Text(schema.ValidKey)},
		}}},
	})
}

// KeyauthCredentials describes the credentials of plugin key-auth, which may have a time to live.
func KeyauthCredentials() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "keyauth_credentials",
		TTL:  true,
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "key", Type: schema.String, Optional: true, Unique: true, Auto: true, LenMin: new(1)},
			schema.Tags(),
		},
	})
}

// Plugins describes a plugin as far as all plugins are alike. It knows none by name: lay one over it with
// With, or all of them with WithSubschemas, before it is asked to check anything.
func Plugins() *schema.Schema {
	scope := func(name, reference string) schema.Field {
		return schema.Field{
			Name: name, Type: schema.Foreign, Reference: reference, OnDelete: "cascade", HasNullDefault: true,
		}
	}
	protocols := schema.Strings(schema.Protocols()...)
	return schema.Must(&schema.Schema{
		Name:           "plugins",
		SubschemaKey:   "name",
		SubschemaError: "plugin '%s' not enabled; add it to the 'plugins' configuration property",
		Fields: []schema.Field{
			schema.ID(),
			{Name: "name", Type: schema.String, Required: true, LenMin: new(1)},
			schema.UTF8Name("instance_name"),
			schema.CreatedAt(),
			schema.UpdatedAt(),
			scope("route", "routes"),
			scope("service", "services"),
			scope("consumer", "consumers"),
			{Name: "config", Type: schema.Record, Abstract: true},
			{
				Name: "protocols", Type: schema.Set, Required: true,
				Default:  schema.Strings(schema.HTTPProtocols()...),
				Elements: &schema.Field{Type: schema.String, OneOf: protocols},
			},
			{Name: "enabled", Type: schema.Boolean, Required: true, Default: true},
			schema.Tags(),
		},
	})
}
