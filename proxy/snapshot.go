package proxy

import (
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// snapshot is a compiled configuration. It never changes, but for the memory
// of its directory; a request keeps the one it began with.
type snapshot struct {
	view   *fsm.View
	index  uint64 // the view's ConfigIndex
	routes *routeTable
	// rewriters run before routing, unmatched for requests without a route.
	rewriters []*instance
	unmatched chain
	directory *directory
	problems  []Problem
	// pending says that this is no configuration: the node has not heard of its
	// cluster's yet.
	pending bool

	// superseded is closed when a newer snapshot is served.
	superseded chan struct{}
	built      time.Time     // when this became the configuration
	took       time.Duration // to build it
}

// routeTable is the router with what it leads to. Value of a router.Route is
// the slot of the compiled one, so that a change of plugins or services keeps
// the router.
type routeTable struct {
	router   *router.Router
	compiled []*route // by slot; nil in those that no route has
	problems []Problem
}

// route is a route with all that a request needs of it.
type route struct {
	entity  *fsm.Route
	service *fsm.Service // nil without one
	speaks  protocols
	chain   chain
	// label and serviceLabel name it in metrics.
	label, serviceLabel string
	counters            *routeCounters

	target   upstream.Target
	pool     atomic.Pointer[upstream.LinkPool] // of target, once it was asked for
	timeouts upstream.Timeouts
	retries  int
	// hostHeader is the Host sent unless preserve_host; scheme is http or https.
	hostHeader string
	scheme     string
}

// Problem is a part of the configuration that cannot work. The rest does.
type Problem struct {
	// Kind and ID name the entity.
	Kind, ID string
	Err      error
}

// directory finds credentials and consumers in one view, and remembers what it
// has found: the state's own look-up costs a microsecond and allocates. Only
// what exists is remembered, so its size is bounded by the configuration.
type directory struct {
	view   *fsm.View
	now    func() time.Time
	shards [directoryShards]directoryShard
}

const directoryShards = 16

type directoryShard struct {
	mu     sync.RWMutex
	found  map[directoryKey]*fsm.Entity
	groups map[string]*plugin.Groups // by the consumer's id
}

type directoryKey struct {
	kind, key string
	byID      bool
}

var _ plugin.Directory = (*directory)(nil)

func newDirectory(view *fsm.View, now func() time.Time) *directory {
	if now == nil {
		now = time.Now
	}
	return &directory{view: view, now: now}
}

// Credential finds a live credential by its unique key.
func (d *directory) Credential(kind, key string) (*fsm.Entity, bool) {
	e := d.find(directoryKey{kind: kind, key: key}, d.view.Lookup)
	if e == nil || e.ExpiresAt != 0 && e.Expired(d.now().Unix()) {
		return nil, false
	}
	return e, true
}

// Consumer finds a consumer by id or by username.
func (d *directory) Consumer(idOrName string) (*fsm.Consumer, bool) {
	e := d.find(directoryKey{kind: "consumers", key: idOrName}, func(kind, key string) *fsm.Entity {
		if schema.IsUUID(key) { // ids are stored in lower case
			if e := d.view.Get(kind, strings.ToLower(key)); e != nil {
				return e
			}
		}
		return d.view.Lookup(kind, key)
	})
	if e == nil {
		return nil, false
	}
	c, ok := e.Value.(*fsm.Consumer)
	return c, ok
}

// Entity finds an entity by its id.
func (d *directory) Entity(kind, id string) (*fsm.Entity, bool) {
	e := d.find(directoryKey{kind: kind, key: id, byID: true}, d.view.Get)
	return e, e != nil
}

// Groups gives a consumer's groups. Those of a consumer without any are
// remembered too, since there are not more consumers than configured.
func (d *directory) Groups(consumerID string) *plugin.Groups {
	s := &d.shards[shardOf(consumerID)]
	s.mu.RLock()
	groups, ok := s.groups[consumerID]
	s.mu.RUnlock()
	if ok {
		return groups
	}
	var names []string
	for e := range d.view.Referencing("acls", "consumer", consumerID) {
		if acl, ok := e.Value.(*fsm.ACL); ok {
			names = append(names, acl.Group)
		}
	}
	groups = plugin.NewGroups(names...)
	if d.view.Get("consumers", consumerID) == nil {
		return groups
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[string]*plugin.Groups{}
	}
	s.groups[strings.Clone(consumerID)] = groups
	return groups
}

func (d *directory) find(k directoryKey, lookUp func(kind, key string) *fsm.Entity) *fsm.Entity {
	s := &d.shards[shardOf(k.key)]
	s.mu.RLock()
	e := s.found[k]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	if e = lookUp(k.kind, k.key); e == nil {
		return nil
	}
	k.key = strings.Clone(k.key) // it may be a piece of a read buffer
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found = map[directoryKey]*fsm.Entity{}
	}
	s.found[k] = e
	return e
}

// shardOf spreads keys by their last byte, where ids and random keys differ.
func shardOf(key string) int {
	if key == "" {
		return 0
	}
	return int(key[len(key)-1]) % directoryShards
}

// sni is the server name of a TLS handshake, or "".
func sni(state *tls.ConnectionState) string {
	if state == nil {
		return ""
	}
	return state.ServerName
}
