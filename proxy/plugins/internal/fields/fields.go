// Package fields has the fields that the configs of several plugins share, as
// Kong publishes them. Each call makes a new value, whose further attributes the
// caller sets:
//
//	fields.Required(schema.Host("host"))
//
// Fields that other schemas than those of plugins have too are in fsm/schema.
package fields

import "github.com/sluicegate/sluice/fsm/schema"

// Config is the field "config" of a plugin.
func Config(list ...schema.Field) schema.Field { return Record("config", list...) }

// Record is a record that is always there. Its own defaults are those of its
// fields.
func Record(name string, list ...schema.Field) schema.Field {
	return schema.Field{Name: name, Type: schema.Record, Required: true, Fields: list}
}

// HTTPProtocols is the field "protocols" of a plugin that works on requests only.
// It is schema.ProtocolsHTTP as most plugins publish it.
func HTTPProtocols() schema.Field {
	protocols := schema.Strings(schema.HTTPProtocols()...)
	return protocolSet(protocols, protocols)
}

// AnyProtocols is the field "protocols" of a plugin that works on streams too,
// but is made for requests if nothing is said.
func AnyProtocols() schema.Field {
	return protocolSet(schema.Strings(schema.HTTPProtocols()...), schema.Strings(schema.Protocols()...))
}

func protocolSet(value, options []any) schema.Field {
	return schema.Field{
		Name: "protocols", Type: schema.Set, Required: true, Default: value,
		Elements: &schema.Field{Type: schema.String, OneOf: options},
	}
}

// Required makes a field one that must be there and not null.
func Required(f schema.Field) schema.Field {
	f.Required = true
	return f
}

// Optional publishes that a field need not be there, which Kong says of some.
func Optional(f schema.Field) schema.Field {
	f.Optional = true
	return f
}

// Default gives a field the value that it has if none is given.
func Default(f schema.Field, value any) schema.Field {
	f.Default = value
	return f
}

// Flag is a boolean that is never null.
func Flag(name string, value bool) schema.Field { return Required(Switch(name, value)) }

// Switch is a boolean that may be null.
func Switch(name string, value bool) schema.Field {
	return schema.Field{Name: name, Type: schema.Boolean, Default: value}
}

// String is a string without a default.
func String(name string) schema.Field { return schema.Field{Name: name, Type: schema.String} }

// Number is a number with a default.
func Number(name string, value float64) schema.Field {
	return schema.Field{Name: name, Type: schema.Number, Default: value}
}

// Choice is one of some words, with a default.
func Choice(name, value string, words ...string) schema.Field {
	return schema.Field{Name: name, Type: schema.String, Default: value, OneOf: schema.Strings(words...)}
}

// Secret is a string that Kong encrypts at rest, and that may be a reference to
// where the secret is kept.
func Secret(name string) schema.Field {
	return schema.Field{Name: name, Type: schema.String, Encrypted: true, Referenceable: true}
}

// Strings is a list of strings without a default.
func Strings(name string) schema.Field {
	return List(name, schema.Field{Type: schema.String})
}

// List is a list without a default.
func List(name string, element schema.Field) schema.Field {
	return schema.Field{Name: name, Type: schema.Array, Elements: &element}
}

// CustomFieldsByLua maps names in a log entry to Lua expressions that make their
// values. Sluice has no Lua, so what Kong's parser would say of an expression is
// not said.
func CustomFieldsByLua() schema.Field {
	part := schema.Field{Type: schema.String, LenMin: new(1)}
	return schema.Field{Name: "custom_fields_by_lua", Type: schema.Map, Keys: &part, Values: &part}
}
