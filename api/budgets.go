package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const pathBudgets = "/cluster/budgets"

// Budgets is what the API needs of the limiter. Safe for concurrent use. Errors that have a method
// RetryAfter() time.Duration, and ErrUnconfirmed, are as for Cluster.
type Budgets interface {
	// Budgets lists the budgets of open windows, asking all nodes.
	Budgets(ctx context.Context, q limiter.BudgetQuery) (*limiter.BudgetList, error)
	// Budget looks for one.
	Budget(ctx context.Context, b ledger.Budget) (*limiter.BudgetList, error)
	// TopUp adds tokens to a budget, and Renew what was spent of it, once for each operation. The list has
	// the budget as it is then.
	TopUp(ctx context.Context, id ledger.OperationID, b ledger.Budget, tokens int64) (*limiter.BudgetList, error)
	Renew(ctx context.Context, id ledger.OperationID, b ledger.Budget) (*limiter.BudgetList, error)
	// Tag gives the upper 32 bits of the keys of a limit's budgets; false while the cluster is not known.
	Tag(limit string) (uint32, bool)
	// NodeNames gives nodes' names by their ids.
	NodeNames() map[string]string
}

func (a *API) budgetRoutes(rt *router) {
	if a.cfg.Budgets == nil {
		return
	}
	rt.handle(http.MethodGet, pathBudgets, a.listBudgets)
	rt.handle(http.MethodGet, pathBudgets+"/{budgets}", a.getBudget)
	rt.handle(http.MethodPost, pathBudgets+"/{budgets}/grant", a.grantBudget)
	rt.handle(http.MethodPost, pathBudgets+"/{budgets}/reset", a.resetBudget)
}

// shownBudget is a budget in an answer. Spent + Left + Elsewhere is Max + Granted, unless the limit was
// lowered meanwhile.
type shownBudget struct {
	ID    string      `json:"id"`
	Limit *shownLimit `json:"limit"` // null: of no plugin that is configured
	Key   *string     `json:"key"`   // null: only known to who asks for it
	// Window is "minute", "90s", "sliding.60s", or with "local." before that if each node counts by itself.
	Window string `json:"window"`
	// Start and End are unix seconds; Reset is the time until all is there again, in seconds.
	Start   int64 `json:"start"`
	End     int64 `json:"end"`
	Reset   int64 `json:"reset"`
	Max     int64 `json:"max"`
	Granted int64 `json:"granted"` // added to max by operators
	Spent   int64 `json:"spent"`
	Left    int64 `json:"left"`
	// Elsewhere is held by nodes that do not answer, under way, or lost with a node.
	Elsewhere int64         `json:"elsewhere"`
	Pool      int64         `json:"pool"` // part of left
	Holders   []shownHolder `json:"holders"`
}

type shownLimit struct {
	ID           string  `json:"id"`
	Plugin       string  `json:"plugin"`
	InstanceName *string `json:"instance_name"`
}

// shownHolder is what a node holds; null where that is not known, as the node did not answer.
type shownHolder struct {
	Node      shownNode `json:"node"`
	Reachable bool      `json:"reachable"`
	Tokens    *int64    `json:"tokens"`
	Pending   *int64    `json:"pending"` // its share, as long as it has not taken that
	Spent     *int64    `json:"spent"`
	Credited  *int64    `json:"credited"` // what it has got less what it has given
	Waiting   *int64    `json:"waiting"`  // requests
	Closed    *bool     `json:"closed"`
	Degraded  *bool     `json:"degraded"`
}

type shownNode struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// listBudgets answers GET /cluster/budgets.
func (a *API) listBudgets(q *request) (*reply, error) {
	p, err := parsePage(q.query, 1, false)
	if err != nil {
		return nil, err
	}
	names := a.cfg.Budgets.NodeNames()
	look, key, err := a.budgetQuery(q, p, names)
	if err != nil {
		return nil, err
	}
	list, err := a.cfg.Budgets.Budgets(q.Context(), *look)
	if err != nil {
		return nil, budgetError(err)
	}
	var next, offset any
	if list.More {
		token := formatOffset(list.Budgets[len(list.Budgets)-1].ID())
		offset, next = token, nextBudgets(q, token)
	}
	// The order of pages is that of the limiter's table; within one, a limit's budgets are together.
	slices.SortFunc(list.Budgets, func(a, b limiter.Budget) int { return cmp.Compare(a.ID(), b.ID()) })
	limits := a.limitsByTag()
	body := map[string]any{"data": []shownBudget{}, "next": next, "unreachable": showNodes(list.Unreachable, names)}
	if offset != nil {
		body["offset"] = offset
	}
	data := make([]shownBudget, 0, len(list.Budgets))
	for i := range list.Budgets {
		data = append(data, showBudget(&list.Budgets[i], limits, key, names))
	}
	body["data"] = data
	return jsonReply(http.StatusOK, body)
}

