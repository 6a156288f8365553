package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluicegate/sluice/fsm"
)

// Transactions: several writes that are done together or not at all.

// maxOperations bounds those of a transaction.
const maxOperations = 50_000

// operation is one write of a transaction: what a request of its own would say.
type operation struct {
	method, path string
	change       change
	q            *request
}

func (a *API) transactionRoutes(rt *router) {
	rt.handle(http.MethodPost, "/transactions", a.transaction)
}

// transaction answers POST /transactions: {"operations": [{"method": "PUT", "path": "/services/x", "body": {}}]}.
// They are done in order, each on what the ones before have made, and become one change. dry_run=1 tells what
// that would be.
func (a *API) transaction(q *request) (*reply, error) {
	dry, err := q.dry()
	if err != nil {
		return nil, err
	}
	list, err := a.operations(q)
	if err != nil {
		return nil, err
	}
	type result struct {
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body,omitempty"`
	}
	var results []result
	rep := &reply{status: http.StatusOK}
	made, err := a.commitDraft(q, rep, dry, func(d *fsm.Draft) (misses bool, err error) {
		results = make([]result, len(list))
		for i := range list {
			status, body, done, err := a.perform(d, &list[i])
			if err != nil {
				return false, &operationError{i, &list[i], err}
			}
			results[i] = result{status, body}
			misses = misses || !done
		}
		return misses, nil
	})
	if err != nil {
		return rep, err
	}
	answer := struct {
		Index   uint64        `json:"index,omitempty"` // of the change
		DryRun  bool          `json:"dry_run,omitempty"`
		Changes []shownChange `json:"changes"`
		Results []result      `json:"results"`
	}{made.index, dry, a.showChanges(made.changes, dry), results}
	rep.body, err = encodeJSON(answer)
	return rep, err
}

// operations reads those of a request.
func (a *API) operations(q *request) ([]operation, error) {
	given, ok := q.body.fields["operations"].([]any)
	switch {
	case q.body.form || !ok:
		return nil, badRequest(`the body must be JSON such as {"operations": [{"method": "PUT", "path": "/services/x", "body": {...}}]}`)
	case len(given) > maxOperations:
		return nil, badRequest("%d operations, %d are allowed", len(given), maxOperations)
	}
	for name := range q.body.fields {
		if name != "operations" {
			return nil, badRequest("unknown field %q: a transaction has operations only", name)
		}
	}
	list := make([]operation, len(given))
	for i, v := range given {
		var err error
		if list[i], err = a.operation(q, v); err != nil {
			return nil, &operationError{i, &list[i], err}
		}
	}
	return list, nil
}

func (a *API) operation(q *request, v any) (operation, error) {
	fields, ok := v.(map[string]any)
	if !ok {
		return operation{}, badRequest("an operation is an object with method, path and body")
	}
	for name := range fields {
		if name != "method" && name != "path" && name != "body" && name != "if_match" {
			return operation{}, badRequest("unknown field %q: an operation has method, path, body and if_match", name)
		}
	}
	var o operation
	o.method, _ = fields["method"].(string)
	o.path, _ = fields["path"].(string)
	o.method = strings.ToUpper(o.method)
	if o.method == "" || o.path == "" {
		return o, badRequest("an operation needs a method and a path")
	}
	at, err := url.ParseRequestURI(o.path)
	if err != nil || at.RawQuery != "" || at.IsAbs() {
		return o, badRequest("path %q: must be one of this API, without arguments", o.path)
	}
	e, params := a.router.find(at.EscapedPath())
	if e == nil {
		return o, errNotFound
	}
	if err := q.who.admits(e, o.method); err != nil {
		return o, err
	}
	if o.change = e.changes[o.method]; o.change == nil {
		return o, badRequest("%s %s: only writes of entities may be part of a transaction", o.method, o.path)
	}
	header := http.Header{}
	if tag, ok := fields["if_match"].(string); ok {
		header.Set("If-Match", tag)
	}
	o.q = &request{Request: &http.Request{Method: o.method, URL: at, Header: header}, a: a, params: params, query: url.Values{}, who: q.who}
	if body, given := fields["body"]; given && body != nil {
		if o.q.body.fields, ok = body.(map[string]any); !ok {
			return o, errBadJSON
		}
	}
	return o, nil
}

// perform does an operation on a draft; done is false if there was nothing to do.
func (a *API) perform(d *fsm.Draft, o *operation) (status int, body []byte, done bool, err error) {
	status, planner := o.change(o.q)
	v := o.q.only(d.View())
	p, err := planner(v, a.now())
	if err != nil || len(p.ops) == 0 {
		return status, nil, false, err
	}
	entities, refused := d.Do(p.ops...)
	if refused != nil {
		if !o.q.who.free() {
			refused = discreet(refused)
		}
		return 0, nil, false, refused
	}
	if p.coll != nil && entities[0] != nil {
		body = p.appendOnce(p.coll.appendEntity(nil, v, entities[0]), entities[0])
	}
	return status, body, true, nil
}

// operationError says which operation of a transaction was refused.
type operationError struct {
	n   int
	op  *operation
	err error
}

func (e *operationError) Error() string {
	return fmt.Sprintf("operation %d, %s %s: %v", e.n+1, e.op.method, e.op.path, e.err)
}

func (e *operationError) Unwrap() error { return e.err }

// operationReply is the answer to a transaction of which one operation was refused: what that alone would have
// been answered, and which it was.
func (a *API) operationReply(e *operationError) *reply {
	rep := a.errorReply(e.err)
	fields := map[string]any{}
	if len(rep.body) > 0 {
		if json.Unmarshal(rep.body, &fields) != nil {
			return rep
		}
	}
	message, _ := fields["message"].(string)
	if message == "" {
		message = http.StatusText(rep.status)
	}
	fields["message"] = fmt.Sprintf("operation %d, %s %s: %s", e.n+1, e.op.method, e.op.path, message)
	fields["operation"] = e.n + 1
	body, err := encodeJSON(fields)
	if err == nil {
		rep.body = body
	}
	return rep
}
