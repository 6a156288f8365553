package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// collection is a kind of entity as the API sees it. What is special about one is in hooks; everything else
// follows from its definition.
type collection struct {
	*fsm.Definition
	schema *schema.Schema // Definition.Schema, completed by the hook
	hooks  hooks
	tagged bool // entities have tags
	now    func() time.Time
}

// hooks is what a kind needs beyond its definition. Any of them may be nil.
type hooks struct {
	// schema completes the kind's schema.
	schema func(base *schema.Schema, plugins []*plugin.Definition) *schema.Schema
	// admit refuses to store an entity, whether or not its fields are right: one that has these fields, and
	// where they say nothing those of the second map, which is nil for a new one.
	admit func(a *API, fields, stored map[string]any) error
	// check judges a valid entity by others that it has to do with.
	check func(a *API, v *fsm.View, entity map[string]any) error
	// leave refuses to delete an entity because of others.
	leave func(v *fsm.View, e *fsm.Entity) error
	// warn says what of a stored entity has no effect.
	warn func(a *API, e *fsm.Entity) []string
	// lookups are the query arguments that select by a unique field: its place in Definition.Unique.
	lookups map[string]int
	// byName finds what a path segment names that is no id, in place of Definition.Key.
	byName func(v *fsm.View, name string) (*fsm.Entity, error)
	// tellsMissing makes GET of a missing id say which one it was, as PATCH does for every kind.
	tellsMissing bool
	// nestedOnly leaves out the paths that do not lead through an owner.
	nestedOnly bool
	// changesOnly makes PUT a PATCH: it creates nothing.
	changesOnly bool
	// hidden are foreign fields whose parent has no path below the entity.
	hidden []string
	// prepare changes the body of a PUT or a PATCH before anything looks at it.
	prepare func(in map[string]any, t *target, put bool)
	// related makes the operations on other entities that storing one brings along; lost says that a
	// refusal of one of those comes from another writer being faster.
	related func(a *API, v *fsm.View, entity map[string]any) ([]fsm.Op, error)
	lost    func(*fsm.Error) bool
	// mint makes what a new entity has besides its fields: members to store, and one to show once, in the answer
	// to the write.
	mint func(entity map[string]any) (stored, once map[string]any)
	// private are members that are stored and are no fields: clients neither see nor set them.
	private []string
	// part says that an entity without tags has those of what it belongs to, as a part of it.
	part bool
	// global says that an entity is for all requests, whoever they are for.
	global func(e *fsm.Entity) bool
	// member appends a member that is not stored with the entity.
	member func(b []byte, v *fsm.View, e *fsm.Entity) []byte
}

// hooksOf gives the hooks of a kind.
func hooksOf(kind string) hooks {
	switch kind {
	case "certificates":
		return hooks{byName: certificateOf, tellsMissing: true, prepare: prepareSNIs, related: relateSNIs, lost: lostSNI,
			member: appendSNIs, warn: warnCertificate}
	case "snis":
		return hooks{hidden: []string{"certificate"}, part: true}
	case "consumers":
		return hooks{lookups: map[string]int{"custom_id": 1}}
	case "plugins":
		return hooks{schema: withPlugins, admit: (*API).admitPlugin, check: checkProtocols, warn: (*API).warnings,
			global: everyRequest}
	case "upstreams":
		return hooks{warn: warnUpstream}
	case "targets":
		return hooks{nestedOnly: true, changesOnly: true, warn: warnUpstream}
	case "vaults":
		return hooks{schema: withVaults}
	case fsm.KindAdminRole:
		return hooks{check: checkRole, leave: leaveRole}
	case fsm.KindAdminToken:
		return hooks{check: checkToken, mint: mintToken, private: []string{memberTokenHash}}
	}
	return hooks{}
}

func newCollection(def *fsm.Definition, cfg *Config) *collection {
	c := &collection{Definition: def, schema: def.Schema, hooks: hooksOf(def.Kind), now: cfg.Now}
	if c.hooks.schema != nil {
		c.schema = c.hooks.schema(def.Schema, cfg.Plugins())
	}
	c.tagged = c.schema.Field("tags") != nil
	return c
}

// collectionRoutes adds the five shapes of paths that Kong makes of an entity and its references.
func (a *API) collectionRoutes(rt *router, c *collection) {
	all := "/" + c.Path
	one := fmt.Sprintf("%s/{%s}", all, c.Kind)
	if !c.hooks.nestedOnly {
		rt.about(all, c, nil)
		rt.handle(http.MethodGet, all, func(q *request) (*reply, error) { return a.list(q, c, nil) })
		rt.write(http.MethodPost, all, func(q *request) (int, planner) { return http.StatusCreated, a.create(q, c, nil) })
		rt.about(one, c, nil)
		a.itemRoutes(rt, one, func(q *request) target { return target{coll: c, key: q.params[0]} })
	}
	for _, f := range c.Foreign {
		if f.List {
			continue
		}
		parent := a.byKind[f.Kind]
		under := fmt.Sprintf("/%s/{%s}/%s", parent.Path, parent.Kind, f.Nested)
		ownerOf := func(q *request) *owner { return &owner{coll: parent, key: q.params[0], field: f.Field} }
		rt.about(under, c, parent)
		rt.handle(http.MethodGet, under, func(q *request) (*reply, error) { return a.list(q, c, ownerOf(q)) })
		rt.write(http.MethodPost, under, func(q *request) (int, planner) {
			return http.StatusCreated, a.create(q, c, ownerOf(q))
		})
		rt.about(fmt.Sprintf("%s/{%s}", under, c.Kind), c, parent)
		a.itemRoutes(rt, fmt.Sprintf("%s/{%s}", under, c.Kind), func(q *request) target {
			return target{coll: c, key: q.params[1], owner: ownerOf(q)}
		})
		if c.hooks.nestedOnly || slices.Contains(c.hooks.hidden, f.Field) {
			continue
		}
		rt.about(one+"/"+f.Field, parent, c)
		a.itemRoutes(rt, one+"/"+f.Field, func(q *request) target {
			return target{coll: parent, child: &child{coll: c, key: q.params[0], field: f.Field}}
		})
	}
}

