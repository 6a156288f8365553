package jwt

import "github.com/sluicegate/sluice/fsm/schema"

// configSchema is jwt's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.NoConsumer(),
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: []schema.Field{
				names("uri_param_names", "jwt"),
				names("cookie_names"),
				{Name: "key_claim_name", Type: schema.String, Default: "iss"},
				{Name: "secret_is_base64", Type: schema.Boolean, Required: true, Default: false},
				{
					Name: "claims_to_verify", Type: schema.Set,
					Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings("exp", "nbf")},
				},
				{Name: "anonymous", Type: schema.String},
				{Name: "run_on_preflight", Type: schema.Boolean, Required: true, Default: true},
				{Name: "maximum_expiration", Type: schema.Number, Default: 0, Between: &[2]float64{0, 31536000}},
				names("header_names", "authorization"),
				{Name: "realm", Type: schema.String, Optional: true},
			}},
		},
		Checks: []schema.Check{{Conditional: &schema.Conditional{
			IfField: "config.maximum_expiration", IfMatch: schema.Field{Gt: new(0.0)},
			ThenField: "config.claims_to_verify", ThenMatch: schema.Field{Contains: "exp"},
		}}},
	}
}

func names(field string, values ...string) schema.Field {
	return schema.Field{
		Name: field, Type: schema.Set, Default: schema.Strings(values...),
		Elements: &schema.Field{Type: schema.String},
	}
}
