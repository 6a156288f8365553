package httplog

import (
	"slices"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
	"github.com/sluicegate/sluice/proxy/plugins/internal/logentry"
)

// configSchema is http-log's part of the plugins entity, as Kong publishes it.
func configSchema() *schema.Schema {
	endpoint := fields.Required(fields.Secret("http_endpoint"))
	endpoint.Custom = schema.Text(checkEndpoint)
	code := fields.CustomFieldsByLua()
	code.Values = &schema.Field{Type: schema.String, LenMin: new(1), Custom: schema.Text(logentry.CheckCode)}
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(slices.Concat(
				[]schema.Field{
					endpoint,
					fields.Choice("method", "POST", "POST", "PUT", "PATCH"),
					fields.Choice("content_type", "application/json", "application/json", "application/json; charset=utf-8"),
					fields.Number("timeout", 10000),
					fields.Number("keepalive", 60000),
				},
				fields.OldQueue(name),
				[]schema.Field{headersField(), fields.Queue(), code},
			)...),
		},
	}
}

// headersField has Kong's patterns, of which the second one lets some spellings
// pass that then have no effect.
func headersField() schema.Field {
	return schema.Field{
		Name: "headers", Type: schema.Map,
		Keys: &schema.Field{Type: schema.String, Custom: schema.Text(schema.ValidHeaderName), MatchNone: []schema.Pattern{
			{Pattern: "^[Hh][Oo][Ss][Tt]$", Err: "cannot contain 'Host' header"},
			{Pattern: "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Ll][Ee][nn][Gg][Tt][Hh]$", Err: "cannot contain 'Content-Length' header"},
			{Pattern: "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Tt][Yy][Pp][Ee]$", Err: "cannot contain 'Content-Type' header"},
		}},
		Values: &schema.Field{Type: schema.String, Referenceable: true, Custom: schema.Text(checkValue)},
	}
}

func checkEndpoint(text string) error {
	if err := schema.ValidURL(text); err != nil {
		return err
	}
	_, err := parseEndpoint(text)
	return err
}

// checkValue refuses what could not be sent as a field's value.
func checkValue(value string) error {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errControl
		}
	}
	return nil
}
