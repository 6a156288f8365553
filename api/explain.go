package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/explain"
)

func (a *API) explainRoutes(rt *router) {
	if a.cfg.Explain != nil {
		rt.handle(http.MethodPost, "/explain", a.explain)
	}
}

// explained is the answer to POST /explain.
type explained struct {
	*explain.Explanation
	Quota []shownQuota `json:"quota"`
}

// shownQuota is what is left of one window of a limit, for the key that the request would be counted under.
type shownQuota struct {
	Plugin string `json:"plugin"`
	ID     string `json:"id"` // the plugin's
	// Key is what the request is counted under: an address, a consumer's id, a header's value.
	Key    string `json:"key"`
	Window string `json:"window"`
	Max    int64  `json:"max"`
	Spent  int64  `json:"spent"`
	Left   int64  `json:"left"`
	Reset  int64  `json:"reset"`
	// Budget is its id in /cluster/budgets, null before the first request of a window.
	Budget *string `json:"budget"`
}

// explain answers POST /explain: what would become of a request, and why.
func (a *API) explain(q *request) (*reply, error) {
	question, err := a.question(q.body.fields)
	if err != nil {
		return nil, err
	}
	answer := explained{Explanation: a.cfg.Explain(question), Quota: []shownQuota{}}
	for i := range answer.Counted {
		quota, err := a.quotaLeft(q.Context(), &answer.Counted[i])
		if err != nil {
			answer.Notes = append(answer.Notes, "what is left of the limits is not known: "+err.Error())
			break
		}
		answer.Quota = append(answer.Quota, quota...)
	}
	return jsonReply(http.StatusOK, answer)
}

// quotaLeft looks for the budgets that a request would be counted in, one for each rate.
func (a *API) quotaLeft(ctx context.Context, c *explain.Counted) ([]shownQuota, error) {
	if a.cfg.Budgets == nil {
		return nil, nil
	}
	list, err := a.cfg.Budgets.Budgets(ctx, limiter.BudgetQuery{
		Size: limiter.MaxBudgets, Limit: c.Limit.ID, Keys: []limiter.LimitKey{{Limit: c.Limit.ID, Key: c.Key}},
	})
	if err != nil {
		return nil, err
	}
	var quota []shownQuota
	for i := range c.Limit.Rates {
		rate := &c.Limit.Rates[i]
		most := rate.Max
		if rate.Burst > 0 {
			most = rate.Burst
		}
		shown := shownQuota{Plugin: c.Plugin.Name, ID: c.Plugin.ID, Key: shownKey(c.Key), Window: rate.Period.Code(), Max: most, Left: most}
		at := slices.IndexFunc(list.Budgets, func(b limiter.Budget) bool { return b.Period == rate.Period })
		if at >= 0 {
			b := &list.Budgets[at]
			id := b.ID()
			shown.Max, shown.Spent, shown.Left, shown.Reset, shown.Budget = b.Max+b.Added, b.Spent, b.Left, b.Reset, &id
		}
		quota = append(quota, shown)
	}
	return quota, nil
}

// shownKey is a key as people read it: addresses are kept apart from other keys by a prefix that is no text.
func shownKey(key string) string { return strings.TrimPrefix(key, "\x00ip:") }

// asking reads the fields of a question one after the other, and keeps the first error.
type asking struct {
	fields map[string]any
	err    error
}

func (f *asking) fail(format string, args ...any) {
	if f.err == nil {
		f.err = badRequest(format, args...)
	}
}

// text gives a field that is a text, and takes it out.
func (f *asking) text(name string) string {
	v, given := f.fields[name]
	delete(f.fields, name)
	text, ok := v.(string)
	if given && !ok {
		f.fail("%s must be a text", name)
	}
	return text
}

// flag gives a field that is true or false.
func (f *asking) flag(name string) bool {
	v, given := f.fields[name]
	delete(f.fields, name)
	switch v := v.(type) {
	case bool:
		return v
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
	}
	if given {
		f.fail("%s must be true or false", name)
	}
	return false
}

