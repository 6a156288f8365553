// Package httplog is the plugin http-log: it sends an entry for each request to an
// HTTP server, such as Logstash. What is in an entry is told in package
// internal/logentry, how entries wait and are sent in internal/queue.
//
// # Config
//
//   - http_endpoint: the URL. A user and password in it are sent as Basic
//     credentials. Any answer below 300 is a success; others, and those that do not
//     come, are tried again.
//   - method (default POST; PUT, PATCH), content_type (application/json, or
//     "application/json; charset=utf-8"), headers (more fields).
//   - timeout (10000 ms) for one try, connecting included; keepalive (60000 ms) is
//     how long an idle connection is kept.
//   - queue.max_batch_size (1): entries sent together. One is sent as an object, more
//     as a list, which may have one element.
//   - queue.max_coalescing_delay (1 s): how long the first entry of a batch waits for
//     others.
//   - queue.max_entries (10000), queue.max_bytes (64 MiB, where Kong has no bound):
//     what waits. For more the oldest is dropped.
//   - queue.max_retry_time (60 s): how long a batch is tried to be sent; the delay
//     between tries is initial_retry_delay (0.01 s), doubled up to max_retry_delay
//     (60 s).
//   - queue.concurrency_limit (1): one batch at a time; -1: up to 32.
//   - custom_fields_by_lua: members that are added to entries, or taken out; see
//     logentry.Fields. There is no Lua: what cannot be evaluated is refused.
//   - queue_size, flush_timeout: older names of max_batch_size and
//     max_coalescing_delay, which they replace where they are set to something else
//     than their old defaults. retry_count has no effect.
//
// Certificates of https endpoints are not verified, as in Kong.
//
// Nothing here makes a request wait. What becomes of entries is counted in
// sluice_plugin_queue_entries_total. Instances with the same config, but for its
// custom fields, share a queue and its connections, and so does an instance that is
// changed in other respects: a change of the configuration loses nothing. When the
// node stops it sends what waits, within the time that it has for stopping.
package httplog

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/logentry"
	"github.com/sluicegate/sluice/proxy/plugins/internal/queue"
)

const (
	name = "http-log"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 12
)

const (
	// maxBytes bounds a queue whose config does not.
	maxBytes = 64 << 20
	// maxSenders is what concurrency_limit -1 means.
	maxSenders = 32
	// The old defaults of deprecated fields: they say nothing.
	oldQueueSize    = 1
	oldFlushTimeout = 2
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Warn: warn,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	HTTPEndpoint string `json:"http_endpoint"`
	Method       string `json:"method"`
	ContentType  string `json:"content_type"`
	// Timeout and Keepalive are in milliseconds.
	Timeout   float64           `json:"timeout"`
	Keepalive float64           `json:"keepalive"`
	Headers   map[string]string `json:"headers"`
	// QueueSize and FlushTimeout (seconds) are deprecated.
	QueueSize    *int     `json:"queue_size"`
	FlushTimeout *float64 `json:"flush_timeout"`
	// Times of Queue are in seconds.
	Queue struct {
		MaxBatchSize       int     `json:"max_batch_size"`
		MaxCoalescingDelay float64 `json:"max_coalescing_delay"`
		MaxEntries         int     `json:"max_entries"`
		MaxBytes           *int    `json:"max_bytes"`
		MaxRetryTime       float64 `json:"max_retry_time"`
		InitialRetryDelay  float64 `json:"initial_retry_delay"`
		MaxRetryDelay      float64 `json:"max_retry_delay"`
		ConcurrencyLimit   int     `json:"concurrency_limit"`
	} `json:"queue"`
	CustomFieldsByLua map[string]string `json:"custom_fields_by_lua"`
}

// queueConfig is what the config says of its queue.
func (c *Config) queueConfig() queue.Config {
	q := &c.Queue
	out := queue.Config{
		Plugin: name, MaxBatch: max(1, q.MaxBatchSize), MaxDelay: seconds(q.MaxCoalescingDelay), MaxEntries: max(1, q.MaxEntries),
		MaxBytes: maxBytes, MaxRetryTime: seconds(q.MaxRetryTime), FirstRetry: seconds(q.InitialRetryDelay),
		MaxRetry: seconds(q.MaxRetryDelay), Senders: 1,
	}
	if q.MaxBytes != nil && *q.MaxBytes > 0 {
		out.MaxBytes = *q.MaxBytes
	}
	if q.ConcurrencyLimit < 0 {
		out.Senders = maxSenders
	}
	if n := c.QueueSize; n != nil && *n != oldQueueSize {
		out.MaxBatch = max(1, *n)
	}
	if t := c.FlushTimeout; t != nil && *t != oldFlushTimeout {
		out.MaxDelay = seconds(*t)
	}
	return out
}

// maxSeconds is longer than anything waits.
const maxSeconds = 1e9

func seconds(s float64) time.Duration {
	return time.Duration(min(max(s, 0), maxSeconds) * float64(time.Second))
}

// Plugin is one configured http-log. Safe for concurrent use.
type Plugin struct {
	queue   *queue.Queue
	entries *logentry.Maker
	fields  *logentry.Fields
	buffers sync.Pool // of *[]byte
}

var _ plugin.Logger = (*Plugin)(nil)

// New makes an instance; see plugin.Definition. It starts nothing: a queue does
// when it has an entry.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	var cfg Config
	if err := in.Decode(&cfg); err != nil {
		return nil, err
	}
	endpoint, err := parseEndpoint(cfg.HTTPEndpoint)
	if err != nil {
		return nil, err
	}
	p := &Plugin{entries: logentry.MakerOf(env)}
	p.buffers.New = func() any { b := make([]byte, 0, 2<<10); return &b }
	if p.fields, err = logentry.CompileFields(cfg.CustomFieldsByLua, env.NodeID); err != nil {
		return nil, err
	}
	to := newDestination(&cfg, endpoint)
	of := cfg.queueConfig()
	of.Target = endpoint.Host
	p.queue = queue.Of(env, of, to.key(), func() (queue.Send, func()) { return to.open(of.Senders, of.MaxBatch > 1) })
	return p, nil
}

// parseEndpoint reads the URL. The error does not quote it, for there may be a
// password in it.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errEndpoint
	case !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https"), u.Hostname() == "":
		return nil, errEndpoint
	}
	u.Fragment = ""
	return u, nil
}

// maxKept keeps a rare large entry from staying in memory.
const maxKept = 16 << 10

// Log implements plugin.Logger. It makes the entry, which costs some microseconds
// and a copy, and leaves the rest to the queue.
func (p *Plugin) Log(ex *plugin.Exchange) {
	buffer := p.buffers.Get().(*[]byte)
	*buffer = p.entries.Append((*buffer)[:0], ex)
	if p.fields == nil {
		p.queue.Add(bytes.Clone(*buffer))
	} else {
		p.queue.Add(p.fields.Apply(bytes.Clone(*buffer), ex))
	}
	if cap(*buffer) <= maxKept {
		p.buffers.Put(buffer)
	}
}

// warn tells what of a config has no effect, or another one than may be expected.
func warn(config map[string]any) []string {
	var list []string
	if config["retry_count"] != nil {
		list = append(list, fmt.Sprintf("%s: config.retry_count no longer works, please use config.queue.max_retry_time instead", name))
	}
	if endpoint, _ := config["http_endpoint"].(string); strings.HasPrefix(strings.ToLower(endpoint), "https:") {
		list = append(list, fmt.Sprintf("%s: the certificate of config.http_endpoint is not verified", name))
	}
	return list
}
