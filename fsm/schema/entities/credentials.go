package entities

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"

	"github.com/sluicegate/sluice/fsm/schema"
)

// BasicauthCredentials describes the credentials of plugin basic-auth. A password is stored and shown as
// PasswordHash of it.
func BasicauthCredentials() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "basicauth_credentials",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "username", Type: schema.String, Required: true, Unique: true, LenMin: new(1)},
			{Name: "password", Type: schema.String, Required: true, Encrypted: true, LenMin: new(1)},
			schema.Tags(),
		},
		Seal: func(w schema.Written) error {
			if password, ok := w.Entity["password"].(string); ok && w.Given("password") {
				consumer, _ := w.Entity["consumer"].(map[string]any)
				id, _ := consumer["id"].(string)
				w.Entity["password"] = PasswordHash(password, id)
			}
			return nil
		},
	})
}

// PasswordHash is what Kong keeps of a consumer's password: the SHA-1 of it and the consumer's id, in
// hexadecimal. It is no more than a veil against a glance.
func PasswordHash(password, consumerID string) string {
	sum := sha1.Sum([]byte(password + consumerID))
	return hex.EncodeToString(sum[:])
}

// HMACauthCredentials describes the credentials of plugin hmac-auth.
func HMACauthCredentials() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "hmacauth_credentials",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "username", Type: schema.String, Required: true, Unique: true, LenMin: new(1)},
			{Name: "secret", Type: schema.String, Auto: true, LenMin: new(1)},
			schema.Tags(),
		},
	})
}

// ACLs describes the groups of consumers that plugin acl lets in or keeps out.
func ACLs() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name: "acls",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "group", Type: schema.String, Required: true, LenMin: new(1)},
			schema.Tags(),
		},
	})
}

// OAuth2Credentials describes the applications of plugin oauth2. With hash_secret the secret is stored and
// shown as schema.HashSecret of it.
func OAuth2Credentials() *schema.Schema {
	auto := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.String, Optional: true, Auto: true, LenMin: new(1)}
	}
	clientID, clientSecret := auto("client_id"), auto("client_secret")
	clientID.Unique, clientSecret.Encrypted = true, true
	return schema.Must(&schema.Schema{
		Name: "oauth2_credentials",
		Fields: []schema.Field{
			schema.ID(),
			schema.CreatedAt(),
			parentConsumer(),
			{Name: "name", Type: schema.String, Required: true, LenMin: new(1)},
			clientID,
			clientSecret,
			{Name: "hash_secret", Type: schema.Boolean, Required: true, Default: false},
			{Name: "redirect_uris", Type: schema.Array, Optional: true, Elements: &schema.Field{
				Type: schema.String, Required: true, LenMin: new(1), Custom: schema.Text(validRedirect),
			}},
			schema.Tags(),
			{
				Name: "client_type", Type: schema.String, Required: true, Default: "confidential", LenMin: new(1),
				OneOf: schema.Strings("confidential", "public"),
			},
		},
		Seal: sealClientSecret,
	})
}

// sealClientSecret hashes a secret that is new, or that is to be a hash from now on.
func sealClientSecret(w schema.Written) error {
	secret, ok := w.Entity["client_secret"].(string)
	if !ok || w.Entity["hash_secret"] != true || !w.Given("client_secret") && w.Before["hash_secret"] == true {
		return nil
	}
	hash, err := schema.HashSecret(w.Context, secret)
	if err == nil {
		w.Entity["client_secret"] = hash
	}
	return err
}

func validRedirect(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return fmt.Errorf("cannot parse '%s'", uri)
	case u.Fragment != "":
		return fmt.Errorf("fragment not allowed in '%s'", uri)
	}
	return nil
}

// OAuth2Tokens describes the tokens that plugin oauth2 has given out, or that were moved in.
func OAuth2Tokens() *schema.Schema {
	token := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.String, Optional: true, Unique: true}
	}
	access := token("access_token")
	access.Auto = true
	return schema.Must(&schema.Schema{
		Name: "oauth2_tokens",
		TTL:  true,
		Fields: []schema.Field{
			id(),
			schema.CreatedAt(),
			{Name: "service", Type: schema.Foreign, Reference: "services", OnDelete: "cascade", HasNullDefault: true},
			{Name: "credential", Type: schema.Foreign, Reference: "oauth2_credentials", OnDelete: "cascade", Required: true},
			{Name: "token_type", Type: schema.String, Required: true, Default: "bearer", OneOf: schema.Strings("bearer")},
			{Name: "expires_in", Type: schema.Integer, Required: true},
			access,
			token("refresh_token"),
			{Name: "authenticated_userid", Type: schema.String, Optional: true},
			{Name: "scope", Type: schema.String},
		},
	})
}
