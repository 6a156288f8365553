// Package plugintest has what tests of plugins need in place of a proxy: an
// exchange without a connection, a directory of consumers and credentials, a
// quota whose decisions the test sets, and the comparison of a plugin's
// published schema with Kong's.
package plugintest

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// Now is the time of tests that need a fixed one.
func Now() time.Time { return time.Date(2026, time.March, 14, 15, 9, 26, 0, time.UTC) }

// RequestID is the id of every exchange made here.
const RequestID = "0123456789abcdef0123456789abcdef"

// Exchange makes a request as it comes into the access phase: the path and
// query of target are already those of the upstream request too. Its directory
// is empty; the client is 192.0.2.7.
func Exchange(method, target string, fields ...string) *plugin.Exchange {
	path, query, hasQuery := strings.Cut(target, "?")
	client := netip.MustParseAddrPort("192.0.2.7:4711")
	received := NewHeader(fields...)
	return &plugin.Exchange{
		Request: plugin.Request{
			ID: RequestID, Method: method, Scheme: "http", Host: "gateway.test",
			RawPath: path, Path: path, Query: query, HasQuery: hasQuery,
			ProtoMajor: 1, ProtoMinor: 1, Header: NewHeader(fields...), Received: received,
		},
		Upstream: plugin.Upstream{
			Scheme: "http", Host: "upstream.test", Port: 80, HostHeader: "upstream.test",
			Path: path, Query: query, HasQuery: hasQuery, Method: method,
		},
		Response:  plugin.Response{Header: NewHeader()},
		Client:    client,
		Peer:      client,
		Listener:  8000,
		Directory: NewDirectory(),
	}
}

// SetBody gives the exchange a request body of a known length, and its type.
func SetBody(ex *plugin.Exchange, contentType, body string) {
	ex.Request.Header.Set("Content-Type", contentType)
	ex.Request.Body = strings.NewReader(body)
	ex.Request.ContentLength = int64(len(body))
}

// ReadBody gives the body as the upstream would read it.
func ReadBody(t testing.TB, ex *plugin.Exchange) string {
	t.Helper()
	if ex.Request.Body == nil {
		return ""
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, ex.Request.Body); err != nil {
		t.Fatalf("reading the request body: %v", err)
	}
	return b.String()
}

// Directory is a plugin.Directory that a test fills.
type Directory struct {
	credentials map[credentialKey]*fsm.Entity
	consumers   map[string]*fsm.Consumer
	groups      map[string]*plugin.Groups
	entities    map[credentialKey]*fsm.Entity
}

type credentialKey struct{ kind, key string }

// NewDirectory gives an empty directory.
func NewDirectory() *Directory {
	return &Directory{
		credentials: map[credentialKey]*fsm.Entity{}, consumers: map[string]*fsm.Consumer{},
		groups: map[string]*plugin.Groups{}, entities: map[credentialKey]*fsm.Entity{},
	}
}

// AddConsumer makes a consumer known by its id and username.
func (d *Directory) AddConsumer(c *fsm.Consumer) {
	d.consumers[c.ID] = c
	if c.Username != "" {
		d.consumers[c.Username] = c
	}
}

// AddKey makes a key-auth credential known.
func (d *Directory) AddKey(k *fsm.KeyAuth) {
	d.credentials[credentialKey{"keyauth_credentials", k.Key}] = &fsm.Entity{
		Kind: "keyauth_credentials", ID: k.ID, Value: k,
	}
}

// AddJWT makes a jwt credential known.
func (d *Directory) AddJWT(s *fsm.JWTSecret) {
	d.credentials[credentialKey{"jwt_secrets", s.Key}] = &fsm.Entity{Kind: "jwt_secrets", ID: s.ID, Value: s}
}

// AddBasic makes a basic-auth credential known.
func (d *Directory) AddBasic(b *fsm.BasicAuth) {
	d.credentials[credentialKey{"basicauth_credentials", b.Username}] = &fsm.Entity{
		Kind: "basicauth_credentials", ID: b.ID, Value: b,
	}
}

// AddGroups makes a consumer a member of groups, and of no others.
func (d *Directory) AddGroups(consumerID string, names ...string) {
	d.groups[consumerID] = plugin.NewGroups(names...)
}

// AddEntity makes an entity known by its id.
func (d *Directory) AddEntity(e *fsm.Entity) { d.entities[credentialKey{e.Kind, e.ID}] = e }

// Groups implements plugin.Directory.
func (d *Directory) Groups(consumerID string) *plugin.Groups { return d.groups[consumerID] }

// Entity implements plugin.Directory.
func (d *Directory) Entity(kind, id string) (*fsm.Entity, bool) {
	e, ok := d.entities[credentialKey{kind, id}]
	return e, ok
}

// Credential implements plugin.Directory.
func (d *Directory) Credential(kind, key string) (*fsm.Entity, bool) {
	e, ok := d.credentials[credentialKey{kind, key}]
	return e, ok
}

// Consumer implements plugin.Directory.
func (d *Directory) Consumer(idOrName string) (*fsm.Consumer, bool) {
	c, ok := d.consumers[idOrName]
	return c, ok
}

// Quota is a plugin.Quota that answers what a test has set, or counts without
// windows when nothing is set. Safe for concurrent use.
type Quota struct {
	mu sync.Mutex
	// Answer, if not nil, is every decision.
	Answer *limiter.Decision
	limit  *limiter.Limit
	key    string
	taken  map[account]int64
}

type account struct {
	limit, key string
	period     limiter.Period
}

// Take implements plugin.Quota. Windows never end, and are reported to end in a
// minute.
func (q *Quota) Take(_ context.Context, limit *limiter.Limit, key string) limiter.Decision {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit, q.key = limit, key
	if q.Answer != nil {
		return *q.Answer
	}
	d := limiter.Decision{Admitted: true}
	for i, r := range limit.Rates {
		if q.taken[account{limit.ID, key, r.Period}] >= r.Max {
			d.Admitted, d.Refused = false, i
			break
		}
	}
	for i, r := range limit.Rates {
		a := account{limit.ID, key, r.Period}
		if d.Admitted {
			if q.taken == nil {
				q.taken = map[account]int64{}
			}
			a.key = strings.Clone(key) // it may be a piece of a request
			q.taken[a]++
		}
		d.Remaining[i], d.Reset[i] = r.Max-q.taken[a], 60
	}
	return d
}

// Done implements plugin.Quota.
func (q *Quota) Done(limit *limiter.Limit, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range limit.Rates {
		if r.Period.IsInFlight() {
			q.taken[account{limit.ID, key, r.Period}]--
		}
	}
}

// Asked gives the limit and the key of the last request.
func (q *Quota) Asked() (limit *limiter.Limit, key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit, q.key
}

// RateLimitFields gives the rate limit fields of an answer without their common
// words: "X-RateLimit-Limit-Minute" is "limit-minute", "RateLimit-Reset" is
// "reset", and Retry-After is "retry".
func RateLimitFields(ex *plugin.Exchange) map[string]string {
	fields := map[string]string{}
	ex.Response.Header.All(func(name, value string) bool {
		switch short, ours := strings.CutPrefix(strings.TrimPrefix(name, "X-"), "RateLimit-"); {
		case ours:
			fields[strings.ToLower(short)] = value
		case name == "Retry-After":
			fields["retry"] = value
		}
		return true
	})
	return fields
}

// Taken gives how many requests have been admitted under a limit and key.
func (q *Quota) Taken(limit, key string, p limiter.Period) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken[account{limit, key, p}]
}
