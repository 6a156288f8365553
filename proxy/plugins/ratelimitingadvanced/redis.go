package ratelimitingadvanced

import (
	"errors"
	"net"
	"strconv"

	"github.com/sluicegate/sluice/fsm/schema"
)

// localhost is where Redis is unless something else is said.
const localhost = "127.0.0.1"

var errAddress = errors.New("must be host:port")

// redisField is what Kong can be told of a Redis, all of which is given back.
func redisField() schema.Field {
	return schema.Field{
		Name: "redis", Type: schema.Record, Required: true, Fields: redisFields(), Shorthands: redisShorthands(),
		Checks: []schema.Check{
			{MutuallyRequired: []string{"host", "port"}},
			{MutuallyRequired: []string{"sentinel_master", "sentinel_role", "sentinel_nodes"}},
			{MutuallyRequired: []string{"connect_timeout", "send_timeout", "read_timeout"}},
		},
	}
}

func redisFields() []schema.Field {
	server := schema.SNI("server_name")
	server.Optional = true
	return []schema.Field{
		redisHost("host"), redisPort(),
		redisTimeout("connect_timeout"), redisTimeout("send_timeout"), redisTimeout("read_timeout"),
		{Name: "username", Type: schema.String, Referenceable: true},
		{Name: "password", Type: schema.String, Referenceable: true, Encrypted: true},
		{Name: "sentinel_username", Type: schema.String, Referenceable: true},
		{Name: "sentinel_password", Type: schema.String, Referenceable: true, Encrypted: true},
		{Name: "database", Type: schema.Integer, Default: 0},
		{Name: "keepalive_pool_size", Type: schema.Integer, Default: 256, Between: &[2]float64{1, 1<<31 - 2}},
		{Name: "keepalive_backlog", Type: schema.Integer, Between: &[2]float64{0, 1<<31 - 2}},
		{Name: "sentinel_master", Type: schema.String},
		{Name: "sentinel_role", Type: schema.String, OneOf: schema.Strings("master", "slave", "any")},
		redisNodes("sentinel_nodes", "host"),
		redisNodes("cluster_nodes", "ip"),
		{Name: "ssl", Type: schema.Boolean, Optional: true, Default: false},
		{Name: "ssl_verify", Type: schema.Boolean, Optional: true, Default: false},
		server,
		{Name: "cluster_max_redirections", Type: schema.Integer, Optional: true, Default: 5},
		{Name: "connection_is_proxied", Type: schema.Boolean, Optional: true, Default: false},
		{Name: "redis_proxy_type", Type: schema.String, Optional: true, OneOf: schema.Strings("envoy_v1.31")},
	}
}

func redisHost(name string) schema.Field {
	f := schema.Host(name)
	f.Default = localhost
	return f
}

func redisPort() schema.Field {
	f := schema.Port("port")
	f.Default = 6379
	return f
}

func redisTimeout(name string) schema.Field {
	f := schema.Timeout(name)
	f.Default = 2000
	return f
}

// redisNodes is a list of hosts and ports.
func redisNodes(name, host string) schema.Field {
	h := redisHost(host)
	h.Required = true
	return schema.Field{
		Name: name, Type: schema.Array, Optional: true, LenMin: new(1),
		Elements: &schema.Field{Type: schema.Record, Fields: []schema.Field{h, redisPort()}},
	}
}

// redisShorthands are older names, which are not shown in answers: no single
// field has their value.
func redisShorthands() []schema.Field {
	timeout := func(value any) map[string]any {
		return map[string]any{"connect_timeout": value, "send_timeout": value, "read_timeout": value}
	}
	return []schema.Field{
		{
			Name: "timeout", Type: schema.Integer, Expand: timeout,
			Deprecation: deprecated("timeout", "connect_timeout, send_timeout and read_timeout"),
		},
		redisAddresses("sentinel_addresses", "sentinel_nodes", "host"),
		redisAddresses("cluster_addresses", "cluster_nodes", "ip"),
	}
}

// redisAddresses is a list of "host:port" that stands for one of redisNodes.
func redisAddresses(name, nodes, host string) schema.Field {
	return schema.Field{
		Name: name, Type: schema.Array, LenMin: new(1), Deprecation: deprecated(name, nodes),
		Elements: &schema.Field{Type: schema.String, Custom: func(value any) error {
			address, _ := value.(string)
			_, _, err := splitAddress(address)
			return err
		}},
		Expand: func(value any) map[string]any {
			addresses, ok := value.([]any)
			if !ok {
				return map[string]any{nodes: nil}
			}
			list := make([]any, len(addresses))
			for i, a := range addresses {
				address, _ := a.(string)
				h, port, _ := splitAddress(address) // checked before
				list[i] = map[string]any{host: h, "port": int64(port)}
			}
			return map[string]any{nodes: list}
		},
	}
}

func splitAddress(address string) (host string, port uint64, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errAddress
	}
	if port, err = strconv.ParseUint(text, 10, 16); err != nil {
		return "", 0, errAddress
	}
	return host, port, nil
}

func deprecated(field, instead string) *schema.Deprecation {
	return &schema.Deprecation{
		Message:          name + ": config.redis." + field + " is deprecated, please use " + instead + " instead",
		RemovalInVersion: "4.0",
	}
}
