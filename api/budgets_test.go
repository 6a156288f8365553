package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// fakeBudgets answers with a list and keeps what it was asked.
type fakeBudgets struct {
	list   limiter.BudgetList
	err    error
	asked  limiter.BudgetQuery
	ops    []ledger.OperationID
	tokens []int64 // -1 for a reset
}

func (f *fakeBudgets) Budgets(_ context.Context, q limiter.BudgetQuery) (*limiter.BudgetList, error) {
	f.asked = q
	list := f.list
	list.Budgets = slices.Clone(list.Budgets)
	return &list, f.err
}

func (f *fakeBudgets) Budget(context.Context, ledger.Budget) (*limiter.BudgetList, error) {
	return &f.list, f.err
}

func (f *fakeBudgets) TopUp(_ context.Context, id ledger.OperationID, _ ledger.Budget, tokens int64) (*limiter.BudgetList, error) {
	f.ops, f.tokens = append(f.ops, id), append(f.tokens, tokens)
	return &f.list, f.err
}

func (f *fakeBudgets) Renew(_ context.Context, id ledger.OperationID, _ ledger.Budget) (*limiter.BudgetList, error) {
	f.ops, f.tokens = append(f.ops, id), append(f.tokens, -1)
	return &f.list, f.err
}

// Tag makes a tag of the first digits of an id.
func (f *fakeBudgets) Tag(limit string) (tag uint32, known bool) {
	_, err := fmt.Sscanf(limit, "%8x", &tag)
	return tag, err == nil
}

func (f *fakeBudgets) NodeNames() map[string]string {
	return map[string]string{"n1": "north", "n2": "south"}
}

const budgetID = "3f2504e0000000010000000000000002-minute-1781524800"

func newFakeBudgets(t *testing.T) *fakeBudgets {
	t.Helper()
	b, err := ledger.ParseBudget(budgetID)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeBudgets{list: limiter.BudgetList{
		Unreachable: []string{"n3"},
		Budgets: []limiter.Budget{{
			Budget: b, From: b.Start, Until: b.Start + 60, Max: 5, Added: 3, Pool: 2, Spent: 4, Left: 3, Elsewhere: 1, Reset: 17,
			Holders: []limiter.Holder{
				{Node: "n1", Tokens: 1, Spent: 4, Credited: 5, Waiting: 1, Degraded: true}, {Node: "n3", Unreachable: true},
			},
		}},
	}}
}

const shownAsJSON = `{"id":"` + budgetID + `","limit":{"id":"` + someID + `","plugin":"gate","instance_name":"front"},"key":null,
"window":"minute","start":1781524800,"end":1781524860,"reset":17,"max":5,"granted":3,"spent":4,"left":3,"elsewhere":1,"pool":2,"holders":[
{"node":{"id":"n3"},"reachable":false,"tokens":null,"pending":null,"spent":null,"credited":null,"waiting":null,"closed":null,"degraded":null},
{"node":{"id":"n1","name":"north"},"reachable":true,"tokens":1,"pending":0,"spent":4,"credited":5,"waiting":1,"closed":false,"degraded":true}]`

// withBudgets is an API with a plugin whose budgets the fake has.
func withBudgets(t *testing.T, f *fakeBudgets, change ...func(*Config)) *harness {
	t.Helper()
	plugins := testPlugins()
	plugins[0].Budget = func(id string, config map[string]any) string { // of all that are on alike
		if config["on"] == true {
			return id
		}
		return otherID
	}
	h := newHarness(t, plugins, append(change, func(c *Config) { c.Budgets = f })...)
	h.must(201, "POST", "/plugins", "name=gate&instance_name=front&id="+someID)
	h.must(201, "POST", "/plugins", "name=echo&instance_name=echo")
	return h
}

