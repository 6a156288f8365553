package known

import (
	"errors"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugins/internal/fields"
)

// The messages of checkAnswer, which are Kong's.
var (
	errMessageAndBody = errors.New("message cannot be used with content_type or body")
	errTypeOfNothing  = errors.New("content_type requires a body")
	errEchoAndBody    = errors.New("echo cannot be used with content_type and body")
)

func init() { register(2, "request-termination", requestTermination) }

// requestTermination answers at once, in place of the service.
func requestTermination(name string) *schema.Schema {
	config := fields.Config(
		fields.Required(fields.Default(status("status_code"), 503)),
		fields.String("message"),
		fields.String("content_type"),
		fields.String("body"),
		fields.Flag("echo", false),
		schema.HeaderName("trigger"),
	)
	config.Custom = checkAnswer
	return &schema.Schema{
		Name:   name,
		Fields: []schema.Field{fields.HTTPProtocols(), config},
	}
}

// checkAnswer demands that the answer is made in one way.
func checkAnswer(value any) error {
	config, _ := value.(map[string]any)
	given := func(name string) bool { return config[name] != nil && config[name] != "" }
	switch typed, body := given("content_type"), given("body"); {
	case given("message") && (typed || body):
		return errMessageAndBody
	case typed && !body:
		return errTypeOfNothing
	case config["echo"] == true && (typed || body):
		return errEchoAndBody
	}
	return nil
}
