package fsm

import (
	"slices"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
)

// OnDelete says what deleting an entity does to those that reference it.
type OnDelete uint8

const (
	// Restrict refuses the delete while a reference exists.
	Restrict OnDelete = iota
	// Cascade deletes the referencing entities too.
	Cascade
)

// Foreign is one reference of a kind to another.
type Foreign struct {
	// Field is the referencing field, Kind what it names.
	Field, Kind string
	OnDelete    OnDelete
	// Nested is the URL segment of this collection under the named entity:
	// "routes" in /services/{s}/routes.
	Nested string
	// List says that the field is a list of ids (services.ca_certificates). Such
	// a reference restricts deletes, with Kong's "referenced by others", and has
	// no URLs of its own.
	List bool
}

// Definition is what the state and the Admin API know of a kind of entity.
type Definition struct {
	// Kind is Kong's schema name and the table's: "jwt_secrets".
	Kind string
	// Path is the collection's URL segment: "jwts".
	Path string
	// Key is the field that names an entity in a URL besides its id, "" for
	// none. It is the first of Unique. (A certificate is named by its SNIs; the
	// Admin API sees to that.)
	Key string
	// NestedKey is the field that names an entity in a URL below its owner, if the
	// kind has no Key: a target below its upstream. Unique's first set is then the
	// owner's foreign field and this one.
	NestedKey string
	Schema    *schema.Schema
	Foreign   []Foreign
	// Unique lists the sets of fields of which no two entities may have the
	// same values.
	Unique [][]string
	// TTL allows entities to expire.
	TTL bool
	// Access says that the kind decides who may use the Admin API. It is no part of
	// the configuration: exports, imports and rollbacks leave it as it is, so that
	// none of them locks anybody out, or lets in who was let out.
	Access bool

	newView func() any
	shape   shape // of what newView gives
	number  int   // the place among Definitions
}

// Definitions gives every kind, a referenced one before those that reference
// it. The table is made once by the caller and shared; it must not be changed.
func Definitions() []*Definition {
	all := slices.Concat(coreDefinitions(), credentialDefinitions(), upstreamDefinitions(), keyDefinitions(), accessDefinitions())
	for i, def := range all {
		def.number, def.shape = i, shapeOf(def.newView())
	}
	return all
}

// coreDefinitions are what a request's way is made of.
func coreDefinitions() []*Definition {
	return []*Definition{
		{
			Kind: "certificates", Path: "certificates", Schema: entities.Certificates(),
			newView: func() any { return new(Certificate) },
		},
		{
			Kind: "snis", Path: "snis", Key: "name", Schema: entities.SNIs(),
			Foreign: []Foreign{{Field: "certificate", Kind: "certificates", OnDelete: Cascade, Nested: "snis"}},
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(SNI) },
		},
		{
			Kind: "ca_certificates", Path: "ca_certificates", Schema: entities.CACertificates(),
			Unique:  [][]string{{"cert_digest"}},
			newView: func() any { return new(CACertificate) },
		},
		{
			Kind: "services", Path: "services", Key: "name", Schema: entities.Services(),
			Foreign: []Foreign{
				{Field: "client_certificate", Kind: "certificates", OnDelete: Restrict, Nested: "services"},
				{Field: "ca_certificates", Kind: "ca_certificates", OnDelete: Restrict, List: true},
			},
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(Service) },
		},
		{
			Kind: "routes", Path: "routes", Key: "name", Schema: entities.Routes(),
			Foreign: []Foreign{{Field: "service", Kind: "services", OnDelete: Restrict, Nested: "routes"}},
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(Route) },
		},
		{
			Kind: "consumers", Path: "consumers", Key: "username", Schema: entities.Consumers(),
			Unique:  [][]string{{"username"}, {"custom_id"}},
			newView: func() any { return new(Consumer) },
		},
		{
			Kind: "plugins", Path: "plugins", Key: "instance_name", Schema: entities.Plugins(),
			Foreign: []Foreign{
				{Field: "route", Kind: "routes", OnDelete: Cascade, Nested: "plugins"},
				{Field: "service", Kind: "services", OnDelete: Cascade, Nested: "plugins"},
				{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "plugins"},
			},
			Unique:  [][]string{{"instance_name"}, {"consumer", "name", "route", "service"}},
			newView: func() any { return new(Plugin) },
		},
	}
}

