package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(800, "response-transformer", responseTransformer) }

// responseTransformer changes headers and JSON bodies of answers.
func responseTransformer(name string) *schema.Schema {
	change := func(name string) schema.Field {
		types := schema.Field{Type: schema.String, OneOf: schema.Strings("boolean", "number", "string")}
		return fields.Record(name, texts("json", pair()), texts("json_types", types), texts("headers", pair()))
	}
	names := schema.Field{Type: schema.String}
	rename := pair()
	rename.Custom = schema.Text(fields.ValidHeaderPair)
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.HTTPProtocols(),
			fields.Config(
				fields.Record("remove", texts("json", names), texts("headers", names)),
				fields.Record("rename", texts("json", pair()), texts("headers", rename)),
				change("replace"),
				change("add"),
				change("append"),
			),
		},
	}
}

// pair is a name and a value with a colon in between.
func pair() schema.Field { return schema.Field{Type: schema.String, Match: "^[^:]+:.*$"} }

// texts is a list that is empty if nothing is said.
func texts(name string, element schema.Field) schema.Field {
	return fields.Required(fields.Default(fields.List(name, element), []any{}))
}
