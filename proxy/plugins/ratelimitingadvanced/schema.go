package ratelimitingadvanced

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugins/internal/ratelimit"
)

var (
	errGroups     = errors.New("must be false: there are no consumer groups")
	errThrottling = errors.New("must be false: refused requests cannot wait")
	errNegative   = errors.New("must not be negative")
	errSyncRate   = errors.New("must be -1, 0, or at least 0.02")
	errStatus     = errors.New("must be a status from 200 to 599 whose answers have a body")
)

// configSchema is the plugin's part of the plugins entity.
func configSchema() *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			schema.ProtocolsHTTP(),
			{Name: "config", Type: schema.Record, Required: true, Fields: configFields()},
		},
		Checks:   []schema.Check{{Custom: &schema.CustomCheck{FieldSources: []string{"config"}, Func: checkConfig}}},
		Complete: complete,
	}
}

func configFields() []schema.Field {
	return slices.Concat(countedFields(), answerFields(), unusedFields())
}

// countedFields say what is counted.
func countedFields() []schema.Field {
	most := new(limiter.MaxRates)
	identifier, part := identifierField(), identifierField()
	identifier.Name, identifier.Required, identifier.Default = "identifier", true, ratelimit.ByConsumer
	return []schema.Field{
		identifier,
		{Name: "compound_identifier", Type: schema.Array, Elements: &part},
		schema.HeaderName("header_name"),
		schema.Path("path"),
		{
			Name: "limit", Type: schema.Array, Required: true, LenMin: new(1), LenMax: most,
			Elements: &schema.Field{Type: schema.Number, Gt: new(0.0)},
		},
		{
			Name: "window_size", Type: schema.Array, Required: true, LenMin: new(1), LenMax: most,
			Elements: &schema.Field{Type: schema.Number, Custom: ratelimit.Number(checkSeconds)},
		},
		{Name: "window_type", Type: schema.String, Required: true, Default: sliding, OneOf: schema.Strings(fixed, sliding)},
		{
			Name: "burst", Type: schema.Array, LenMin: new(1), LenMax: most,
			Elements: &schema.Field{Type: schema.Number, Gt: new(0.0)},
		},
		{Name: "namespace", Type: schema.String, Auto: true, Derived: true},
		{
			Name: "strategy", Type: schema.String, Required: true, Default: "local",
			OneOf: schema.Strings("cluster", "redis", "local", strategyNode),
		},
		{Name: "fault_tolerant", Type: schema.Boolean, Required: true, Default: true},
	}
}

// identifierField has all of Kong's values but consumer-group.
func identifierField() schema.Field {
	known := []string{
		ratelimit.ByIP, ratelimit.ByCredential, ratelimit.ByConsumer, ratelimit.ByService, ratelimit.ByHeader,
		ratelimit.ByPath, ratelimit.ByRoute,
	}
	return schema.Field{
		Type: schema.String, OneOf: schema.Strings(known...),
		Err: "expected one of: " + strings.Join(known, ", ") + " (there are no consumer groups)",
	}
}

// answerFields say what clients are told.
func answerFields() []schema.Field {
	return []schema.Field{
		{Name: "hide_client_headers", Type: schema.Boolean, Default: false},
		{Name: "retry_after_jitter_max", Type: schema.Number, Default: 0, Custom: ratelimit.Number(checkJitter)},
		{Name: "error_code", Type: schema.Number, Required: true, Default: 429, Custom: ratelimit.Number(checkStatus)},
		{Name: "error_message", Type: schema.String, Required: true, Default: "API rate limit exceeded"},
	}
}

// unusedFields are accepted: with any value where it is no different what they
// say, else with the one that says what is done.
func unusedFields() []schema.Field {
	return []schema.Field{
		{Name: "sync_rate", Type: schema.Number, Custom: ratelimit.Number(checkSyncRate)},
		{Name: "dictionary_name", Type: schema.String, Required: true, Default: "kong_rate_limiting_counters"},
		{Name: "lock_dictionary_name", Type: schema.String, Required: true, Default: "kong_locks"},
		{Name: "disable_penalty", Type: schema.Boolean, Default: false},
		redisField(),
		{Name: "enforce_consumer_groups", Type: schema.Boolean, Default: false, Custom: mustBeFalse(errGroups)},
		{Name: "consumer_groups", Type: schema.Array, Elements: &schema.Field{Type: schema.String}},
		{Name: "throttling", Type: schema.Record, Optional: true, Fields: throttlingFields()},
	}
}

func throttlingFields() []schema.Field {
	field := func(name string, initial int) schema.Field {
		return schema.Field{Name: name, Type: schema.Number, Required: true, Default: initial, Between: &[2]float64{1, 1000000}}
	}
	return []schema.Field{
		{Name: "enabled", Type: schema.Boolean, Required: true, Default: false, Custom: mustBeFalse(errThrottling)},
		field("interval", 5), field("retry_times", 3), field("queue_limit", 5),
	}
}

func mustBeFalse(otherwise error) func(any) error {
	return func(value any) error {
		if value == true {
			return otherwise
		}
		return nil
	}
}

func checkJitter(seconds float64) error {
	if seconds < 0 {
		return errNegative
	}
	return nil
}

func checkSyncRate(rate float64) error {
	if rate == -1 || rate == 0 || rate >= 0.02 {
		return nil
	}
	return errSyncRate
}

// checkStatus refuses what could not be the answer to a refused request.
func checkStatus(code float64) error {
	switch {
	case code < 200, code > 599, code != math.Trunc(code), code == 204, code == 205, code == 304:
		return errStatus
	}
	return nil
}

// checkConfig checks what several fields say together.
func checkConfig(entity map[string]any) error {
	fields, _ := entity["config"].(map[string]any)
	raw, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var c Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	missing := func(field string) error {
		return schema.FieldViolation("config."+field, "required field missing")
	}
	switch by := c.identifiers(); {
	case c.HeaderName == "" && slices.Contains(by, ratelimit.ByHeader):
		return missing("header_name")
	case c.Path == "" && slices.Contains(by, ratelimit.ByPath):
		return missing("path")
	}
	_, err = c.windows()
	return err
}

// complete gives an instance without a namespace its own.
func complete(entity map[string]any) {
	config, _ := entity["config"].(map[string]any)
	id, _ := entity["id"].(string)
	if config != nil && config["namespace"] == nil {
		config["namespace"] = ownNamespace(id)
	}
}

// warn tells who configures Redis that it is not asked.
func warn(config map[string]any) []string {
	redis, _ := config["redis"].(map[string]any)
	configured := redis["sentinel_nodes"] != nil || redis["cluster_nodes"] != nil ||
		redis["host"] != nil && redis["host"] != localhost
	if config["strategy"] != "redis" && !configured {
		return nil
	}
	return []string{name + ": redis is not used: the limit is enforced by the cluster itself"}
}
