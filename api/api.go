// Package api is Kong's Admin API over the replicated configuration: generic CRUD made from the kinds and
// schemas of package fsm, and the endpoints about the node itself.
//
// Reads are answered from this node's own copy of the configuration. Writes become one command each, which
// the cluster orders; the answer is sent once this node serves the change.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/fsm/schema/entities"
	"github.com/sluicegate/sluice/proxy/explain"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	// defaultVersion is the Kong release whose Admin API this is. Clients choose their behaviour by it:
	// three numeric parts, because a fourth one means Kong Enterprise to them.
	defaultVersion = "3.9.1"
	defaultMaxBody = 8 << 20
	// defaultMaxConfigBody is what a write of the log can be made of (fsm, staged.go), and room.
	defaultMaxConfigBody = 128 << 20

	// writeTimeout bounds a write from the request to the cluster's answer, servedTimeout the wait for
	// nodes to serve it.
	writeTimeout  = 30 * time.Second
	servedTimeout = 10 * time.Second
)

// Cluster is what the API needs of the cluster. Safe for concurrent use.
type Cluster interface {
	// Apply has a command applied by the leader, wherever that is. An error that has a method
	// RetryAfter() time.Duration means that the cluster takes no writes now; it is answered with 503.
	// See ErrUnconfirmed and ErrTooLarge for others that are told apart.
	Apply(ctx context.Context, c *fsm.Command) (*fsm.Result, error)
	// WaitServed returns once this node's data plane serves the configuration of a log index.
	WaitServed(ctx context.Context, index uint64) error
	// WaitAll is WaitServed for every live node, and names those that did not make it in time.
	WaitAll(ctx context.Context, index uint64) ([]string, error)
	// Status is the answer of GET /cluster; it is written as JSON.
	Status() any
	// ID is this node's id, a UUID.
	ID() string
}

// Config is what an API is made of. Cluster and Machine are required.
type Config struct {
	Cluster Cluster
	Machine *fsm.Machine
	// Plugins gives the plugins that are known; those that run may be configured. Their schemas are read
	// once, by New.
	Plugins func() []*plugin.Definition
	// Info is what GET / tells about the node.
	Info Info
	// Status gives the proxy's connection counts for GET /status; nil gives zeros.
	Status func() Connections
	// Metrics answers GET /metrics; nil makes that a 404.
	Metrics http.Handler
	// Problems gives the entities that the data plane cannot serve, as a value that is written as JSON
	// under "problems" in GET /status; nil leaves that out.
	Problems func() any
	// Unready says why no requests should be sent to this node's proxy, "" if they should; nil: they always
	// should. Drain has it say so until the process ends. For the Status API.
	Unready func() string
	Drain   func()
	// LogLevels answers /debug/*/log-level; nil makes that a 404.
	LogLevels LogLevels
	// Explain answers POST /explain; nil makes that a 404.
	Explain func(*explain.Question) *explain.Explanation
	// Budgets answers /cluster/budgets; nil makes that a 404.
	Budgets Budgets
	// Operations are endpoints that act on the process as a whole.
	Operations []Operation
	// Origins lists the web origins that browsers may call the API from (Kong's admin_gui_origin).
	// Empty: all, which is Kong's default.
	Origins []string
	// Keep says how much of the history writes of this API leave; zero is the default.
	Keep fsm.Keep
	// MaxBody bounds a request body, in bytes; larger ones are answered with 413. Default 8 MiB.
	MaxBody int64
	// MaxConfigBody is MaxBody for POST /config, whose body is a whole configuration. Default 128 MiB.
	MaxConfigBody int64
	Logger        *zap.Logger
	// AccessLog takes one line for each request, in the combined log format; nil takes none.
	AccessLog io.Writer

	// Now, NewID (a random UUID) and NewSecret (32 random alphanumerics) are for tests.
	Now       func() time.Time
	NewID     func() string
	NewSecret func() string
}

// Operation is an endpoint that is made elsewhere. Where tokens are asked for it takes the role super-admin.
type Operation struct {
	Method, Pattern string // as in /cluster/nodes/{id}
	// Do carries it out; params are the segments in braces. Its answer is a message, or a value that is written as
	// JSON. An error is answered with its method HTTPStatus() int, 500 if it has none, and with the answer if that
	// is not nil.
	Do func(ctx context.Context, params []string) (answer any, err error)
}