// getBudget answers GET /cluster/budgets/{id}.
func (a *API) getBudget(q *request) (*reply, error) {
	b, err := q.budget()
	if err != nil {
		return nil, err
	}
	list, err := a.cfg.Budgets.Budget(q.Context(), b)
	if err != nil {
		return nil, budgetError(err)
	}
	return a.budgetReply(list)
}

// budget reads the id in the path.
func (q *request) budget() (ledger.Budget, error) {
	b, err := ledger.ParseBudget(q.params[0])
	if err != nil {
		return b, badRequest("'%s' is not the id of a budget; GET %s lists them", q.params[0], pathBudgets)
	}
	return b, nil
}

// budgetReply shows the only budget of a list.
func (a *API) budgetReply(list *limiter.BudgetList) (*reply, error) {
	names := a.cfg.Budgets.NodeNames()
	return jsonReply(http.StatusOK, struct {
		shownBudget
		Unreachable []shownNode `json:"unreachable"`
	}{showBudget(&list.Budgets[0], a.limitsByTag(), nil, names), showNodes(list.Unreachable, names)})
}

// nextBudgets gives the path of the next page, with the arguments of this one.
func nextBudgets(q *request, token string) string {
	next := pathBudgets + "?offset=" + queryEscape(token)
	for _, name := range []string{"size", "limit", "key", "consumer", "ip", "window", "node"} {
		if q.query.Has(name) {
			next += "&" + name + "=" + queryEscape(q.query.Get(name))
		}
	}
	return next
}

// budgetQuery reads the arguments: size and offset as everywhere, limit (a plugin's id or instance name), key
// (what is counted), consumer (a name or id) or ip (for what is counted by address), window and node (an id
// or a name).
func (a *API) budgetQuery(q *request, p *page, names map[string]string) (look *limiter.BudgetQuery, shown *string, err error) {
	look = &limiter.BudgetQuery{Size: p.size}
	if p.after != nil {
		if look.After, err = ledger.ParseBudget(p.after[0]); err != nil {
			return nil, nil, kongError(codeInvalidOffset, "invalid offset", fmt.Sprintf("'%s' is not a valid offset: bad value", q.query.Get("offset")), nil)
		}
	}
	if text := q.query.Get("limit"); text != "" {
		if look.Limit, err = a.limitID(text); err != nil {
			return nil, nil, err
		}
	}
	if text := q.query.Get("window"); text != "" {
		if look.Period, look.Windowed = window.ParseCode(text); !look.Windowed {
			return nil, nil, badRequest("unknown window '%s' (expected second, minute, hour, day, month, year, or a length like 90s or sliding.60s)", text)
		}
	}
	if text := q.query.Get("node"); text != "" {
		look.Node = text
		for id, name := range names {
			if name == text {
				look.Node = id
			}
		}
	}
	key, shown, err := a.countedKey(q)
	if err == nil && key != nil {
		look.Keys, err = a.limitKeys(look.Limit, *key)
	}
	return look, shown, err
}

// limitID finds the plugin that is meant. An id need not be a plugin's any more: budgets outlive it.
func (a *API) limitID(text string) (string, error) {
	plugins := a.byKind["plugins"]
	if plugins == nil {
		return "", errNotFound
	}
	e, err := plugins.find(a.view(), text, a.now())
	switch {
	case err != nil:
		return "", err
	case e != nil:
		id, ok := a.limitOf(e)
		if !ok {
			return "", badRequest("plugin '%s' limits nothing", text)
		}
		return id, nil
	case schema.IsUUID(text):
		return text, nil
	}
	return "", badRequest("limit '%s' is no plugin's id or instance_name", text)
}

// limitOf gives the id of the limit that a plugin counts requests under; false if it limits nothing.
func (a *API) limitOf(e *fsm.Entity) (string, bool) {
	p, ok := e.Value.(*fsm.Plugin)
	if !ok {
		return "", false
	}
	for _, def := range a.cfg.Plugins() {
		if def.Name == p.Name && def.Budget != nil {
			return def.Budget(p.ID, p.Config), true
		}
	}
	return "", false
}

