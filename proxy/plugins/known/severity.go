package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// severity is how urgent a line of a log is, in syslog's words (RFC 5424, section
// 6.2.1).
func severity(name string) schema.Field {
	return fields.Choice(name, "info", "debug", "info", "notice", "warning", "err", "crit", "alert", "emerg")
}