// credentialDefinitions are what consumers have.
func credentialDefinitions() []*Definition {
	return []*Definition{
		{
			Kind: "jwt_secrets", Path: "jwts", Key: "key", Schema: entities.JWTSecrets(),
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "jwt"}},
			Unique:  [][]string{{"key"}},
			newView: func() any { return new(JWTSecret) },
		},
		{
			Kind: "keyauth_credentials", Path: "key-auths", Key: "key", Schema: entities.KeyauthCredentials(), TTL: true,
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "key-auth"}},
			Unique:  [][]string{{"key"}},
			newView: func() any { return new(KeyAuth) },
		},
		{
			Kind: "basicauth_credentials", Path: "basic-auths", Key: "username", Schema: entities.BasicauthCredentials(),
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "basic-auth"}},
			Unique:  [][]string{{"username"}},
			newView: func() any { return new(BasicAuth) },
		},
		{
			Kind: "hmacauth_credentials", Path: "hmac-auths", Key: "username", Schema: entities.HMACauthCredentials(),
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "hmac-auth"}},
			Unique:  [][]string{{"username"}},
			newView: func() any { return new(HMACAuth) },
		},
		{
			Kind: "acls", Path: "acls", NestedKey: "group", Schema: entities.ACLs(),
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "acls"}},
			Unique:  [][]string{{"consumer", "group"}},
			newView: func() any { return new(ACL) },
		},
		{
			Kind: "oauth2_credentials", Path: "oauth2", Key: "client_id", Schema: entities.OAuth2Credentials(),
			Foreign: []Foreign{{Field: "consumer", Kind: "consumers", OnDelete: Cascade, Nested: "oauth2"}},
			Unique:  [][]string{{"client_id"}},
			newView: func() any { return new(OAuth2Credential) },
		},
		{
			Kind: "oauth2_tokens", Path: "oauth2_tokens", Key: "access_token", Schema: entities.OAuth2Tokens(), TTL: true,
			Foreign: []Foreign{
				{Field: "credential", Kind: "oauth2_credentials", OnDelete: Cascade, Nested: "oauth2_tokens"},
				{Field: "service", Kind: "services", OnDelete: Cascade, Nested: "oauth2_tokens"},
			},
			Unique:  [][]string{{"access_token"}, {"refresh_token"}},
			newView: func() any { return new(OAuth2Token) },
		},
	}
}

func upstreamDefinitions() []*Definition {
	return []*Definition{
		{
			Kind: "upstreams", Path: "upstreams", Key: "name", Schema: entities.Upstreams(),
			Foreign: []Foreign{{Field: "client_certificate", Kind: "certificates", OnDelete: Restrict, Nested: "upstreams"}},
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(Upstream) },
		},
		{
			Kind: "targets", Path: "targets", NestedKey: "target", Schema: entities.Targets(),
			Foreign: []Foreign{{Field: "upstream", Kind: "upstreams", OnDelete: Cascade, Nested: "targets"}},
			Unique:  [][]string{{"upstream", "target"}},
			newView: func() any { return new(Target) },
		},
	}
}

// keyDefinitions are keys, and where secrets are.
func keyDefinitions() []*Definition {
	return []*Definition{
		{
			Kind: "key_sets", Path: "key-sets", Key: "name", Schema: entities.KeySets(),
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(KeySet) },
		},
		{
			Kind: "keys", Path: "keys", Key: "name", Schema: entities.Keys(),
			Foreign: []Foreign{{Field: "set", Kind: "key_sets", OnDelete: Cascade, Nested: "keys"}},
			Unique:  [][]string{{"name"}, {"kid", "set"}},
			newView: func() any { return new(Key) },
		},
		{
			Kind: "vaults", Path: "vaults", Key: "prefix", Schema: entities.Vaults(),
			Unique:  [][]string{{"prefix"}},
			newView: func() any { return new(Vault) },
		},
	}
}

// accessDefinitions are who may use the Admin API, and for what.
func accessDefinitions() []*Definition {
	return []*Definition{
		{
			Kind: KindAdminRole, Path: "admin_roles", Key: "name", Schema: entities.AdminRoles(), Access: true,
			Unique:  [][]string{{"name"}},
			newView: func() any { return new(AdminRole) },
		},
		{
			Kind: KindAdminToken, Path: "admin_tokens", Key: "name", Schema: entities.AdminTokens(), Access: true, TTL: true,
			Unique:  [][]string{{"name"}, {"token_hash"}, {"subject"}},
			newView: func() any { return new(AdminToken) },
		},
	}
}
