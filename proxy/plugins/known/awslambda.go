package known

import (
	"errors"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

var errProxyScheme = errors.New("proxy_url scheme must be http")

func init() { register(750, "aws-lambda", awsLambda) }

// awsLambda has an AWS Lambda function answer. Timeouts are in milliseconds.
func awsLambda(name string) *schema.Schema {
	return &schema.Schema{
		Name: name,
		Fields: []schema.Field{
			fields.HTTPProtocols(),
			fields.Config(
				fields.Required(fields.Number("timeout", 60_000)),
				fields.Required(fields.Number("keepalive", 60_000)),
				fields.Secret("aws_key"),
				fields.Secret("aws_secret"),
				fields.Secret("aws_assume_role_arn"),
				fields.Default(fields.String("aws_role_session_name"), "kong"),
				schema.URL("aws_sts_endpoint_url"),
				schema.Host("aws_region"),
				fields.Optional(fields.String("function_name")),
				fields.String("qualifier"),
				fields.Required(fields.Choice("invocation_type", "RequestResponse", "RequestResponse", "Event", "DryRun")),
				fields.Required(fields.Choice("log_type", "Tail", "Tail", "None")),
				schema.Host("host"),
				fields.Default(schema.Port("port"), 443),
				fields.Switch("disable_https", false),
				schema.Field{Name: "unhandled_status", Type: schema.Integer, Between: &[2]float64{100, 999}},
				fields.Switch("forward_request_method", false),
				fields.Switch("forward_request_uri", false),
				fields.Switch("forward_request_headers", false),
				fields.Switch("forward_request_body", false),
				fields.Switch("is_proxy_integration", false),
				fields.Switch("awsgateway_compatible", false),
				schema.URL("proxy_url"),
				fields.Switch("skip_large_bodies", true),
				fields.Switch("base64_encode_body", true),
				fields.Required(fields.Choice("aws_imds_protocol_version", "v1", "v1", "v2")),
				fields.Required(fields.Choice("empty_arrays_mode", "legacy", "legacy", "correct")),
			),
		},
		Checks: []schema.Check{
			{MutuallyRequired: []string{"config.aws_key", "config.aws_secret"}},
			{Custom: &schema.CustomCheck{FieldSources: []string{"config.proxy_url"}, Func: checkProxyURL}},
		},
	}
}

func checkProxyURL(entity map[string]any) error {
	config, _ := entity["config"].(map[string]any)
	url, _ := config["proxy_url"].(string)
	if scheme, _, ok := strings.Cut(url, "://"); ok && scheme != "http" {
		return errProxyScheme
	}
	return nil
}
