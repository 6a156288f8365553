// Package logentry makes the JSON object that Kong's log plugins send for each
// request (kong.log.serialize).
//
//	request          id, method, uri, url, size, querystring, headers, tls
//	response         status, size, headers
//	latencies        request: from the first byte to the last; kong: until the
//	                 service was asked, or the answer was made here; proxy: from then
//	                 to the head of its answer, -1 without one; receive: from then to
//	                 the end. In milliseconds
//	tries            the address that was asked, when, and whether on a connection
//	                 that was kept; state "failed" and the status if it did not answer
//	upstream_uri, upstream_status (a string)
//	route, service, consumer   as the Admin API shows them, without what is null
//	authenticated_entity       id of the credential, consumer_id
//	client_ip, started_at (milliseconds), source (upstream or kong)
//	workspace, workspace_name  always "default"
//	correlation_id   what a plugin shares under that name
//
// What is not known of a request is not in its entry. Names of fields are in lower
// case, and values that come more than once are lists. Of a message the first 100
// fields are in it, and of a query the first 100 parameters, as in Kong; a value of
// more than 8 KiB is cut. Authorization and Proxy-Authorization are "REDACTED".
//
// Unlike Kong's, the object has only the last try, and balancer latencies are 0:
// there is one target.
package logentry

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/config/ciphers"
	"github.com/sluicegate/sluice/internal/obs"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// Maker makes entries. Safe for concurrent use.
type Maker struct {
	mu sync.RWMutex
	// entities are the texts of those that requests have met.
	entities map[entityKey]entityText
	scratch  sync.Pool // of *fieldList
}

type entityKey struct{ kind, id string }

type entityText struct {
	of   *fsm.Entity
	text []byte
}

// maxEntities bounds the texts that are kept; then all are made anew.
const maxEntities = 4096

// MakerOf gives the node's.
func MakerOf(env *plugin.Env) *Maker {
	return env.Shared("log entries", func() any {
		m := &Maker{entities: map[entityKey]entityText{}}
		m.scratch.New = func() any { return newFieldList() }
		return m
	}).(*Maker)
}

// Append appends the entry of an exchange that has ended.
func (m *Maker) Append(b []byte, ex *plugin.Exchange) []byte {
	b = append(b, `{"request":{"id":`...)
	b = m.appendRequest(b, ex)
	b = append(b, `},"response":{"status":`...)
	b = strconv.AppendInt(b, int64(ex.Response.Status), 10)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, ex.Response.Sent, 10)
	b = append(b, `,"headers":`...)
	fields := m.scratch.Get().(*fieldList)
	fields.collect(ex.Response.Header, nil)
	b = fields.append(b)
	m.scratch.Put(fields)
	b = append(b, `},"latencies":{"request":`...)
	b = appendLatencies(b, &ex.Times)
	b = append(b, `},"tries":[`...)
	b = appendTry(b, ex)
	b = append(b, `],"upstream_uri":"`...)
	b = appendUpstreamURI(b, ex)
	b = append(b, `","upstream_status":"`...)
	if ex.Response.UpstreamStatus != 0 {
		b = strconv.AppendInt(b, int64(ex.Response.UpstreamStatus), 10)
	}
	b = append(b, `","client_ip":"`...)
	b = appendAddr(b, ex.Client.Addr())
	b = append(b, `","started_at":`...)
	b = strconv.AppendInt(b, ex.Times.Started.UnixMilli(), 10)
	source := "kong"
	if ex.Response.Source == plugin.FromService {
		source = "upstream"
	}
	b = append(append(b, `,"source":"`...), source...)
	b = append(b, `","workspace":"default","workspace_name":"default"`...)
	b = m.appendEntities(b, ex)
	if id, ok := ex.SharedText("correlation_id"); ok {
		b = obs.AppendJSONString(append(b, `,"correlation_id":`...), id)
	}
	return append(b, '}')
}

func (m *Maker) appendRequest(b []byte, ex *plugin.Exchange) []byte {
	r := &ex.Request
	b = obs.AppendJSONString(b, r.ID)
	b = obs.AppendJSONString(append(b, `,"method":`...), r.Method)
	b = append(b, `,"uri":"`...)
	b = appendURI(b, r.RawPath, r.Query, r.HasQuery)
	b = append(append(b, `","url":"`...), r.Scheme...)
	b = obs.AppendJSONText(append(b, "://"...), hostOnly(r.Host))
	b = strconv.AppendUint(append(b, ':'), uint64(ex.Listener), 10)
	b = appendURI(b, r.RawPath, r.Query, r.HasQuery)
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, ex.Response.Received, 10)
	b = append(b, `,"querystring":`...)
	b = appendQuery(b, r.Query)
	b = append(b, `,"headers":`...)
	fields := m.scratch.Get().(*fieldList)
	fields.ofRequest(r)
	b = fields.append(b)
	m.scratch.Put(fields)
	if r.TLS == nil {
		return b
	}
	b = append(b, `,"tls":{"version":"`...)
	b = append(b, tlsName(r.TLS.Version)...)
	b = append(append(b, `","cipher":"`...), ciphers.Name(r.TLS.CipherSuite)...)
	verify := "NONE"
	if len(r.TLS.VerifiedChains) > 0 {
		verify = "SUCCESS"
	}
	return append(append(append(b, `","client_verify":"`...), verify...), `"}`...)
}

