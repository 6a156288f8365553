package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/fsm"
)

func ops(list ...string) string { return `{"operations":[` + strings.Join(list, ",") + `]}` }

func oneOp(method, path, body string) string {
	if body == "" {
		return fmt.Sprintf(`{"method":%q,"path":%q}`, method, path)
	}
	return fmt.Sprintf(`{"method":%q,"path":%q,"body":%s}`, method, path, body)
}

// TestTransaction: operations see what the ones before have made, and become one change.
func TestTransaction(t *testing.T) {
	h := newHarness(t, testPlugins())
	before := h.cluster.index
	r := h.json("POST", "/transactions", ops(
		oneOp("POST", "/services", `{"name":"s","url":"http://h.test/x"}`),
		oneOp("POST", "/services/s/routes", `{"name":"r","paths":["/x"]}`),
		oneOp("put", "/consumers/ann", `{"custom_id":"7"}`),
		oneOp("PATCH", "/consumers/ann", `{"tags":["t"]}`),
		oneOp("DELETE", "/consumers/nobody", ""),
	))
	if r.status != http.StatusOK || h.cluster.index != before+2 { // one barrier for the consumer that is not there
		t.Fatalf("%d %s, index %d after %d", r.status, r.body, h.cluster.index, before)
	}
	fields := r.fields(t)
	results, changes := fields["results"].([]any), fields["changes"].([]any)
	statuses := ""
	for _, one := range results {
		statuses += fmt.Sprint(one.(map[string]any)["status"], " ")
	}
	if statuses != "201 201 200 200 204 " || len(changes) != 3 {
		t.Errorf("%s %v", statuses, changes)
	}
	if index := strconv.FormatUint(h.api.view().ConfigIndex(), 10); r.header.Get(headerIndex) != index || fmt.Sprint(fields["index"]) != index {
		t.Errorf("index %s, %v; header %s", index, fields["index"], r.header.Get(headerIndex))
	}
	if tags := h.get("/consumers/ann").fields(t); fmt.Sprint(tags["tags"], tags["custom_id"]) != "[t]7" {
		t.Errorf("%v", tags)
	}
	if n := len(h.api.view().History()); n != 1 {
		t.Errorf("%d changes in the history", n)
	}
}

// TestTransactionRefused: if one operation is refused nothing is done, and the answer says which.
func TestTransactionRefused(t *testing.T) {
	service := oneOp("POST", "/services", `{"name":"s","url":"http://h.test"}`)
	for name, c := range map[string]struct {
		body    string
		status  int
		message string
	}{
		"schema": {ops(service, oneOp("POST", "/services/s/routes", `{"paths":["x"]}`)), 400,
			"operation 2, POST /services/s/routes: schema violation (paths.1: should start with: / (fixed path) or ~/ (regex path))"},
		"unique":       {ops(service, service), 409, "operation 2, POST /services: UNIQUE violation detected on '{name=\"s\"}'"},
		"missing":      {ops(oneOp("PATCH", "/services/none", `{}`)), 404, "operation 1, PATCH /services/none: could not find the entity with '{name=\"none\"}'"},
		"no parent":    {ops(oneOp("POST", "/services/none/routes", `{}`)), 404, "operation 1, POST /services/none/routes: Not found"},
		"no path":      {ops(oneOp("POST", "/nothing", `{}`)), 404, "operation 1, POST /nothing: Not found"},
		"a read":       {ops(oneOp("GET", "/services", "")), 400, "operation 1, GET /services: GET /services: only writes of entities may be part of a transaction"},
		"in itself":    {ops(oneOp("POST", "/transactions", `{}`)), 400, "operation 1, POST /transactions: POST /transactions: only writes of entities may be part of a transaction"},
		"no list":      {`{}`, 400, `the body must be JSON such as {"operations": [{"method": "PUT", "path": "/services/x", "body": {...}}]}`},
		"more":         {`{"operations":[],"x":1}`, 400, `unknown field "x": a transaction has operations only`},
		"no operation": {`{"operations":[1]}`, 400, "operation 1,  : an operation is an object with method, path and body"},
		"arguments":    {ops(oneOp("DELETE", "/services/s?x=1", "")), 400, `operation 1, DELETE /services/s?x=1: path "/services/s?x=1": must be one of this API, without arguments`},
		"a body":       {ops(`{"method":"POST","path":"/services","body":[1]}`), 400, "operation 1, POST /services: Cannot parse JSON body"},
		"stale": {ops(service, `{"method":"PATCH","path":"/services/s","body":{},"if_match":"\"99\""}`), 412,
			"operation 2, PATCH /services/s: the entity is not the one of If-Match"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, testPlugins())
			r := h.json("POST", "/transactions", c.body)
			if r.status != c.status || r.message(t) != c.message {
				t.Errorf("%d %q, want %d %q", r.status, r.message(t), c.status, c.message)
			}
			if n := len(h.api.view().History()); n != 0 {
				t.Errorf("%d changes were made", n)
			}
		})
	}
}

