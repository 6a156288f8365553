package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

const (
	// maxAttempts bounds how often a write is planned anew because others were faster. Every round one
	// writer gets through, so this many would have to compete for one entity.
	maxAttempts = 64
	// maxBackoff bounds the pause after a lost round, which is random so that losers do not meet again.
	maxBackoff = 50 * time.Millisecond

	maxRequestID = 128
	// maxAction bounds what the history keeps of a request line, in bytes.
	maxAction = 512
)

// plan is what a write would do to one view of the configuration.
type plan struct {
	ops []fsm.Op // the first one is of the entity that is answered; none: there is nothing to do
	// coll is the kind of the entity that is answered, nil for none.
	coll *collection
	// lost says that a refusal comes from another writer being faster, so that planning anew may help.
	lost func(*fsm.Error) bool
	// once is what the answer shows beside the entity, and nothing ever again; it belongs to the entity that has
	// the members stored.
	once, stored map[string]any
	whole        bool // the operations are one change, see fsm.Write
	repeated     bool // it was answered before, and is not done again
}

// commit plans a write, has it applied, and answers when it is served.
func (a *API) commit(q *request, status int, planner planner) (*reply, error) {
	rep := &reply{status: status}
	wait := q.query.Get("wait")
	if wait != "" && wait != "all" {
		return nil, errBadWait
	}
	identity, err := q.identify()
	if err != nil {
		return nil, err
	}
	rep.set(headerRequestID, q.id)
	ctx, cancel := writeContext(q)
	defer cancel()
	p, result, err := a.apply(ctx, identity, q, planner)
	if err != nil {
		return rep, err
	}
	if result == nil {
		rep.index = a.view().ConfigIndex()
		return rep, nil
	}
	a.awaitServed(q.Context(), rep, result.Index, wait == "all")
	rep.index = result.Index
	if p.coll == nil {
		return rep, nil
	}
	if len(result.Entities) == 0 || result.Entities[0] == nil {
		return rep, errNotFound // a repeated write, and its entity is gone since
	}
	if p.repeated && q.only(a.view()).Get(p.coll.Kind, result.Entities[0].ID) == nil {
		return rep, errNotFound // it is not in the scope any more
	}
	rep.body = p.appendOnce(p.coll.appendEntity(nil, q.view(), result.Entities[0]), result.Entities[0])
	rep.set("ETag", etag(result.Entities[0]))
	if p.coll.hooks.warn != nil {
		if said := p.coll.hooks.warn(a, result.Entities[0]); len(said) > 0 {
			rep.set(headerWarning, strings.Join(said, "; "))
		}
	}
	return rep, nil
}

// mint makes up what a new entity of the plan's kind has besides its fields.
func (p *plan) mint(entity map[string]any) {
	if p.coll.hooks.mint != nil {
		p.stored, p.once = p.coll.hooks.mint(entity)
		maps.Copy(entity, p.stored)
	}
}

// appendOnce adds to an entity in an answer what is shown once. A write that was repeated is answered with what the
// first one made, and what this one made up is then of no use to anybody.
func (p *plan) appendOnce(body []byte, e *fsm.Entity) []byte {
	if len(p.once) == 0 {
		return body
	}
	fields, err := fieldsOf(e)
	if err != nil {
		return body
	}
	for name, value := range p.stored {
		if fields[name] != value {
			return body
		}
	}
	once, err := encodeJSON(p.once)
	if err != nil {
		return body
	}
	return append(append(body[:len(body)-1], ','), once[1:]...)
}

// planner makes the plan of a write on one view.
type planner func(v *fsm.View, now int64) (*plan, error)

// origin is what the history says of who writes.
func (q *request) origin() fsm.Origin {
	addr, _, err := net.SplitHostPort(q.RemoteAddr)
	if err != nil {
		addr = q.RemoteAddr
	}
	action := q.Method + " " + maskedPath(q.URL.EscapedPath())
	if len(action) > maxAction {
		action = action[:maxAction]
	}
	o := fsm.Origin{Addr: addr, Node: q.a.cfg.Cluster.ID(), Action: action}
	if q.who != nil {
		o.Who = q.who.name
	}
	return o
}

// command makes one of a write.
func (a *API) command(id string, origin fsm.Origin, w *fsm.Write) *fsm.Command {
	w.Origin, w.Keep = origin, a.cfg.Keep
	return &fsm.Command{Version: fsm.CommandVersion, Type: fsm.CommandWrite, RequestID: id, Write: w}
}

