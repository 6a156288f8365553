package entities

import "github.com/sluicegate/sluice/fsm/schema"

// Routes describes which requests or streams go to a service. What a route may and must match on depends on
// its protocols, of which the first one known picks the family: see routes_protocols.go.
func Routes() *schema.Schema {
	http, stream, grpc := httpRoutes(), streamRoutes(), grpcRoutes()
	return schema.Must(&schema.Schema{
		Name:         "routes",
		Fields:       routeFields(),
		Checks:       routeChecks(),
		SubschemaKey: "protocols",
		Subschemas: map[string]*schema.Schema{
			"http": http, "https": http,
			"tcp": stream, "tls": stream, "udp": stream, "tls_passthrough": stream,
			"grpc": grpc, "grpcs": grpc,
		},
	})
}

func routeFields() []schema.Field {
	return []schema.Field{
		schema.ID(),
		schema.CreatedAt(),
		schema.UpdatedAt(),
		schema.UTF8Name("name"),
		routeProtocols(),
		{
			Name: "https_redirect_status_code", Type: schema.Integer, Required: true, Default: 426,
			OneOf: []any{426, 301, 302, 307, 308},
		},
		{Name: "strip_path", Type: schema.Boolean, Required: true, Default: true},
		{Name: "preserve_host", Type: schema.Boolean, Required: true, Default: false},
		{Name: "request_buffering", Type: schema.Boolean, Required: true, Default: true},
		{Name: "response_buffering", Type: schema.Boolean, Required: true, Default: true},
		schema.Tags(),
		{Name: "service", Type: schema.Foreign, Reference: "services"},
		{Name: "snis", Type: schema.Set, Elements: &schema.Field{
			Type: schema.String, Required: true, LenMin: new(1), Custom: schema.Text(schema.ValidSNI),
		}},
		routePeers("sources"),
		routePeers("destinations"),
		routeMethods(),
		routeHosts(),
		routePaths(),
		routeHeaders(),
		{Name: "regex_priority", Type: schema.Integer, Default: 0},
		{
			Name: "path_handling", Type: schema.String, Default: "v0", LenMin: new(1),
			OneOf: schema.Strings("v0", "v1"),
		},
	}
}

func routeProtocols() schema.Field {
	return schema.Field{
		Name: "protocols", Type: schema.Set, Required: true, LenMin: new(1),
		Default: schema.Strings("http", "https"),
		Elements: &schema.Field{
			Type: schema.String, Required: true, LenMin: new(1), OneOf: schema.Strings(schema.Protocols()...),
		},
		MutuallyExclusiveSubsets: [][]string{
			{"http", "https"}, {"tcp", "tls", "udp"}, {"tls_passthrough"}, {"grpc", "grpcs"},
		},
	}
}

// routePeers is one end of a stream's connection.
func routePeers(name string) schema.Field {
	return schema.Field{
		Name: name, Type: schema.Set,
		Elements: &schema.Field{
			Type: schema.Record,
			Fields: []schema.Field{
				{Name: "ip", Type: schema.String, Custom: schema.Text(schema.ValidIPOrCIDR)},
				schema.Port("port"),
			},
			Checks: []schema.Check{{AtLeastOneOf: []string{"ip", "port"}}},
		},
	}
}

func routeMethods() schema.Field {
	return schema.Field{Name: "methods", Type: schema.Set, Elements: &schema.Field{
		Type: schema.String, Required: true, LenMin: new(1), Match: "^%u+$",
	}}
}

func routeHosts() schema.Field {
	return schema.Field{Name: "hosts", Type: schema.Array, Elements: &schema.Field{
		Type: schema.String, Required: true, LenMin: new(1),
		MatchAll: []schema.Pattern{
			{Pattern: "^[^*]*%*?[^*]*$", Err: "invalid wildcard: must have at most one wildcard"},
		},
		MatchAny: &schema.Patterns{
			Patterns: []string{"^%*%.", "%.%*$", "^[^*]*$"},
			Err:      "invalid wildcard: must be placed at leftmost or rightmost label",
		},
		Custom: schema.Text(schema.ValidRouteHost),
	}}
}

func routePaths() schema.Field {
	return schema.Field{Name: "paths", Type: schema.Array, Elements: &schema.Field{
		Type: schema.String, Required: true, LenMin: new(1),
		MatchAny: &schema.Patterns{
			Patterns: []string{"^/", "^~/"},
			Err:      "should start with: / (fixed path) or ~/ (regex path)",
		},
		MatchNone: []schema.Pattern{{Pattern: "//", Err: "must not have empty segments"}},
		Custom:    schema.Text(schema.ValidRouterPath),
	}}
}

func routeHeaders() schema.Field {
	return schema.Field{
		Name: "headers", Type: schema.Map,
		Keys: &schema.Field{
			Type: schema.String, Required: true, LenMin: new(1), Custom: schema.Text(schema.ValidHeaderName),
			MatchNone: []schema.Pattern{{
				Pattern: "^[Hh][Oo][Ss][Tt]$",
				Err:     "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
			}},
		},
		Values: &schema.Field{
			Type: schema.Array, Required: true,
			Elements: &schema.Field{Type: schema.String, Required: true, LenMin: new(1)},
		},
	}
}

func routeChecks() []schema.Check {
	return []schema.Check{
		{Conditional: &schema.Conditional{
			IfField: "protocols",
			IfMatch: schema.Field{Elements: &schema.Field{
				Type: schema.String, Required: true, LenMin: new(1),
				NotOneOf: schema.Strings("grpcs", "https", "tls", "tls_passthrough"),
			}},
			ThenField: "snis",
			ThenMatch: schema.Field{LenEq: new(0)},
			ThenErr:   "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'",
		}},
		// Kong logs a deprecation of path_handling v1 here; Sluice supports v1
		{Custom: &schema.CustomCheck{FieldSources: []string{"path_handling"}}},
	}
}