// TestDryRun: nothing is done, and the difference is shown, without secrets.
func TestDryRun(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/consumers", "username=ann")
	index := h.cluster.index
	r := h.json("POST", "/transactions?dry_run=1", ops(
		oneOp("PATCH", "/consumers/ann", `{"tags":["new"]}`),
		oneOp("POST", "/consumers/ann/key-auth", `{"key":"very-secret"}`),
	))
	fields := r.fields(t)
	changes, _ := fields["changes"].([]any)
	if r.status != 200 || h.cluster.index != index || fields["dry_run"] != true || len(changes) != 2 {
		t.Fatalf("%d %s, index %d was %d", r.status, r.body, h.cluster.index, index)
	}
	text := fmt.Sprint(changes)
	if strings.Contains(text, "very-secret") || !strings.Contains(text, "key:***") || !strings.Contains(text, "tags:[new]") {
		t.Errorf("%s", text)
	}
	if r := h.json("POST", "/transactions?dry_run=maybe", ops()); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestTransactionIsOvertaken: if another writer is faster, all of it is done again on what that made.
func TestTransactionIsOvertaken(t *testing.T) {
	h := newHarness(t, testPlugins())
	h.must(201, "POST", "/consumers", "username=ann")
	var once sync.Once
	h.cluster.before = func(*fsm.Command) error {
		once.Do(func() {
			raw := strings.Replace(string(h.api.view().Lookup("consumers", "ann").Raw), `"custom_id":null`, `"custom_id":"other"`, 1)
			id := h.api.view().Lookup("consumers", "ann").ID
			if _, err := h.cluster.apply(fsm.NewWrite("", 0, fsm.Op{Verb: fsm.Put, Kind: "consumers", ID: id, Raw: []byte(raw)})); err != nil {
				t.Error(err)
			}
		})
		return nil
	}
	r := h.json("POST", "/transactions", ops(oneOp("PATCH", "/consumers/ann", `{"tags":["t"]}`), oneOp("POST", "/consumers", `{"username":"bob"}`)))
	ann := h.get("/consumers/ann").fields(t)
	if r.status != 200 || fmt.Sprint(ann["custom_id"], ann["tags"]) != "other[t]" || h.get("/consumers/bob").status != 200 {
		t.Errorf("%d %s: %v", r.status, r.body, ann)
	}
}

// TestTransactionOnce: repeated under its id, a transaction is not done twice.
func TestTransactionOnce(t *testing.T) {
	h := newHarness(t, testPlugins())
	body := ops(oneOp("POST", "/consumers", `{"username":"ann"}`))
	for range 2 {
		r := h.do("POST", "/transactions", jsonType, body, headerRequestID, "mine")
		if r.status != 200 && r.status != 409 { // the second is planned on what the first made
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if n := len(h.get("/consumers").ids(t)); n != 1 {
		t.Errorf("%d consumers", n)
	}
}
