package entities

import "github.com/sluicegate/sluice/fsm/schema"

// Services describes the upstream APIs. The shorthand "url" sets protocol, host, port and path at once, and
// overrides them.
func Services() *schema.Schema {
	s := &schema.Schema{
		Name:   "services",
		Fields: serviceFields(),
		Shorthands: []schema.Field{
			{Name: "url", Type: schema.String, Expand: schema.ParseURL},
		},
		Checks: []schema.Check{nullUnless(
			schema.Field{OneOf: schema.Strings("tcp", "tls", "udp", "grpc", "grpcs")}, "path",
		)},
	}
	for _, name := range []string{"client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"} {
		s.Checks = append(s.Checks, nullUnless(schema.Field{NotOneOf: schema.Strings("https", "tls")}, name))
	}
	return schema.Must(s)
}

// nullUnless demands that a field be null for the protocols that match.
func nullUnless(protocols schema.Field, name string) schema.Check {
	return schema.Check{Conditional: &schema.Conditional{
		IfField: "protocol", IfMatch: protocols,
		ThenField: name, ThenMatch: schema.Field{Eq: schema.Null},
	}}
}

func serviceFields() []schema.Field {
	host := schema.Host("host")
	host.Required, host.LenMin = true, new(1)
	port := schema.Port("port")
	port.Required, port.Default = true, 80
	path := schema.Path("path")
	path.LenMin = new(1)
	return []schema.Field{
		schema.ID(),
		schema.CreatedAt(),
		schema.UpdatedAt(),
		schema.UTF8Name("name"),
		{Name: "retries", Type: schema.Integer, Default: 5, Between: &[2]float64{0, 32767}},
		{
			Name: "protocol", Type: schema.String, Required: true, Default: "http", LenMin: new(1),
			OneOf: schema.Strings(schema.Protocols()...),
		},
		host,
		port,
		path,
		serviceTimeout("connect_timeout"),
		serviceTimeout("write_timeout"),
		serviceTimeout("read_timeout"),
		tags(),
		{Name: "client_certificate", Type: schema.Foreign, Reference: "certificates"},
		{Name: "tls_verify", Type: schema.Boolean},
		{Name: "tls_verify_depth", Type: schema.Integer, HasNullDefault: true, Between: &[2]float64{0, 64}},
		{Name: "ca_certificates", Type: schema.Array, Elements: &schema.Field{Type: schema.String, UUID: true}},
		{Name: "enabled", Type: schema.Boolean, Required: true, Default: true},
	}
}

// serviceTimeout is a time in milliseconds, a minute unless set.
func serviceTimeout(name string) schema.Field {
	return schema.Field{Name: name, Type: schema.Integer, Default: 60000, Between: &[2]float64{1, 1<<31 - 2}}
}
