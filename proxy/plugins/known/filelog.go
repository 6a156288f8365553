package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

func init() { register(9, "file-log", fileLog) }

// fileLog appends each request's log to a file.
func fileLog(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.AnyProtocols(),
			fields.Config(
				schema.Field{
					Name: "path", Type: schema.String, Required: true,
					Match: "^[^%s*&%%\\`][^*&%%\\`]*[^%s*&%%\\`]$", Err: "not a valid filename",
				},
				fields.Flag("reopen", false),
				fields.CustomFieldsByLua(),
			),
		},
	}
}
