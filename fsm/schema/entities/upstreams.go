package entities

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/fsm/schema"
)

// The errors of names of upstreams and of targets. Their texts are Kong's messages.
var (
	//lint:ignore ST1005 these are Kong's words
	errUpstreamName = errors.New("Invalid name; must be a valid hostname")
	//lint:ignore ST1005 these are Kong's words
	errTarget = errors.New("Invalid target; not a valid hostname or ip address")
)

// targetPort is the port of a target that is given without one.
const targetPort = 8000

// Upstreams describes the names that stand for several targets, and how one of them is chosen and watched.
// What hash_on and algorithm mean for each other is in impliedAlgorithm.
func Upstreams() *schema.Schema {
	return schema.Must(&schema.Schema{
		Name:   "upstreams",
		Fields: slices.Concat(upstreamFields(), hashFields(), upstreamRest()),
		Checks: hashChecks(),
		Imply:  impliedAlgorithm,
	})
}

func upstreamFields() []schema.Field {
	return []schema.Field{
		schema.ID(),
		schema.CreatedAt(),
		{Name: "name", Type: schema.String, Required: true, Unique: true, LenMin: new(1), Custom: schema.Text(validUpstreamName)},
		schema.UpdatedAt(),
		{
			Name: "algorithm", Type: schema.String, Default: "round-robin", LenMin: new(1),
			OneOf: schema.Strings("consistent-hashing", "least-connections", "round-robin", "latency"),
		},
	}
}

// hashFields are what a request's target is chosen by with consistent hashing, and what by if a request does
// not have that.
func hashFields() []schema.Field {
	by := func(name string) schema.Field {
		return schema.Field{
			Name: name, Type: schema.String, Default: "none", LenMin: new(1),
			OneOf: schema.Strings("none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
		}
	}
	header := func(name string) schema.Field {
		f := schema.HeaderName(name)
		f.LenMin = new(1)
		return f
	}
	plain := func(name string) schema.Field { return schema.Field{Name: name, Type: schema.String, LenMin: new(1)} }
	cookiePath := schema.Path("hash_on_cookie_path")
	cookiePath.Default, cookiePath.LenMin = "/", new(1)
	return []schema.Field{
		by("hash_on"),
		by("hash_fallback"),
		header("hash_on_header"),
		header("hash_fallback_header"),
		{Name: "hash_on_cookie", Type: schema.String, Custom: schema.Text(schema.ValidCookieName)},
		cookiePath,
		plain("hash_on_query_arg"),
		plain("hash_fallback_query_arg"),
		plain("hash_on_uri_capture"),
		plain("hash_fallback_uri_capture"),
	}
}

func upstreamRest() []schema.Field {
	return []schema.Field{
		{Name: "slots", Type: schema.Integer, Default: 10000, Between: &[2]float64{10, 1 << 16}},
		healthchecks(),
		schema.Tags(),
		{Name: "host_header", Type: schema.String, Custom: schema.Text(schema.ValidHostPort)},
		{Name: "client_certificate", Type: schema.Foreign, Reference: "certificates"},
		{Name: "use_srv_name", Type: schema.Boolean, Default: false},
	}
}

// hashChecks demand what a choice needs, and a fallback that is another choice.
func hashChecks() []schema.Check {
	when := func(field, value, then string, must schema.Field) schema.Check {
		return schema.Check{Conditional: &schema.Conditional{
			IfField: field, IfMatch: schema.Field{Match: "^" + value + "$"}, ThenField: then, ThenMatch: must,
		}}
	}
	needs := func(field, value, then string) schema.Check {
		return when(field, value, then, schema.Field{Required: true})
	}
	fallback := func(value string, choices ...string) schema.Check {
		return when("hash_on", value, "hash_fallback", schema.Field{OneOf: schema.Strings(choices...)})
	}
	distinct := func(what string) schema.Check {
		return schema.Check{Distinct: []string{"hash_on_" + what, "hash_fallback_" + what}}
	}
	return []schema.Check{
		needs("hash_on", "header", "hash_on_header"),
		needs("hash_fallback", "header", "hash_fallback_header"),
		needs("hash_on", "cookie", "hash_on_cookie"),
		needs("hash_fallback", "cookie", "hash_on_cookie"),
		fallback("none", "none"),
		fallback("cookie", "none"),
		fallback("consumer", "none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
		fallback("ip", "none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
		fallback("path", "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
		distinct("header"),
		needs("hash_on", "query_arg", "hash_on_query_arg"),
		needs("hash_fallback", "query_arg", "hash_fallback_query_arg"),
		distinct("query_arg"),
		needs("hash_on", "uri_capture", "hash_on_uri_capture"),
		needs("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
		distinct("uri_capture"),
	}
}

// impliedAlgorithm lets a client say only what to hash on, which means consistent hashing, or only an
// algorithm that hashes nothing. Null is to hash on nothing, too.
func impliedAlgorithm(in map[string]any) {
	value, given := in["hash_on"]
	hashOn, _ := value.(string)
	switch algorithm := in["algorithm"]; {
	case algorithm == "least-connections", algorithm == "latency", given && value == nil:
		in["hash_on"] = "none"
	case hashOn != "" && hashOn != "none":
		in["algorithm"] = "consistent-hashing"
	}
}

func validUpstreamName(name string) error {
	host, err := schema.ParseHost(name)
	switch {
	case err != nil:
		return errUpstreamName
	case host.Kind != schema.HostName:
		//lint:ignore ST1005 these are Kong's words
		return fmt.Errorf("Invalid name ('%s'); no ip addresses allowed", name)
	case host.HasPort:
		//lint:ignore ST1005 these are Kong's words
		return fmt.Errorf("Invalid name ('%s'); no port allowed", name)
	}
	return nil
}

// Targets describes the places that an upstream stands for. A target is stored with its port, and an IPv6
// address in full, so that one place has one name.
func Targets() *schema.Schema {
	stamp := func(name string) schema.Field {
		return schema.Field{Name: name, Type: schema.Number, Timestamp: true, Auto: true}
	}
	return schema.Must(&schema.Schema{
		Name: "targets",
		Fields: []schema.Field{
			schema.ID(),
			stamp("created_at"),
			stamp("updated_at"),
			{Name: "upstream", Type: schema.Foreign, Reference: "upstreams", OnDelete: "cascade", Required: true},
			{Name: "target", Type: schema.String, Required: true, LenMin: new(1), Custom: schema.Text(validTarget)},
			{Name: "weight", Type: schema.Integer, Default: 100, Between: &[2]float64{0, 65535}},
			schema.Tags(),
		},
		Complete: completeTarget,
	})
}

func validTarget(target string) error {
	if _, err := schema.ParseHost(target); err != nil {
		return errTarget
	}
	return nil
}

func completeTarget(entity map[string]any) {
	target, _ := entity["target"].(string)
	if host, err := schema.ParseHost(target); err == nil {
		entity["target"] = host.WithPort(targetPort)
	}
}