func TestListBudgets(t *testing.T) {
	f := newFakeBudgets(t)
	h := withBudgets(t, f)
	got := h.get("/cluster/budgets")
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	sameJSON(t, []byte(`{"data":[`+shownAsJSON+`}],"next":null,"unreachable":[{"id":"n3"}]}`), got.body)

	f.list.More = true
	fields := h.get("/cluster/budgets?size=1&limit=front&key=a%20b").fields(t)
	offset := formatOffset(budgetID)
	want := "/cluster/budgets?offset=" + offset + "&size=1&limit=front&key=a%20b"
	if fields["offset"] != offset || fields["next"] != want {
		t.Errorf("offset %v, next %v, want %s", fields["offset"], fields["next"], want)
	}
	if key := fields["data"].([]any)[0].(map[string]any)["key"]; key != "a b" {
		t.Errorf("key %v", key)
	}
	f.list = limiter.BudgetList{}
	sameJSON(t, []byte(`{"data":[],"next":null,"unreachable":[]}`), h.get("/cluster/budgets").body)
	if a := newHarness(t, nil).get("/cluster/budgets"); a.status != 404 {
		t.Errorf("without a limiter: %d %s", a.status, a.body)
	}
}

// TestBudgetFilters: arguments become a query of ids, or a 400 that says what is
// wrong.
func TestBudgetFilters(t *testing.T) {
	f := newFakeBudgets(t)
	h := withBudgets(t, f)
	h.must(201, "POST", "/services", "name=s&host=h")
	h.must(201, "POST", "/services/s/plugins", "name=gate&instance_name=shared&config.on=false&id=ffffffff-0000-4000-8000-000000000000")
	alice := h.must(201, "POST", "/consumers", "username=alice").fields(t)["id"].(string)
	b := f.list.Budgets[0].Budget
	sliding, _ := window.Sliding(60)
	for query, want := range map[string]limiter.BudgetQuery{
		"": {Size: 100},
		"size=7&offset=" + formatOffset(budgetID): {Size: 7, After: b},
		"limit=front":        {Size: 100, Limit: someID},
		"limit=" + someID:    {Size: 100, Limit: someID},
		"limit=" + otherID:   {Size: 100, Limit: otherID},
		"window=sliding.60s": {Size: 100, Windowed: true, Period: sliding},
		"limit=shared":       {Size: 100, Limit: otherID},
		"window=hour":        {Size: 100, Windowed: true, Period: limiter.Hour},
		"node=south":         {Size: 100, Node: "n2"},
		"node=n2":            {Size: 100, Node: "n2"},
		"limit=front&key=":   {Size: 100, Limit: someID, Keys: []limiter.LimitKey{{Limit: someID}}},
		"ip=::ffff:1.2.3.4":  {Size: 100, Keys: []limiter.LimitKey{{Limit: someID, Key: "\x00ip:1.2.3.4"}, {Limit: otherID, Key: "\x00ip:1.2.3.4"}}},
		"consumer=alice":     {Size: 100, Keys: []limiter.LimitKey{{Limit: someID, Key: alice}, {Limit: otherID, Key: alice}}},
		"consumer=" + alice:  {Size: 100, Keys: []limiter.LimitKey{{Limit: someID, Key: alice}, {Limit: otherID, Key: alice}}},
	} {
		if a := h.get("/cluster/budgets?" + query); a.status != 200 {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		} else if d := cmp.Diff(want, f.asked); d != "" {
			t.Errorf("%s: %s", query, d)
		}
	}
	for query, want := range map[string]string{
		"limit=back":           "limit 'back' is no plugin's id or instance_name",
		"limit=echo":           "plugin 'echo' limits nothing",
		"window=week":          "unknown window 'week' (expected second, minute, hour, day, month, year, or a length like 90s or sliding.60s)",
		"ip=localhost":         "'localhost' is no IP address",
		"consumer=bob":         "no consumer 'bob'",
		"consumer=alice&key=x": "key, consumer and ip exclude each other",
		"size=0":               "size must be an integer between 1 and 1000",
		"offset=" + url.QueryEscape(formatOffset("x")): "'WyJ4Il0' is not a valid offset: bad value",
	} {
		if a := h.get("/cluster/budgets?" + query); a.status != 400 || a.message(t) != want {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// TestChangeBudget: a grant and a reset answer with what is then, are one operation
// however often they are repeated under their id, and leave a record.
func TestChangeBudget(t *testing.T) {
	f := newFakeBudgets(t)
	core, logs := observer.New(zap.InfoLevel)
	h := withBudgets(t, f, func(c *Config) { c.Logger = zap.New(core) })
	path := "/cluster/budgets/" + budgetID
	sameJSON(t, []byte(shownAsJSON+`,"unreachable":[{"id":"n3"}]}`), h.get(path).body)
	for _, do := range []func() answer{
		func() answer { return h.do("POST", path+"/grant", formType, "tokens=3", headerRequestID, "one") },
		func() answer { return h.do("POST", path+"/grant", formType, "tokens=3", headerRequestID, "one") },
		func() answer { return h.do("POST", path+"/grant", formType, "tokens=4", headerRequestID, "one") },
		func() answer { return h.json("POST", path+"/grant", `{"tokens":3}`) },
		func() answer { return h.do("POST", path+"/reset", "", "") },
	} {
		a := do()
		if a.status != 200 || a.header.Get(headerRequestID) == "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		sameJSON(t, []byte(shownAsJSON+`,"unreachable":[{"id":"n3"}]}`), a.body)
	}
	if d := cmp.Diff([]int64{3, 3, 4, 3, -1}, f.tokens); d != "" {
		t.Error(d)
	}
	if f.ops[0] != f.ops[1] || f.ops[1] == f.ops[2] || f.ops[2] == f.ops[3] || f.ops[3] == f.ops[4] {
		t.Errorf("operations %x", f.ops)
	}
	first := logs.All()[0].ContextMap()
	if logs.Len() != 5 || first["client"] != "192.0.2.1:1234" || first["operation"] != "grant" || first["budget"] != budgetID || first["request_id"] != "one" {
		t.Errorf("%d records, the first %v", logs.Len(), first)
	}
}

func TestChangeBudgetRefused(t *testing.T) {
	f := newFakeBudgets(t)
	h := withBudgets(t, f)
	const tokens = "grant takes one argument, tokens: an integer between 1 and 274877906944"
	for _, c := range []struct {
		path, body string
		err        error
		status     int
		message    string
	}{
		{"/x/grant", "tokens=1", nil, 400, "'x' is not the id of a budget; GET /cluster/budgets lists them"},
		{"/" + budgetID + "1/reset", "", nil, 400, "'" + budgetID + "1' is not the id of a budget; GET /cluster/budgets lists them"},
		{"/" + budgetID + "/grant", "", nil, 400, tokens},
		{"/" + budgetID + "/grant", "tokens=0", nil, 400, tokens},
		{"/" + budgetID + "/grant", "tokens=1.5", nil, 400, tokens},
		{"/" + budgetID + "/grant", "tokens=1&more=2", nil, 400, tokens},
		{"/" + budgetID + "/grant", "token=1", nil, 400, tokens},
		{"/" + budgetID + "/reset", "tokens=1", nil, 400, "reset takes no arguments"},
		{"/" + budgetID + "/grant", "tokens=1", limiter.ErrUnknownBudget, 404, limiter.ErrUnknownBudget.Error()},
		{"/" + budgetID + "/grant", "tokens=1", limiter.ErrUnchangeable, 400, limiter.ErrUnchangeable.Error()},
		{"/" + budgetID + "/reset", "", limiter.ErrWindowOver, 409, "the window of this budget is over"},
		{"/" + budgetID + "/grant", "tokens=1", limiter.ErrCrowded, 409, limiter.ErrCrowded.Error()},
		{"/" + budgetID + "/grant", "tokens=1", limiter.ErrBudgetTooLarge, 400, "a budget may not be larger than 274877906944"},
		{"/" + budgetID + "/grant", "tokens=1", fmt.Errorf("%w: gone", ErrUnconfirmed), 504, ErrUnconfirmed.Error()},
	} {
		f.err = c.err
		contentType := ""
		if c.body != "" {
			contentType = formType
		}
		a := h.do("POST", "/cluster/budgets"+c.path, contentType, c.body)
		if a.status != c.status || a.message(t) != c.message {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
	}
	f.err = limiter.ErrUnknownBudget
	if a := h.get("/cluster/budgets/" + budgetID); a.status != http.StatusNotFound || !strings.Contains(a.message(t), "no node knows") {
		t.Errorf("GET: %d %s", a.status, a.body)
	}
}
