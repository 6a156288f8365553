package known

import (
	"errors"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

var errNoGrant = errors.New("at least one of these fields must be true: enable_authorization_code, " +
	"enable_implicit_grant, enable_client_credentials, enable_password_grant")

func init() { register(1400, "oauth2", oauth2) }

// oauth2 is an authorization server (RFC 6749), and knows consumers by its tokens.
// Times are in seconds.
func oauth2(name string) *schema.Schema {
	config := fields.Config(
		fields.Strings("scopes"),
		fields.Flag("mandatory_scope", false),
		schema.Field{Name: "provision_key", Type: schema.String, Required: true, Auto: true, Unique: true, Encrypted: true},
		fields.Required(fields.Number("token_expiration", 7200)),
		fields.Flag("enable_authorization_code", false),
		fields.Flag("enable_implicit_grant", false),
		fields.Flag("enable_client_credentials", false),
		fields.Flag("enable_password_grant", false),
		fields.Flag("hide_credentials", false),
		fields.Flag("accept_http_if_already_terminated", false),
		fields.String("anonymous"),
		fields.Flag("global_credentials", false),
		fields.Default(fields.String("auth_header_name"), "authorization"),
		schema.Field{
			Name: "refresh_token_ttl", Type: schema.Number, Required: true, Default: 1_209_600, Between: &[2]float64{0, 100_000_000},
		},
		fields.Flag("reuse_refresh_token", false),
		fields.Optional(fields.Choice("pkce", "lax", "none", "lax", "strict")),
		fields.Optional(fields.String("realm")),
	)
	config.Custom = checkGrants
	config.Checks = []schema.Check{{Conditional: &schema.Conditional{
		IfField: "mandatory_scope", IfMatch: schema.Field{Eq: true},
		ThenField: "scopes", ThenMatch: schema.Field{Required: true},
	}}}
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{schema.NoConsumer(), fields.HTTPProtocols(), config},
	}
}

// checkGrants demands a way to get a token.
func checkGrants(value any) error {
	config, _ := value.(map[string]any)
	for _, flow := range []string{"authorization_code", "implicit_grant", "client_credentials", "password_grant"} {
		if config["enable_"+flow] == true {
			return nil
		}
	}
	return errNoGrant
}