// countedKey gives the key that is asked for, and how it is shown; nil if none is.
func (a *API) countedKey(q *request) (key, shown *string, err error) {
	asked := 0
	for _, name := range []string{"key", "consumer", "ip"} {
		if q.query.Has(name) {
			asked++
		}
	}
	switch {
	case asked > 1:
		return nil, nil, badRequest("key, consumer and ip exclude each other")
	case q.query.Has("key"):
		text := q.query.Get("key")
		return &text, &text, nil
	case q.query.Has("consumer"):
		id, err := a.consumerID(q.query.Get("consumer"))
		return &id, &id, err
	case q.query.Has("ip"):
		addr, err := netip.ParseAddr(q.query.Get("ip"))
		if err != nil {
			return nil, nil, badRequest("'%s' is no IP address", q.query.Get("ip"))
		}
		text, name := plugin.AddressKey(addr), addr.Unmap().String()
		return &text, &name, nil
	}
	return nil, nil, nil
}

// consumerID finds a consumer by name or id.
func (a *API) consumerID(text string) (string, error) {
	consumers := a.byKind["consumers"]
	if consumers == nil || text == "" {
		return "", badRequest("no consumer '%s'", text)
	}
	e, err := consumers.find(a.view(), text, a.now())
	switch {
	case err != nil:
		return "", err
	case e == nil:
		return "", badRequest("no consumer '%s'", text)
	}
	return e.ID, nil
}

// limitKeys gives what a key is counted as: under one limit, or under any that may have counted it.
func (a *API) limitKeys(limit, key string) ([]limiter.LimitKey, error) {
	if limit != "" {
		return []limiter.LimitKey{{Limit: limit, Key: key}}, nil
	}
	var keys []limiter.LimitKey
	for e := range a.view().All("plugins") {
		if id, ok := a.limitOf(e); ok {
			keys = append(keys, limiter.LimitKey{Limit: id, Key: key})
		}
	}
	if len(keys) > maxSize {
		return nil, badRequest("there are more than %d limits: name the one that is meant, with limit", maxSize)
	}
	if keys == nil {
		keys = []limiter.LimitKey{{Key: key}} // of nothing
	}
	return keys, nil
}

// limitsByTag finds the plugins whose budgets a list shows.
func (a *API) limitsByTag() map[uint32]*shownLimit {
	limits := map[uint32]*shownLimit{}
	for e := range a.view().All("plugins") {
		id, ok := a.limitOf(e)
		if !ok {
			continue
		}
		tag, known := a.cfg.Budgets.Tag(id)
		if p := e.Value.(*fsm.Plugin); known && limits[tag] == nil { // of several that share budgets, one is shown
			limits[tag] = &shownLimit{ID: p.ID, Plugin: p.Name}
			if p.InstanceName != "" {
				limits[tag].InstanceName = &p.InstanceName
			}
		}
	}
	return limits
}

func showBudget(b *limiter.Budget, limits map[uint32]*shownLimit, key *string, names map[string]string) shownBudget {
	out := shownBudget{
		ID: b.ID(), Limit: limits[uint32(b.Key.Hi>>32)], Key: key, Window: b.Period.Code(), Start: b.From, End: b.Until, Reset: b.Reset,
		Max: b.Max, Granted: b.Added, Spent: b.Spent, Left: b.Left, Elsewhere: b.Elsewhere, Pool: b.Pool, Holders: []shownHolder{},
	}
	for i := range b.Holders {
		h := &b.Holders[i]
		shown := shownHolder{Node: shownNode{h.Node, names[h.Node]}, Reachable: !h.Unreachable}
		if shown.Reachable {
			shown.Tokens, shown.Pending, shown.Spent, shown.Credited = &h.Tokens, &h.Pending, &h.Spent, &h.Credited
			shown.Waiting, shown.Closed, shown.Degraded = &h.Waiting, &h.Closed, &h.Degraded
		}
		out.Holders = append(out.Holders, shown)
	}
	slices.SortFunc(out.Holders, func(a, b shownHolder) int {
		return cmp.Or(cmp.Compare(a.Node.Name, b.Node.Name), cmp.Compare(a.Node.ID, b.Node.ID))
	})
	return out
}

func showNodes(ids []string, names map[string]string) []shownNode {
	nodes := []shownNode{}
	for _, id := range ids {
		nodes = append(nodes, shownNode{id, names[id]})
	}
	return nodes
}