// API answers the Admin API. Safe for concurrent use.
type API struct {
	cfg         Config
	schemas     schema.Context
	collections []*collection // a referenced one before those that reference it
	byKind      map[string]*collection
	unstored    map[string]*schema.Schema // of what has a schema and no entities
	router      *router

	watchers  chan struct{} // one place for each stream
	closing   chan struct{} // closed by Close
	closeOnce sync.Once

	refusals refusals

	accessMu sync.Mutex // an io.Writer need not be safe for concurrent use
}

// New makes an API. It panics on a plugin that runs and whose schema does not fit the plugins entity: a
// mistake in the program that its first start shows.
func New(cfg Config) *API {
	cfg.setDefaults()
	a := &API{
		cfg:      cfg,
		watchers: make(chan struct{}, maxWatchers), closing: make(chan struct{}),
		schemas: schema.Context{Now: cfg.Now, NewID: cfg.NewID, NewSecret: cfg.NewSecret},
		byKind:  make(map[string]*collection),
		unstored: map[string]*schema.Schema{
			"tags": entities.Tags(), "filter_chains": entities.FilterChains(),
		},
	}
	for _, def := range cfg.Machine.Definitions() {
		c := newCollection(def, &cfg)
		a.collections = append(a.collections, c)
		a.byKind[def.Kind] = c
	}
	a.router = a.routes()
	return a
}

// Handler gives the API as a handler that lets everybody do everything; see Guarded. It works on the raw path, so
// that %2F in a name is not a separator; it must not stand behind a mux that cleans paths.
func (a *API) Handler() http.Handler { return a.handler(a.router, false) }

func (a *API) handler(rt *router, guarded bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(rt, w, r, guarded) })
}

// Close ends the streams of GET /watch, which would hold up a server's shutdown.
func (a *API) Close() { a.closeOnce.Do(func() { close(a.closing) }) }

func (cfg *Config) setDefaults() {
	if cfg.Plugins == nil {
		cfg.Plugins = func() []*plugin.Definition { return nil }
	}
	if cfg.Info.Version == "" {
		cfg.Info.Version = defaultVersion
	}
	if cfg.Unready == nil {
		cfg.Unready = func() string { return "" }
	}
	if cfg.Drain == nil {
		cfg.Drain = func() {}
	}
	if cfg.Status == nil {
		cfg.Status = func() Connections { return Connections{} }
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.MaxConfigBody == 0 {
		cfg.MaxConfigBody = defaultMaxConfigBody
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = uuid.NewString
	}
	if cfg.NewSecret == nil {
		cfg.NewSecret = newSecret
	}
}

// newSecret gives 32 alphanumerics. crypto/rand.Text is base32: 160 random bits fill 32 characters.
func newSecret() string { return (rand.Text() + rand.Text())[:32] }

// routes is the table of every endpoint.
func (a *API) routes() *router {
	rt := newRouter()
	a.nodeRoutes(rt)
	a.budgetRoutes(rt)
	a.explainRoutes(rt)
	a.schemaRoutes(rt)
	a.levelRoutes(rt)
	for _, c := range a.collections {
		a.collectionRoutes(rt, c)
	}
	a.upstreamRoutes(rt)
	a.transactionRoutes(rt)
	a.declarativeRoutes(rt)
	a.historyRoutes(rt)
	a.absentRoutes(rt)
	for _, o := range a.cfg.Operations {
		rt.handle(o.Method, o.Pattern, o.answer)
	}
	return rt
}

// answer does the operation, whether or not the client stays for the answer.
func (o Operation) answer(q *request) (*reply, error) {
	answer, err := o.Do(context.WithoutCancel(q.Context()), q.params)
	if message, ok := answer.(string); ok {
		answer = map[string]string{"message": message}
	}
	if err == nil {
		return jsonReply(http.StatusOK, answer)
	}
	status := http.StatusInternalServerError
	var coded interface{ HTTPStatus() int }
	if errors.As(err, &coded) {
		status = coded.HTTPStatus()
	}
	q.a.cfg.Logger.Warn("operation refused", zap.Error(err))
	if answer != nil {
		return jsonReply(status, answer)
	}
	return nil, &statusError{status, err.Error()}
}
