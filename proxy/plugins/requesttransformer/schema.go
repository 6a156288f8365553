package requesttransformer

import (
	"errors"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/expr"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

var (
	errNoNewName = errors.New("must have the form old:new")
	errConnect   = errors.New("CONNECT is no request for a path")
)

// configSchema is the plugin's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	protocols := schema.Strings(schema.Protocols()...)
	replace := pairs("replace", checkPair, checkHeaderPair)
	replace.Fields = append(replace.Fields, schema.Field{Name: "uri", Type: schema.String, Custom: schema.Text(checkTemplate)})
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			{
				Name: "protocols", Type: schema.Set, Required: true, Default: schema.Strings(schema.HTTPProtocols()...),
				Elements: &schema.Field{Type: schema.String, Required: true, LenMin: new(1), OneOf: protocols},
			},
			fields.Config(
				schema.Field{Name: "http_method", Type: schema.String, Match: "^%u+$", Custom: schema.Text(checkMethod)},
				fields.Record("remove", list("body", "", checkPair), list("headers", "", checkHeaderPair), list("querystring", "", checkPair)),
				pairs("rename", checkRename, checkHeaderRename),
				replace,
				pairs("add", checkPair, checkHeaderPair),
				pairs("append", checkPair, checkHeaderPair),
			),
		},
	}
}

// pairs is a record of lists, of which Kong publishes a pattern for headers only.
func pairs(name string, check, checkHeader func(string) error) schema.Field {
	return fields.Record(name, list("body", "", check), list("headers", "^[^:]+:.*$", checkHeader), list("querystring", "", check))
}

func list(name, match string, check func(string) error) schema.Field {
	element := schema.Field{Type: schema.String, Match: match, Custom: schema.Text(check)}
	return fields.Required(fields.Default(fields.List(name, element), schema.Strings()))
}

func checkTemplate(text string) error {
	_, err := expr.CompileTemplate(text, lookUp)
	return err
}

func checkMethod(method string) error {
	if method == "CONNECT" {
		return errConnect
	}
	return nil
}

func checkPair(entry string) error {
	_, value, err := split(entry)
	if err != nil {
		return err
	}
	return checkTemplate(value)
}

func checkRename(entry string) error {
	if _, value, err := split(entry); err != nil || value == "" {
		return errNoNewName
	}
	return checkPair(entry)
}

func checkHeaderPair(entry string) error {
	if err := fields.ValidHeader(entry); err != nil {
		return err
	}
	return checkPair(entry)
}

func checkHeaderRename(entry string) error { return fields.ValidHeaderPair(entry) }