// port gives a field that is a port.
func (f *asking) port(name string) uint16 {
	v, given := f.fields[name]
	delete(f.fields, name)
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if given && (err != nil || n == 0) {
		f.fail("%s must be a port", name)
	}
	return uint16(n)
}

// headers gives a field that is an object of texts, or lists of them.
func (f *asking) headers(name string) (list []explain.Header) {
	v, given := f.fields[name]
	delete(f.fields, name)
	fields, ok := v.(map[string]any)
	if given && !ok {
		f.fail(`%s must be an object such as {"X-Key": "text"}`, name)
	}
	for header, v := range fields {
		values, ok := v.([]any)
		if !ok {
			values = []any{v}
		}
		for _, one := range values {
			text, ok := one.(string)
			if !ok || header == "" || strings.ContainsAny(header+text, "\r\n\x00") {
				f.fail("%s.%s must be a text, or a list of them", name, header)
			}
			list = append(list, explain.Header{Name: header, Value: text})
		}
	}
	slices.SortStableFunc(list, func(a, b explain.Header) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// question reads the description of a request: url, or host, path, query and scheme; method, headers, sni, port,
// client_ip, consumer, http2, all_routes.
func (a *API) question(fields map[string]any) (*explain.Question, error) {
	f := &asking{fields: fields}
	q := &explain.Question{
		Method: f.text("method"), Scheme: f.text("scheme"), Host: f.text("host"), Target: f.text("path"), SNI: f.text("sni"),
		Port: f.port("port"), HTTP2: f.flag("http2"), Headers: f.headers("headers"), AllRoutes: f.flag("all_routes"),
	}
	if query := f.text("query"); query != "" {
		q.Target += "?" + query
	}
	f.wholeURL(q)
	q.Client = netip.IPv4Unspecified()
	if text := f.text("client_ip"); text != "" {
		var err error
		if q.Client, err = netip.ParseAddr(text); err != nil {
			f.fail("client_ip '%s' is no IP address", text)
		}
	}
	if name := f.text("consumer"); name != "" {
		q.Consumer = a.askedConsumer(f, name)
	}
	for name := range f.fields {
		f.fail("unknown field '%s': a request has method, url (or scheme, host, path and query), headers, sni, port, client_ip, consumer and http2", name)
	}
	f.complete(q)
	return q, f.err
}

// wholeURL takes scheme, host and target from the field url.
func (f *asking) wholeURL(q *explain.Question) {
	text := f.text("url")
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case q.Scheme+q.Host+q.Target != "":
		f.fail("url already has scheme, host, path and query")
	case err != nil || u.Host == "":
		f.fail("url '%s' must be like https://example.com/path?query", text)
	default:
		q.Scheme, q.Host, q.Target = u.Scheme, u.Host, u.EscapedPath()
		if u.RawQuery != "" || u.ForceQuery {
			q.Target += "?" + u.RawQuery
		}
	}
}

func (a *API) askedConsumer(f *asking, name string) *fsm.Consumer {
	id, err := a.consumerID(name)
	if err != nil {
		f.fail("no consumer '%s'", name)
		return nil
	}
	e := a.view().Get("consumers", id)
	if e == nil {
		return nil
	}
	c, _ := e.Value.(*fsm.Consumer)
	return c
}

// complete sets what was left out, and judges the rest.
func (f *asking) complete(q *explain.Question) {
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	if q.Scheme == "" {
		q.Scheme = "http"
	}
	if q.Host == "" {
		q.Host = "localhost"
	}
	if q.Target == "" || q.Target[0] == '?' {
		q.Target = "/" + q.Target
	}
	switch {
	case q.Scheme != "http" && q.Scheme != "https":
		f.fail("scheme '%s' must be http or https", q.Scheme)
	case q.Target[0] != '/':
		f.fail("path '%s' must begin with a slash", q.Target)
	case strings.ContainsAny(q.Method+q.Host+q.Target+q.SNI, " \r\n\x00"):
		f.fail("method, host, path and sni must have no blanks in them")
	}
	if q.SNI == "" && q.Scheme == "https" {
		q.SNI, _, _ = strings.Cut(q.Host, ":")
	}
}
