package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(1705, "acme", acme) }

// acme gets certificates by the ACME protocol. It is for the whole gateway only.
func acme(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			{Name: "service", Type: schema.Foreign, Reference: "services", Eq: schema.Null},
			{Name: "route", Type: schema.Foreign, Reference: "routes", Eq: schema.Null},
			fields.HTTPProtocols(),
			fields.Config(
				schema.Field{
					Name: "account_email", Type: schema.String, Required: true, Match: "%w*%p*@+%w*%.?%w*",
					Encrypted: true, Referenceable: true,
				},
				schema.Field{Name: "account_key", Type: schema.Record, Optional: true, Fields: []schema.Field{
					fields.Required(fields.String("key_id")),
					fields.String("key_set"),
				}},
				fields.Default(schema.URL("api_uri"), "https://acme-v02.api.letsencrypt.org/directory"),
				fields.Switch("tos_accepted", false),
				fields.Secret("eab_kid"),
				fields.Secret("eab_hmac_key"),
				fields.Choice("cert_type", "rsa", "rsa", "ecc"),
				schema.Field{Name: "rsa_key_size", Type: schema.Number, Default: 4096, OneOf: []any{2048, 3072, 4096}},
				fields.Number("renew_threshold_days", 14),
				acmeDomains(),
				fields.Switch("allow_any_domain", false),
				fields.Number("fail_backoff_minutes", 5),
				fields.Choice("storage", "shm", "kong", "shm", "redis", "consul", "vault"),
				acmeStorage(),
				fields.String("preferred_chain"),
				fields.Switch("enable_ipv4_common_name", true),
			),
		},
		Checks: []schema.Check{
			{Conditional: &schema.Conditional{
				IfField: "config.api_uri",
				IfMatch: schema.Field{OneOf: schema.Strings(
					"https://acme-v02.api.letsencrypt.org", "https://acme-staging-v02.api.letsencrypt.org",
				)},
				ThenField: "config.tos_accepted", ThenMatch: schema.Field{Eq: true},
				ThenErr: "terms of service must be accepted, see https://letsencrypt.org/repository/",
			}},
			acmeNeeds("host"),
			acmeNeeds("port"),
			// Kong refuses storages in modes that Sluice does not have.
			{Custom: &schema.CustomCheck{FieldSources: []string{"config.storage"}}},
		},
	}
}

// acmeDomains are host names with at most one wildcard, at an end.
func acmeDomains() schema.Field {
	return fields.List("domains", schema.Field{
		Type: schema.String,
		MatchAll: []schema.Pattern{
			{Pattern: "^[^*]*%*?[^*]*$", Err: "invalid wildcard: must have at most one wildcard"},
		},
		MatchAny: &schema.Patterns{
			Patterns: []string{"^%*%.", "%.%*$", "^[^*]*$"},
			Err:      "invalid wildcard: must be placed at leftmost or rightmost label",
		},
		Custom: schema.Text(schema.ValidRouteHost),
	})
}

// acmeNeeds demands a field of the Redis storage where that is the storage.
func acmeNeeds(field string) schema.Check {
	return schema.Check{Conditional: &schema.Conditional{
		IfField: "config.storage", IfMatch: schema.Field{Eq: "redis"},
		ThenField: "config.storage_config.redis." + field, ThenMatch: schema.Field{Required: true},
	}}
}
