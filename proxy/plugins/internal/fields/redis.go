package fields

import (
	"fmt"

	"github.com/sluicegate/sluice/fsm/schema"
)

// Redis is how to reach a Redis server. The timeout is in milliseconds.
func Redis() schema.Field {
	return Record("redis",
		schema.Host("host"),
		Default(schema.Port("port"), 6379),
		Default(schema.Timeout("timeout"), 2000),
		schema.Field{Name: "username", Type: schema.String, Referenceable: true},
		schema.Field{Name: "password", Type: schema.String, Referenceable: true, Encrypted: true, LenMin: new(0)},
		schema.Field{Name: "database", Type: schema.Integer, Default: 0},
		Optional(Switch("ssl", false)),
		Optional(Switch("ssl_verify", false)),
		Optional(schema.SNI("server_name")),
	)
}

// RedisShorthands are the names that the fields of Redis had in the config itself
// before Kong 3.8.
func RedisShorthands(plugin string) []schema.Field {
	old := func(name string, t schema.Type) schema.Field {
		return Renamed(plugin, "config", schema.Field{Name: "redis_" + name, Type: t}, "redis", name)
	}
	password := old("password", schema.String)
	password.LenMin = new(0)
	return []schema.Field{
		old("host", schema.String),
		old("port", schema.Integer),
		password,
		old("username", schema.String),
		old("ssl", schema.Boolean),
		old("ssl_verify", schema.Boolean),
		old("server_name", schema.String),
		old("timeout", schema.Integer),
		old("database", schema.Integer),
	}
}

// Renamed makes a shorthand of a record of what one of its fields was called
// before; record is the record's place in messages, path the field's place now.
func Renamed(plugin, record string, f schema.Field, path ...string) schema.Field {
	now := record
	for _, step := range path {
		now += "." + step
	}
	f.Deprecation = &schema.Deprecation{
		Message:          fmt.Sprintf("%s: %s.%s is deprecated, please use %s instead", plugin, record, f.Name, now),
		RemovalInVersion: "4.0",
		ReplacedWith:     [][]string{path},
	}
	return f
}
