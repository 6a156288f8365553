package entities

import "github.com/sluicegate/sluice/fsm/schema"

// The health checks of an upstream are a record of records, each of which Kong publishes with its default:
// that of a record is made of the defaults of its fields.

// The statuses that count as signs of health or of its lack, unless others are set.
var (
	activeHealthy    = []any{200, 302}
	activeUnhealthy  = []any{429, 404, 500, 501, 502, 503, 504, 505}
	passiveHealthy   = []any{200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308}
	passiveUnhealthy = []any{429, 500, 503}
)

func healthchecks() schema.Field {
	// threshold has a default that is no part of the record's: so Kong publishes it
	checks := part("healthchecks", activeChecks(), passiveChecks())
	checks.Fields = append(checks.Fields,
		schema.Field{Name: "threshold", Type: schema.Number, Default: 0, Between: &[2]float64{0, 100}})
	return checks
}

func activeChecks() schema.Field {
	path := schema.Path("http_path")
	path.Default = "/"
	sni := schema.SNI("https_sni")
	sni.Optional = true
	header := schema.HeaderName("")
	header.LenMin = new(1)
	return part("active",
		schema.Field{Name: "concurrency", Type: schema.Integer, Default: 10, Between: &[2]float64{1, 1 << 31}},
		path,
		seconds("timeout", 1),
		schema.Field{Name: "https_verify_certificate", Type: schema.Boolean, Required: true, Default: true},
		part("healthy", statuses(activeHealthy), seconds("interval", 0), times("successes")),
		schema.Field{
			Name: "headers", Type: schema.Map, Optional: true, Keys: &header,
			Values: &schema.Field{Type: schema.Array, Elements: &schema.Field{Type: schema.String}},
		},
		part("unhealthy", times("tcp_failures"), times("timeouts"), times("http_failures"), seconds("interval", 0),
			statuses(activeUnhealthy)),
		checkType(),
		sni,
	)
}

func passiveChecks() schema.Field {
	return part("passive",
		part("unhealthy", times("timeouts"), times("tcp_failures"), statuses(passiveUnhealthy), times("http_failures")),
		part("healthy", statuses(passiveHealthy), times("successes")),
		checkType(),
	)
}

// part is a record that is always there, with the defaults of its fields for its own.
func part(name string, fields ...schema.Field) schema.Field {
	defaults := make(map[string]any, len(fields))
	for _, f := range fields {
		if f.Default != nil {
			defaults[f.Name] = f.Default
		}
	}
	return schema.Field{Name: name, Type: schema.Record, Required: true, Default: defaults, Fields: fields}
}

func seconds(name string, unless int) schema.Field {
	return schema.Field{Name: name, Type: schema.Number, Default: unless, Between: &[2]float64{0, 65535}}
}

// times is how often something must happen in a row; 0 is never enough.
func times(name string) schema.Field {
	return schema.Field{Name: name, Type: schema.Integer, Default: 0, Between: &[2]float64{0, 255}}
}

func statuses(unless []any) schema.Field {
	return schema.Field{
		Name: "http_statuses", Type: schema.Array, Default: unless,
		Elements: &schema.Field{Type: schema.Integer, Between: &[2]float64{100, 999}},
	}
}

func checkType() schema.Field {
	return schema.Field{
		Name: "type", Type: schema.String, Default: "http", OneOf: schema.Strings("tcp", "http", "https", "grpc", "grpcs"),
	}
}