func (a *API) itemRoutes(rt *router, pattern string, of func(*request) target) {
	rt.handle(http.MethodGet, pattern, func(q *request) (*reply, error) { return a.get(q, of(q)) })
	rt.write(http.MethodPut, pattern, func(q *request) (int, planner) {
		t := of(q)
		if t.coll.hooks.changesOnly {
			return http.StatusOK, a.patch(q, t)
		}
		return http.StatusOK, a.put(q, t)
	})
	rt.write(http.MethodPatch, pattern, func(q *request) (int, planner) { return http.StatusOK, a.patch(q, of(q)) })
	rt.write(http.MethodDelete, pattern, func(q *request) (int, planner) { return http.StatusNoContent, a.delete(q, of(q)) })
}

// find gives the entity that a path segment names, by id or by endpoint key, or nil. Entities whose time is
// over are not there.
func (c *collection) find(v *fsm.View, key string, now int64) (*fsm.Entity, error) {
	var e *fsm.Entity
	switch {
	case schema.IsUUID(key):
		e = v.Get(c.Kind, strings.ToLower(key))
	case c.hooks.byName != nil:
		var err error
		if e, err = c.hooks.byName(v, key); err != nil {
			return nil, err
		}
	case c.Key == "":
		return nil, errPrimaryKey
	default:
		if f := c.schema.Field(c.Key); f != nil && f.Custom != nil {
			if err := f.Custom(key); err != nil {
				return nil, kongError(codeInvalidUnique, "invalid unique "+c.Key, err.Error(), map[string]any{c.Key: err.Error()})
			}
		}
		e = v.Lookup(c.Kind, key)
	}
	if e != nil && e.Expired(now) {
		return nil, nil
	}
	return e, nil
}

// findNested gives the entity of an owner that a path segment names by NestedKey, or nil.
func (c *collection) findNested(v *fsm.View, ownerID, key string, now int64) *fsm.Entity {
	if e := v.LookupNested(c.Kind, ownerID, key); e != nil && !e.Expired(now) {
		return e
	}
	return nil
}

// operation makes the operation that stores an entity, as Insert or Update gave it. expiresAt counts where
// keep is set; otherwise the entity's own ttl does.
func (c *collection) operation(verb fsm.Verb, entity map[string]any, now int64, expiresAt int64, keep bool) (fsm.Op, error) {
	op := fsm.Op{Verb: verb, Kind: c.Kind}
	op.ID, _ = entity["id"].(string)
	if c.TTL {
		if ttl, ok := entity["ttl"].(int64); ok {
			op.ExpiresAt = now + ttl
		}
		if keep {
			op.ExpiresAt = expiresAt
		}
		delete(entity, "ttl") // what is left of it is worked out for every answer
	}
	raw, err := encodeJSON(c.lasting(entity))
	if err != nil {
		return op, fmt.Errorf("store %s: %w", c.Kind, err)
	}
	op.Raw = raw
	return op, nil
}

// lasting gives an entity without its transient fields, which live elsewhere.
func (c *collection) lasting(entity map[string]any) map[string]any {
	for i := range c.schema.Fields {
		if name := c.schema.Fields[i].Name; c.schema.Fields[i].Transient {
			entity = maps.Clone(entity)
			delete(entity, name)
		}
	}
	return entity
}

// appendEntity appends an entity as clients see it.
func (c *collection) appendEntity(b []byte, v *fsm.View, e *fsm.Entity) []byte {
	b = appendPlain(b, c.public(e))
	end := bytes.LastIndexByte(b, '}')
	switch {
	case end < 0 || !c.TTL && c.hooks.member == nil:
		return b
	case c.hooks.member != nil:
		return append(c.hooks.member(append(b[:end], ','), v, e), '}')
	}
	b = append(b[:end], `,"ttl":`...)
	if e.ExpiresAt == 0 {
		return append(b, "null}"...)
	}
	left := e.ExpiresAt - c.now().Add(time.Second-1).Unix() // whole seconds: of ten that begin now, nine
	return append(strconv.AppendInt(b, max(0, left), 10), '}')
}

// public is what is stored of an entity without what is private.
func (c *collection) public(e *fsm.Entity) []byte {
	if len(c.hooks.private) == 0 {
		return e.Raw
	}
	fields, err := fieldsOf(e)
	if err != nil {
		return []byte(`{}`) // nothing rather than too much
	}
	c.takePrivate(fields)
	raw, err := encodeJSON(fields)
	if err != nil {
		return []byte(`{}`)
	}
	return raw
}

// takePrivate takes the private members out of an entity.
func (c *collection) takePrivate(fields map[string]any) map[string]any {
	taken := make(map[string]any, len(c.hooks.private))
	for _, name := range c.hooks.private {
		if value, ok := fields[name]; ok {
			taken[name] = value
			delete(fields, name)
		}
	}
	return taken
}

// fieldsOf decodes a stored entity.
func fieldsOf(e *fsm.Entity) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(e.Raw))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("stored %s %s: %w", e.Kind, e.ID, err)
	}
	return fields, nil
}
