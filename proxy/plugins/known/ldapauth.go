package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(1200, "ldap-auth", ldapAuth) }

// ldapAuth asks an LDAP server whether a user's password is right. The cache's
// time is in seconds, timeouts are in milliseconds.
func ldapAuth(name string) *schema.Schema {
	config := fields.Config(
		fields.Required(schema.Host("ldap_host")),
		fields.Required(fields.Default(schema.Port("ldap_port"), 389)),
		fields.Flag("ldaps", false),
		fields.Flag("start_tls", false),
		fields.Flag("verify_ldap_host", false),
		fields.Required(fields.String("base_dn")),
		fields.Required(fields.String("attribute")),
		fields.Required(fields.Number("cache_ttl", 60)),
		fields.Flag("hide_credentials", false),
		fields.Number("timeout", 10_000),
		fields.Number("keepalive", 60_000),
		fields.String("anonymous"),
		fields.Default(fields.String("header_type"), "ldap"),
		fields.Optional(fields.String("realm")),
	)
	config.Checks = []schema.Check{{Conditional: &schema.Conditional{
		IfField: "ldaps", IfMatch: schema.Field{Eq: true},
		ThenField: "start_tls", ThenMatch: schema.Field{Eq: false},
		ThenErr: "'ldaps' and 'start_tls' cannot be enabled simultaneously",
	}}}
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{schema.NoConsumer(), fields.HTTPProtocols(), config},
	}
}