// tlsName is nginx's name of a version.
func tlsName(version uint16) string {
	switch version {
	case 0x0303:
		return "TLSv1.2"
	case 0x0304:
		return "TLSv1.3"
	}
	return "TLSv1." + strconv.Itoa(int(version)-0x0301)
}

func appendURI(b []byte, path, query string, hasQuery bool) []byte {
	b = obs.AppendJSONText(b, path)
	if hasQuery {
		b = obs.AppendJSONText(append(b, '?'), query)
	}
	return b
}

func appendUpstreamURI(b []byte, ex *plugin.Exchange) []byte {
	if ex.Service == nil {
		return b
	}
	return appendURI(b, ex.Upstream.Path, ex.Upstream.Query, ex.Upstream.HasQuery)
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return b
	}
	return addr.Unmap().WithZone("").AppendTo(b)
}

// hostOnly is a Host field without its port.
func hostOnly(host string) string {
	for i := len(host) - 1; i >= 0 && host[i] != ']'; i-- {
		if host[i] == ':' {
			return host[:i]
		}
	}
	return host
}

func appendLatencies(b []byte, t *plugin.Times) []byte {
	between := func(from, to time.Time) int64 { return max(0, to.Sub(from).Milliseconds()) }
	kong, proxy, receive := between(t.Started, t.Finished), int64(-1), int64(0)
	if !t.UpstreamStarted.IsZero() {
		kong = between(t.Started, t.UpstreamStarted)
	}
	if !t.UpstreamAnswered.IsZero() {
		proxy, receive = between(t.UpstreamStarted, t.UpstreamAnswered), between(t.UpstreamAnswered, t.Finished)
	}
	b = strconv.AppendInt(b, between(t.Started, t.Finished), 10)
	b = strconv.AppendInt(append(b, `,"kong":`...), kong, 10)
	b = strconv.AppendInt(append(b, `,"proxy":`...), proxy, 10)
	return strconv.AppendInt(append(b, `,"receive":`...), receive, 10)
}

func appendTry(b []byte, ex *plugin.Exchange) []byte {
	begin := ex.Times.UpstreamStarted
	if begin.IsZero() {
		return b
	}
	u := &ex.Upstream
	b = append(b, `{"ip":"`...)
	port := u.Port
	if u.Addr.IsValid() {
		b, port = appendAddr(b, u.Addr.Addr()), int(u.Addr.Port())
	} else {
		b = obs.AppendJSONText(b, u.Host)
	}
	b = strconv.AppendInt(append(b, `","port":`...), int64(port), 10)
	b = strconv.AppendInt(append(b, `,"balancer_start":`...), begin.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, `,"balancer_start_ns":`...), begin.UnixNano(), 10)
	b = append(b, `,"balancer_latency":0,"balancer_latency_ns":0,"keepalive":`...)
	b = strconv.AppendBool(b, u.Kept)
	if ex.Times.UpstreamAnswered.IsZero() {
		b = append(b, `,"state":"failed","code":`...)
		b = strconv.AppendInt(b, int64(ex.Response.Status), 10)
	}
	return append(b, '}')
}

func (m *Maker) appendEntities(b []byte, ex *plugin.Exchange) []byte {
	if ex.Route != nil {
		b = m.appendEntity(append(b, `,"route":`...), ex, "routes", ex.Route.ID)
	}
	if ex.Service != nil {
		b = m.appendEntity(append(b, `,"service":`...), ex, "services", ex.Service.ID)
	}
	if ex.Consumer != nil {
		b = m.appendEntity(append(b, `,"consumer":`...), ex, "consumers", ex.Consumer.ID)
	}
	if ex.Credential.ID != "" {
		b = obs.AppendJSONString(append(b, `,"authenticated_entity":{"id":`...), ex.Credential.ID)
		if ex.Consumer != nil {
			b = obs.AppendJSONString(append(b, `,"consumer_id":`...), ex.Consumer.ID)
		}
		b = append(b, '}')
	}
	return b
}

// appendEntity appends an entity without its nulls.
func (m *Maker) appendEntity(b []byte, ex *plugin.Exchange, kind, id string) []byte {
	entity, ok := ex.Directory.Entity(kind, id)
	if !ok {
		b = obs.AppendJSONString(append(b, `{"id":`...), id)
		return append(b, '}')
	}
	key := entityKey{kind, entity.ID}
	m.mu.RLock()
	known := m.entities[key]
	m.mu.RUnlock()
	if known.of == entity {
		return append(b, known.text...)
	}
	text := withoutNulls(entity.Raw)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entities) >= maxEntities {
		clear(m.entities)
	}
	m.entities[key] = entityText{entity, text}
	return append(b, text...)
}

// withoutNulls gives a JSON object without the members that are null, at any depth.
func withoutNulls(raw []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return []byte("{}") // what is stored is always an object
	}
	text, err := encode(pruned(object))
	if err != nil {
		return []byte("{}")
	}
	return text
}

func pruned(v any) any {
	switch value := v.(type) {
	case map[string]any:
		for name, part := range value {
			if part == nil {
				delete(value, name)
			} else {
				value[name] = pruned(part)
			}
		}
	case []any:
		for i := range value {
			value[i] = pruned(value[i])
		}
	}
	return v
}

// encode is json.Marshal without the escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
