package concurrencylimiting

import (
	"errors"
	"math"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

var (
	errLimit  = errors.New("must be a whole number from 1 to 2147483647")
	errStatus = errors.New("must be the status of an error, from 400 to 599")
)

// configSchema is the plugin's part of the plugins entity.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: configFields()},
		},
		Checks: []schema.Check{
			ratelimit.Needs("limit_by", schema.Field{Eq: ratelimit.ByHeader}, "header_name"),
			ratelimit.Needs("limit_by", schema.Field{Eq: ratelimit.ByPath}, "path"),
		},
	}
}

func configFields() []schema.Field {
	return []schema.Field{
		{Name: "limit", Type: schema.Number, Required: true, Custom: ratelimit.Number(checkLimit)},
		{
			Name: "limit_by", Type: schema.String, Default: ratelimit.ByConsumer,
			OneOf: schema.Strings(ratelimit.ByConsumer, ratelimit.ByCredential, ratelimit.ByIP, ratelimit.ByService, ratelimit.ByHeader, ratelimit.ByPath),
		},
		schema.HeaderName("header_name"),
		schema.Path("path"),
		{Name: "policy", Type: schema.String, Required: true, Default: "cluster", OneOf: schema.Strings("cluster", policyNode)},
		{Name: "fault_tolerant", Type: schema.Boolean, Required: true, Default: true},
		{Name: "hide_client_headers", Type: schema.Boolean, Required: true, Default: false},
		{Name: "error_code", Type: schema.Number, Required: true, Default: 429, Custom: ratelimit.Number(checkStatus)},
		{Name: "error_message", Type: schema.String, Required: true, Default: "Too many requests in flight"},
	}
}

func checkLimit(limit float64) error {
	if limit < 1 || limit > float64(limiter.MaxTokens(limiter.InFlight)) || limit != math.Trunc(limit) {
		return errLimit
	}
	return nil
}

func checkStatus(code float64) error {
	if code < 400 || code > 599 || code != math.Trunc(code) {
		return errStatus
	}
	return nil
}
