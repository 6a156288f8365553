package known

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// reserved are the beginnings of keys under which Kong's acme keeps things itself.
var reserved = []string{"kong_acme:renew_config:", "kong_acme:renew_last_run", "kong_acme:cert_key:"}

// acmeStorage has a record for each of the storages, of which one is used.
func acmeStorage() schema.Field {
	return fields.Record("storage_config",
		// Kong wants the name of one of nginx's shared memories, which Sluice does not have.
		fields.Record("shm", fields.Default(fields.String("shm_name"), "kong")),
		fields.Record("kong", []schema.Field{}...),
		acmeRedis(),
		fields.Record("consul", server()...),
		fields.Record("vault", append(server(),
			fields.Switch("tls_verify", true),
			fields.String("tls_server_name"),
			fields.Choice("auth_method", "token", "token", "kubernetes"),
			fields.String("auth_path"),
			fields.String("auth_role"),
			fields.String("jwt_path"),
		)...),
	)
}

// server is where a Consul or a Vault is. The timeout is in milliseconds.
func server() []schema.Field {
	return []schema.Field{
		fields.Switch("https", false),
		schema.Host("host"),
		schema.Port("port"),
		fields.String("kv_path"),
		{Name: "timeout", Type: schema.Number},
		{Name: "token", Type: schema.String, Referenceable: true},
	}
}

func acmeRedis() schema.Field {
	namespace := schema.Field{
		Name: "namespace", Type: schema.String, Required: true, Default: "", LenMin: new(0),
		Custom: schema.Text(validNamespace),
	}
	redis := fields.Redis()
	redis.Fields = append(redis.Fields, fields.Record("extra_options",
		namespace,
		fields.Optional(fields.Number("scan_count", 10)),
	))
	old := func(f schema.Field, path ...string) schema.Field {
		return fields.Renamed("acme", "config.storage_config.redis", f, path...)
	}
	redis.Shorthands = []schema.Field{
		old(schema.Field{Name: "auth", Type: schema.String, LenMin: new(0)}, "password"),
		old(fields.String("ssl_server_name"), "server_name"),
		old(schema.Field{Name: "namespace", Type: schema.String, LenMin: new(0)}, "extra_options", "namespace"),
		old(schema.Field{Name: "scan_count", Type: schema.Integer}, "extra_options", "scan_count"),
	}
	return redis
}

func validNamespace(namespace string) error {
	for _, word := range reserved {
		if strings.HasPrefix(namespace, word) {
			return fmt.Errorf("namespace can't be prefixed with reserved word: %s", word)
		}
	}
	return nil
}
