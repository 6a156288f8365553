package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(1900, "session", session) }

// session remembers by a cookie who a client is. Times are in seconds.
//
// Kong draws the default of secret when it starts, the same one for every
// instance, and shows it to whoever reads the schema. Here each instance gets a
// secret of its own when it is made.
func session(name string) *schema.Schema {
	config := fields.Config(
		schema.Field{Name: "secret", Type: schema.String, Optional: true, Auto: true, Encrypted: true, Referenceable: true},
		fields.Choice("storage", "cookie", "cookie", "kong"),
		fields.Default(fields.String("audience"), "default"),
		fields.Number("idling_timeout", 900),
		fields.Number("rolling_timeout", 3600),
		fields.Number("absolute_timeout", 86_400),
		fields.Number("stale_ttl", 10),
		fields.Default(fields.String("cookie_name"), "session"),
		fields.Default(fields.String("cookie_path"), "/"),
		fields.String("cookie_domain"),
		fields.Choice("cookie_same_site", "Strict", "Strict", "Lax", "None", "Default"),
		fields.Switch("cookie_http_only", true),
		fields.Switch("cookie_secure", true),
		fields.Switch("remember", false),
		fields.Default(fields.String("remember_cookie_name"), "remember"),
		fields.Number("remember_rolling_timeout", 604_800),
		fields.Number("remember_absolute_timeout", 2_592_000),
		sessionHeaders("response_headers"),
		sessionHeaders("request_headers"),
		fields.Switch("read_body_for_logout", false),
		schema.Field{
			Name: "logout_methods", Type: schema.Set, Default: schema.Strings("POST", "DELETE"),
			Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings("GET", "POST", "DELETE")},
		},
		fields.Default(fields.String("logout_query_arg"), "session_logout"),
		fields.Default(fields.String("logout_post_arg"), "session_logout"),
		fields.Switch("hash_subject", false),
		fields.Switch("store_metadata", false),
	)
	config.Shorthands = sessionShorthands()
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{schema.NoConsumer(), fields.AnyProtocols(), config},
	}
}

// sessionHeaders is what of a session is told in headers.
func sessionHeaders(name string) schema.Field {
	parts := schema.Strings("id", "audience", "subject", "timeout", "idling-timeout", "rolling-timeout", "absolute-timeout")
	return schema.Field{Name: name, Type: schema.Set, Elements: &schema.Field{Type: schema.String, OneOf: parts}}
}

// sessionShorthands are the names of old. Kong calls none of them deprecated: they
// override what they stand for, and are not echoed.
func sessionShorthands() []schema.Field {
	old := func(name string, t schema.Type, now string) schema.Field {
		return schema.Field{Name: name, Type: t, Expand: func(value any) map[string]any { return map[string]any{now: value} }}
	}
	idle := old("cookie_idletime", schema.Number, "idling_timeout")
	idle.Expand = func(value any) map[string]any {
		if value == nil {
			value = 0.0 // no bound, which is what null meant
		}
		return map[string]any{"idling_timeout": value}
	}
	renew := schema.Field{Name: "cookie_renew", Type: schema.Number, Expand: func(any) map[string]any { return nil }}
	sameSite := old("cookie_samesite", schema.String, "cookie_same_site")
	sameSite.Expand = func(value any) map[string]any {
		if value == "off" {
			value = "Lax"
		}
		return map[string]any{"cookie_same_site": value}
	}
	return []schema.Field{
		old("cookie_lifetime", schema.Number, "rolling_timeout"),
		idle,
		renew, // without a meaning today
		old("cookie_discard", schema.Number, "stale_ttl"),
		sameSite,
		old("cookie_httponly", schema.Boolean, "cookie_http_only"),
		old("cookie_persistent", schema.Boolean, "remember"),
	}
}
