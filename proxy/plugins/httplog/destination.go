package httplog

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluicegate/sluice/proxy/plugins/internal/queue"
)

var (
	errEndpoint = errors.New("config.http_endpoint is no URL of http or https")
	errAnswer   = errors.New("the endpoint has not taken the entries")
	errControl  = errors.New("must not have control characters")
)

// maxAnswer is how much of an answer is read, so that its connection can be used
// again.
const maxAnswer = 64 << 10

// destination is where entries go and how.
type destination struct {
	endpoint           url.URL // without user and password
	method             string
	header             http.Header
	user, password     string
	authorized         bool
	timeout, keepalive time.Duration
}

func newDestination(cfg *Config, endpoint *url.URL) *destination {
	d := &destination{
		endpoint: *endpoint, method: cfg.Method, header: http.Header{},
		timeout: milliseconds(cfg.Timeout), keepalive: milliseconds(cfg.Keepalive),
	}
	if d.timeout == 0 {
		d.timeout = 10 * time.Second
	}
	for field, value := range cfg.Headers {
		d.header.Set(field, value)
	}
	d.header.Set("Content-Type", cfg.ContentType)
	if d.header.Get("User-Agent") == "" {
		d.header.Set("User-Agent", "sluice")
	}
	if user := endpoint.User; user != nil {
		d.user, d.authorized = user.Username(), true
		d.password, _ = user.Password()
		d.endpoint.User = nil
	}
	return d
}

func milliseconds(ms float64) time.Duration { return seconds(ms / 1000) }

// key is the same for destinations that are.
func (d *destination) key() string {
	key, err := json.Marshal([]any{d.endpoint.String(), d.method, d.header, d.user, d.password, d.authorized, d.timeout, d.keepalive})
	if err != nil { // these always encode
		return d.endpoint.String()
	}
	return string(key)
}

// open makes what sends, and what closes its connections.
func (d *destination) open(senders int, list bool) (queue.Send, func()) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: d.timeout}).DialContext,
		TLSHandshakeTimeout: d.timeout,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, // as in Kong
		IdleConnTimeout:     d.keepalive,
		DisableKeepAlives:   d.keepalive == 0,
		MaxIdleConnsPerHost: senders,
		DisableCompression:  true,
	}
	client := &http.Client{
		Transport: transport, Timeout: d.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	send := func(ctx context.Context, batch [][]byte) error { return d.send(ctx, client, batch, list) }
	return send, transport.CloseIdleConnections
}

// send sends a batch once.
func (d *destination) send(ctx context.Context, client *http.Client, batch [][]byte, list bool) error {
	body := newBody(batch, list)
	req, err := http.NewRequestWithContext(ctx, d.method, d.endpoint.String(), body.reader())
	if err != nil {
		return fmt.Errorf("send log entries: %w", err)
	}
	req.ContentLength = body.size
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body.reader()), nil }
	req.Header = d.header.Clone()
	if d.authorized {
		req.SetBasicAuth(d.user, d.password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("send log entries: %w", err)
	}
	defer resp.Body.Close()
	// What is not read costs the connection, and nothing else.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%w: %s", errAnswer, resp.Status)
	}
	return nil
}

// body is a batch as it is sent, which is not copied for that.
type body struct {
	batch [][]byte
	list  bool
	size  int64
}

func newBody(batch [][]byte, list bool) *body {
	b := &body{batch: batch, list: list}
	for _, entry := range batch {
		b.size += int64(len(entry))
	}
	if list {
		b.size += int64(len("[") + len(batch) - 1 + len("]"))
	}
	return b
}

// reader reads it from its beginning.
func (b *body) reader() io.Reader {
	readers := make([]io.Reader, 0, 2*len(b.batch)+1)
	before := "["
	for _, entry := range b.batch {
		if b.list {
			readers = append(readers, strings.NewReader(before))
			before = ","
		}
		readers = append(readers, bytes.NewReader(entry))
	}
	if b.list {
		readers = append(readers, strings.NewReader("]"))
	}
	return io.MultiReader(readers...)
}
