package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
)

// What a token may do, by endpoint. This is the first look: it says at once that somebody has no business at a
// path. Which entities a request reaches is decided by what it sees and by what it would change (scope.go).

const (
	everything = "*"
	// collectionNode stands for the node and its cluster, as if they were a collection.
	collectionNode = "node"

	actionRead   = "read"
	actionCreate = "create"
	actionUpdate = "update"
	actionDelete = "delete"
)

// need is what an endpoint that is no entity's asks for.
type need uint8

const (
	needSuper    need = iota // the role super-admin; also for what is not in the table
	needNothing              // any valid token: nothing is shown, or only what the token may see anyway
	needNode                 // reading "node"
	needNodeSet              // updating "node"
	needReadAll              // reading "*" without tags
	needWriteAll             // all actions on "*" without tags
)

// needs is the table of endpoints that are no entity's. "*" without tags has "node" in it.
var needs = map[string]need{
	"GET /":                   needNode,
	"GET /status":             needNode, // with what the data plane cannot serve
	"GET /status/dns":         needNothing,
	"GET /endpoints":          needNothing,
	"GET /timers":             needNode,
	"GET /metrics":            needNode,
	"GET /plugins/enabled":    needNothing,
	"GET /cluster":            needNode,
	"GET /cluster/encryption": needNode,

	"GET /schemas/{name}":                      needNothing,
	"GET /schemas/plugins/{name}":              needNothing,
	"GET /schemas/vaults/{name}":               needNothing,
	"GET /plugins/schema/{name}":               needNothing,
	"POST /schemas/{db_entity_name}/validate":  needNothing, // looks at nothing that is stored
	"POST /schemas/plugins/validate":           needNothing,
	"POST /schemas/vaults/validate":            needNothing,
	"GET /tags":                                needNothing,
	"GET /tags/{tags}":                         needNothing,
	"POST /transactions":                       needNothing, // each operation is looked at as a request of its own
	"GET /debug/node/log-level":                needNode,
	"PUT /debug/node/log-level/{log_level}":    needNodeSet,
	"PUT /debug/cluster/log-level/{log_level}": needNodeSet,
	"GET /cluster/budgets":                     needNode,
	"GET /cluster/budgets/{budgets}":           needNode,
	"POST /cluster/budgets/{budgets}/grant":    needNodeSet,
	"POST /cluster/budgets/{budgets}/reset":    needNodeSet,

	"POST /explain":                  needReadAll, // which routes there are
	"GET /history":                   needReadAll,
	"GET /history/verify":            needReadAll,
	"GET /history/{index}":           needReadAll,
	"GET /watch":                     needReadAll,
	"POST /history/{index}/rollback": needWriteAll,
	"GET /config":                    needReadAll,
	"POST /config":                   needWriteAll,

	// What is not there, and is answered all the same.
	"GET /clustering/data-planes":                        needNothing,
	"GET /clustering/status":                             needNothing,
	"DELETE /cache":                                      needNothing,
	"GET /cache/{key}":                                   needNothing,
	"DELETE /cache/{key}":                                needNothing,
	"DELETE /proxy-cache":                                needNothing,
	"GET /proxy-cache/{cache_key}":                       needNothing,
	"DELETE /proxy-cache/{cache_key}":                    needNothing,
	"GET /proxy-cache/{plugin_id}/caches/{cache_key}":    needNothing,
	"DELETE /proxy-cache/{plugin_id}/caches/{cache_key}": needNothing,
	"GET /filter-chains":                                 needNothing,
	"POST /filter-chains":                                needNothing,
	"GET /services/{services}/filter-chains":             needNothing,
	"POST /services/{services}/filter-chains":            needNothing,
	"GET /routes/{routes}/filter-chains":                 needNothing,
	"POST /routes/{routes}/filter-chains":                needNothing,
}

// filterChains ends the patterns of single filter chains, which no build of Sluice has.
const filterChains = "/filter-chains/{filter_chains}"

// admits says whether somebody may use a method of an endpoint at all.
func (p *principal) admits(e *endpoint, method string) error {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case p.free():
		return nil
	case e.coll != nil:
		return p.admitsEntities(e, method)
	case strings.Contains(e.pattern, filterChains):
		return nil
	}
	switch needs[method+" "+e.pattern] {
	case needNothing:
		return nil
	case needNode:
		return p.must(p.whole(actionRead, collectionNode), `read "node"`)
	case needNodeSet:
		return p.must(p.whole(actionUpdate, collectionNode), `update "node"`)
	case needReadAll:
		return p.must(p.whole(actionRead, everything), `read "*", without tags`)
	case needWriteAll:
		all := p.whole(actionCreate, everything) && p.whole(actionUpdate, everything) && p.whole(actionDelete, everything)
		return p.must(all, `create, update and delete "*", without tags`)
	}
	return forbidden("the token '%s' may not do this: it takes the role %s", p.name, RoleSuperAdmin)
}

// admitsEntities looks at the kind of entity that an endpoint is about, and at the one that its path leads through.
func (p *principal) admitsEntities(e *endpoint, method string) error {
	if e.coll.Access {
		return forbidden("the token '%s' may not do this: it takes the role %s", p.name, RoleSuperAdmin)
	}
	if e.through != nil {
		if err := p.must(p.reads(e.through.Path), "read "+e.through.Path); err != nil {
			return err
		}
	}
	path, ok, what := e.coll.Path, false, ""
	switch method {
	case http.MethodGet:
		ok, what = p.reads(path), actionRead
	case http.MethodPost:
		ok, what = p.has(actionCreate, path), actionCreate
	case http.MethodPut:
		ok, what = p.has(actionCreate, path) || p.has(actionUpdate, path), "create or update"
	case http.MethodPatch:
		ok, what = p.has(actionUpdate, path), actionUpdate
	case http.MethodDelete:
		ok, what = p.has(actionDelete, path), actionDelete
	}
	return p.must(ok, what+" "+path)
}

func (p *principal) must(ok bool, what string) error {
	if ok {
		return nil
	}
	return forbidden("the token '%s' may not do this: it has no permission to %s", p.name, what)
}

func forbidden(format string, args ...any) error {
	return &statusError{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// has says whether any permission is for an action on a collection, however narrow its tags.
func (p *principal) has(action, path string) bool {
	return slices.ContainsFunc(p.permissions, func(m fsm.Permission) bool { return m.Grants(action, path) })
}

// reads is has for looking. Who may change or delete an entity may look at it: the answer shows it.
func (p *principal) reads(path string) bool {
	return p.has(actionRead, path) || p.has(actionUpdate, path) || p.has(actionDelete, path)
}

// whole says whether a permission without tags is for an action on a collection; everything is that one alone.
func (p *principal) whole(action, collection string) bool {
	return slices.ContainsFunc(p.permissions, func(m fsm.Permission) bool {
		return len(m.Tags) == 0 && m.Grants(action, collection)
	})
}