// apply plans and applies until the write is done or refused for good. The result is nil if there was
// nothing to do.
func (a *API) apply(ctx context.Context, identity string, q *request, planner planner) (*plan, *fsm.Result, error) {
	upToDate := false
	for attempt := range maxAttempts {
		// Refusals are remembered under the id of a command, so every attempt has its own.
		id := identity + "/" + strconv.Itoa(attempt)
		p, now, err := a.plan(ctx, q.guarded(id, planner), &upToDate)
		if err != nil || len(p.ops) == 0 {
			return p, nil, err
		}
		command := a.command(id, q.origin(), &fsm.Write{Now: now, Ops: p.ops, Whole: p.whole})
		result, err := a.cfg.Cluster.Apply(ctx, command)
		switch {
		case err != nil:
			return nil, nil, a.unconfirmed(ctx, err)
		case result.Err == nil:
			return p, result, nil
		case p.lost == nil || !p.lost(result.Err):
			return nil, nil, result.Err
		}
		if a.catchUp(ctx, result.Index, attempt) != nil {
			break // out of time; this attempt at least is known not to have happened
		}
	}
	return nil, nil, errContended
}

// plan plans a write. If the view has no entity to write to, the view may be what is wrong: another node
// answered that it made the entity before this node has heard of it. Only after a look at everything that
// was written before is the entity known to be missing; without it, a DELETE would be answered with 204 and
// the entity would stay. One look is enough for all rounds of a write.
func (a *API) plan(ctx context.Context, planner planner, upToDate *bool) (*plan, int64, error) {
	now := a.now()
	p, err := planner(a.view(), now)
	if *upToDate || !missesEntity(p, err) {
		return p, now, err
	}
	if err := a.bringUpToDate(ctx); err != nil {
		return nil, now, err
	}
	*upToDate = true
	now = a.now()
	p, err = planner(a.view(), now)
	return p, now, err
}

// missesEntity says that a plan came to nothing for want of an entity.
func missesEntity(p *plan, err error) bool {
	var refused *fsm.Error
	switch {
	case err == nil:
		return len(p.ops) == 0
	case isUnjudged(err):
		return true
	case errors.As(err, &refused):
		return refused.Code == fsm.CodeNotFound || refused.Code == codeForeignsUnresolved
	}
	var file *declarativeError
	if errors.As(err, &file) {
		return file.missing
	}
	return errors.Is(err, errNotFound) || errors.Is(err, errSNINotFound)
}

// bringUpToDate returns once this node has applied every write that was answered before the call: it has the
// log order a barrier behind them and waits for that.
func (a *API) bringUpToDate(ctx context.Context) error {
	result, err := a.cfg.Cluster.Apply(ctx, fsm.NewBarrier())
	if err == nil {
		err = a.cfg.Machine.Wait(ctx, result.Index)
	}
	var later interface{ RetryAfter() time.Duration }
	if err == nil || errors.As(err, &later) {
		return err
	}
	a.cfg.Logger.Warn("node could not be brought up to date for an admin write", zap.Error(err))
	return errBehind
}

// catchUp waits until this node has seen what made a write lose, and then a little longer.
func (a *API) catchUp(ctx context.Context, index uint64, attempt int) error {
	if err := a.cfg.Machine.Wait(ctx, index); err != nil {
		return err
	}
	limit := min(time.Millisecond<<min(attempt, 6), maxBackoff)
	pause := time.NewTimer(rand.N(limit))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unconfirmed marks the error of a write that this API itself gave up waiting for.
func (a *API) unconfirmed(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	a.cfg.Logger.Warn("admin write was not confirmed", zap.Error(err))
	return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
}

// awaitServed waits until this node, or every live one, serves a change. The change is made whatever comes
// of it, so nodes that are late are a header and no error.
func (a *API) awaitServed(ctx context.Context, rep *reply, index uint64, all bool) {
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	var late []string
	err := a.cfg.Cluster.WaitServed(ctx, index)
	if err != nil {
		late = []string{a.cfg.Cluster.ID()}
	}
	if all {
		var others []string
		if others, err = a.cfg.Cluster.WaitAll(ctx, index); len(others) > 0 {
			late = others
		}
	}
	if err != nil {
		a.cfg.Logger.Warn("change is not served yet", zap.Uint64("index", index), zap.Strings("nodes", late), zap.Error(err))
		if len(late) == 0 {
			late = []string{"unknown"}
		}
	}
	if len(late) > 0 {
		rep.set(headerNotServed, strings.Join(late, ", "))
	}
}

// identify gives a write its id, and the identity that the cluster knows it by. The identity covers what is
// written and where, so that an id used twice by mistake never answers one write with another.
func (q *request) identify() (string, error) {
	q.id = q.a.cfg.NewID()
	if given, ok := q.Header[http.CanonicalHeaderKey(headerRequestID)]; ok {
		if q.id = given[0]; q.id == "" || len(q.id) > maxRequestID || strings.ContainsFunc(q.id, unprintable) {
			return "", errBadRequestID
		}
	}
	body, err := json.Marshal(q.body.fields)
	if err != nil {
		return "", fmt.Errorf("identify request: %w", err)
	}
	parts := []string{q.id, q.Method, q.URL.EscapedPath(), string(body)}
	if q.who != nil {
		parts = append(parts, q.who.id) // nobody is answered what another one was
	}
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s ", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }
