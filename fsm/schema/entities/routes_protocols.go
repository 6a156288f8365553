package entities

import "github.com/sluicegate/sluice/fsm/schema"

// A family of protocols narrows a route twice: fields that have no meaning for it must be null, and at
// least one of those that pick requests or streams must be set.

const (
	httpNames   = "'http' or 'https'"
	streamNames = "'tcp', 'tls', 'tls_passthrough' or 'udp'"
	grpcNames   = "'grpc' or 'grpcs'"
)

func httpRoutes() *schema.Schema {
	return &schema.Schema{
		Name: "http",
		Fields: []schema.Field{
			unusable(routePeers("sources"), httpNames),
			unusable(routePeers("destinations"), httpNames),
		},
		Checks: []schema.Check{{ConditionalAtLeastOneOf: &schema.ConditionalAtLeastOneOf{
			IfField:     "protocols",
			IfMatch:     schema.Field{Contains: "https"},
			Then:        []string{"methods", "hosts", "headers", "paths", "snis"},
			ThenErr:     "must set one of %s when 'protocols' is 'https'",
			ElseMatch:   &schema.Field{Contains: "http"},
			ElseThen:    []string{"methods", "hosts", "headers", "paths"},
			ElseThenErr: "must set one of %s when 'protocols' is 'http'",
		}}},
	}
}

func streamRoutes() *schema.Schema {
	all := func(protocols ...string) schema.Field {
		return schema.Field{Elements: &schema.Field{Type: schema.String, OneOf: schema.Strings(protocols...)}}
	}
	return &schema.Schema{
		Name: "stream",
		Fields: []schema.Field{
			unusable(routeMethods(), streamNames),
			unusable(routeHosts(), streamNames),
			unusable(routePaths(), streamNames),
			unusable(routeHeaders(), streamNames),
		},
		Checks: []schema.Check{
			{ConditionalAtLeastOneOf: &schema.ConditionalAtLeastOneOf{
				IfField: "protocols",
				IfMatch: all("tcp", "tls", "udp"),
				Then:    []string{"sources", "destinations", "snis"},
				ThenErr: "must set one of %s when 'protocols' is 'tcp', 'tls' or 'udp'",
			}},
			{ConditionalAtLeastOneOf: &schema.ConditionalAtLeastOneOf{
				IfField: "protocols",
				IfMatch: all("tls_passthrough"),
				Then:    []string{"snis"},
				ThenErr: "must set snis when 'protocols' is 'tls_passthrough'",
			}},
		},
	}
}

func grpcRoutes() *schema.Schema {
	return &schema.Schema{
		Name: "grpc",
		Fields: []schema.Field{
			{
				Name: "strip_path", Type: schema.Boolean, Required: true, Default: false, Ne: true,
				Err: "cannot set 'strip_path' when 'protocols' is " + grpcNames,
			},
			unusable(routeMethods(), grpcNames),
			unusable(routePeers("sources"), grpcNames),
			unusable(routePeers("destinations"), grpcNames),
		},
		Checks: []schema.Check{{ConditionalAtLeastOneOf: &schema.ConditionalAtLeastOneOf{
			IfField:     "protocols",
			IfMatch:     schema.Field{Contains: "grpcs"},
			Then:        []string{"hosts", "headers", "paths", "snis"},
			ThenErr:     "must set one of %s when 'protocols' is 'grpcs'",
			ElseMatch:   &schema.Field{Contains: "grpc"},
			ElseThen:    []string{"hosts", "headers", "paths"},
			ElseThenErr: "must set one of %s when 'protocols' is 'grpc'",
		}}},
	}
}

// unusable is a field that a family of protocols cannot use.
func unusable(f schema.Field, protocols string) schema.Field {
	f.Eq = schema.Null
	f.Err = "cannot set '" + f.Name + "' when 'protocols' is " + protocols
	return f
}
