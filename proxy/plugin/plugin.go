package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/limiter"
)

// Verdict says whether the chain goes on after a phase of one plugin.
type Verdict bool

const (
	// Continue lets the next plugin run.
	Continue Verdict = false
	// Stop ends the access phase: the plugin has answered (Exit or Error). The
	// header filter, body filter and log phases still run for every plugin.
	Stop Verdict = true
)

// A plugin instance implements any of the following; the chain asks once, when
// a configuration is compiled, so a plugin costs nothing in phases it lacks.
// All are called for one exchange in one goroutine at a time, and for many
// exchanges concurrently.
type (
	// Rewriter runs before the route is known, for global instances only.
	Rewriter interface {
		Rewrite(ex *Exchange) Verdict
	}
	// Accessor runs once the route is known and before the upstream is asked.
	Accessor interface {
		Access(ex *Exchange) Verdict
	}
	// HeaderFilter runs when the head of the answer is known and not yet sent.
	HeaderFilter interface {
		FilterHeader(ex *Exchange)
	}
	// BodyFilter sees each piece of the answer's body and gives what is sent in
	// its place; last is true once, maybe with an empty piece. An instance with
	// this phase makes the answer's length unknown unless it was made here.
	BodyFilter interface {
		FilterBody(ex *Exchange, piece []byte, last bool) []byte
	}
	// Logger runs when the last byte has been sent, whatever happened before.
	Logger interface {
		Log(ex *Exchange)
	}
	// Counter is no phase: it says under which limit and key a request would be
	// counted, for explanations. It counts nothing.
	Counter interface {
		CountedAs(ex *Exchange) (limit *limiter.Limit, key string)
	}
)

// Instance is one configured plugin, as its constructor sees it.
type Instance struct {
	// ID is the plugin entity's id, Version its modify index: a changed plugin
	// has the same id and a higher version.
	ID      string
	Version uint64
	// Since is a time of the limiter's clock before which the instance limits no
	// request (fsm.Entity.CreateStamp); 0 if that is not known.
	Since int64
	// Config is the entity's config, complete with defaults.
	Config map[string]any
	// RouteID, ServiceID and ConsumerID are the instance's scope, "" for any.
	RouteID, ServiceID, ConsumerID string
}

// Decode reads the instance's config into a struct with json tags.
func (in *Instance) Decode(into any) error {
	raw, err := json.Marshal(in.Config)
	if err != nil {
		return fmt.Errorf("plugin %s: %w", in.ID, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("plugin %s: %w", in.ID, err)
	}
	return nil
}

// Quota admits requests against cluster-wide limits (limiter.Limiter). The key
// may be a piece of the request: Take clones what it keeps.
type Quota interface {
	Take(ctx context.Context, limit *limiter.Limit, key string) limiter.Decision
	// Done says that a request is done that was admitted under a limit of what
	// is in flight.
	Done(limit *limiter.Limit, key string)
}

// Env is what a node offers to its plugin instances. One Env lives as long as
// the node; instances come and go with the configuration.
type Env struct {
	NodeID  string
	Quota   Quota
	Now     func() time.Time
	Metrics prometheus.Registerer
	Logger  *zap.Logger

	mu     sync.Mutex
	shared map[string]any

	background background
}

// Shared gives the value kept under a name for the life of the node, made by
// the first caller: counters and queues that must survive a configuration
// change. Safe for concurrent use; create must not call Shared.
func (e *Env) Shared(name string, create func() any) any {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v, ok := e.shared[name]; ok {
		return v
	}
	if e.shared == nil {
		e.shared = map[string]any{}
	}
	v := create()
	e.shared[name] = v
	return v
}

// Definition is what a plugin's folder registers.
type Definition struct {
	// Name is Kong's ("key-auth"), Version the plugin's own, Priority decides
	// the order in each phase: higher runs first.
	Name     string
	Version  string
	Priority int
	// Schema is the plugin's part of the plugins entity: the fields consumer,
	// route, service, protocols where narrowed, and config.
	Schema *schema.Schema
	// New makes an instance. It must not start goroutines or do I/O. An error
	// disables the instance's scope with a 500, and the Admin API shows it.
	// A plugin without New is known by its schema only, see Runs.
	New func(env *Env, in *Instance) (any, error)
	// Warn names what a complete config asks for and this plugin does not do,
	// one sentence each; nil if there never is anything. The Admin API says it
	// to who writes such a plugin.
	Warn func(config map[string]any) []string
	// Identifies says that the plugin finds out who the consumer is.
	Identifies bool
	// Unused names fields of config that are accepted and not used: a vault
	// reference in one is not looked for, and disables nothing.
	Unused []string
	// Budget gives the limit's id under which an instance's requests are counted
	// (limiter.Limit.ID), from the instance's id and its complete config; nil if the
	// plugin limits nothing.
	Budget func(id string, config map[string]any) string
}

// Runs says whether the plugin does anything. One that does not is published and
// validated like any other; the Admin API does not list it as available and does
// not store an instance of it, and the data plane treats one that a newer version
// has stored as broken.
func (d *Definition) Runs() bool { return d.New != nil }

// AddressKey is what plugins count a client by its address under. It is kept apart
// from header values, which a client could choose to use up another one's budget:
// no header field has a NUL in it.
func AddressKey(addr netip.Addr) string { return "\x00ip:" + addr.Unmap().String() }

// OwnBudget is the Budget of plugins whose instances have budgets of their own.
func OwnBudget(id string, _ map[string]any) string { return id }

var registry = struct {
	sync.RWMutex
	byName map[string]*Definition
}{byName: map[string]*Definition{}}

// Register makes a plugin known; for init functions. It panics on a second
// plugin of the same name, which is a mistake in the program.
func Register(d *Definition) {
	registry.Lock()
	defer registry.Unlock()
	if _, dup := registry.byName[d.Name]; dup {
		panic("plugin registered twice: " + d.Name)
	}
	registry.byName[d.Name] = d
}

// Lookup gives a plugin by name.
func Lookup(name string) (*Definition, bool) {
	registry.RLock()
	defer registry.RUnlock()
	d, ok := registry.byName[name]
	return d, ok
}

// All gives every plugin, highest priority first.
func All() []*Definition {
	registry.RLock()
	defer registry.RUnlock()
	all := make([]*Definition, 0, len(registry.byName))
	for _, d := range registry.byName {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Definition) int {
		if a.Priority != b.Priority {
			return b.Priority - a.Priority
		}
		return slices.Compare([]byte(a.Name), []byte(b.Name))
	})
	return all
}
