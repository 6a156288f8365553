// Package requesttransformer is the plugin request-transformer: it changes
// requests on their way to the service.
//
// # Config
//
// What is done, in this order: replace.uri, http_method, and then for headers, body
// and query (querystring), each in the order
//
//   - remove: names that go.
//   - rename (old:new): if the old name is there it takes the place of the new one.
//   - replace (name:value): only if the name is there.
//   - add (name:value): only if it is not.
//   - append (name:value): one more, whatever is there.
//
// An entry is split at its first colons. An entry without a value adds and appends
// nothing, and replaces no header; from query and body it removes the name.
//
// Host is not among the headers: only replace changes it.
//
// replace.uri is the path for the service; if it has a query, the request's
// follows. http_method is the method; for GET, HEAD and TRACE the parameters of a
// form move from the body to the query.
//
// # Bodies
//
// A body is changed if its Content-Type, after the changes to headers, is that of
// JSON, of a form or of a multipart form. Names are those of a JSON object's
// members, of parameters or of parts; values are strings. What is not changed keeps
// its order and spelling. append makes a list of a JSON member. An empty body is
// one without names. What is not well-formed is sent as it is. A value that cannot
// be written into a multipart form, because it holds the boundary, is 400.
//
// To be changed a body has to be read whole. One of more than 1 MiB is refused
// with 413: to send it unchanged would let through what is meant to be removed.
// Where no change to bodies is configured none is read.
//
// # Templates
//
// Values of rename, replace, add and append, and replace.uri, may hold $(...):
//
//	headers["x-name"], headers.host     a field of the request; "_" stands for "-" too
//	query_params.name                   the first parameter of that name
//	uri_captures.name, uri_captures[1]  groups of the route's regular expression
//	shared.name                         what other plugins share
//
// and what package internal/expr can make of them: $(headers["x-user"] or "none").
// They mean the request as it is when the plugin begins, whatever it changes.
// There is no Lua: what cannot be evaluated is refused when it is configured. What
// is not there is an empty text. In a URI values are escaped, "?" included, so that
// no client can add a query.
package requesttransformer

import (
	"strings"
	"sync"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugins/internal/reqbody"
)

const (
	name = "request-transformer"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 801
)

const (
	// maxBody bounds the bodies that are changed, in bytes.
	maxBody = 1 << 20
	// maxMoved bounds the forms that move to the query, which services do not take
	// without end.
	maxMoved = 32 << 10
)

const tooLarge = "request body is too large to be transformed"

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	HTTPMethod string `json:"http_method"`
	Remove     lists  `json:"remove"`
	Rename     lists  `json:"rename"`
	Replace    struct {
		lists
		URI string `json:"uri"`
	} `json:"replace"`
	Add    lists `json:"add"`
	Append lists `json:"append"`
}

// lists are the entries of one kind of change.
type lists struct {
	Body        []string `json:"body"`
	Headers     []string `json:"headers"`
	Querystring []string `json:"querystring"`
}

// Plugin is one configured request-transformer. Safe for concurrent use.
type Plugin struct {
	method               string
	uri                  *template // nil: stays
	headers, body, query changes
	requests             sync.Pool // of *request
}

var _ plugin.Accessor = (*Plugin)(nil)

// New makes an instance; see plugin.Definition.
func New(_ *plugin.Env, in *plugin.Instance) (any, error) {
	var cfg Config
	if err := in.Decode(&cfg); err != nil {
		return nil, err
	}
	p := &Plugin{method: cfg.HTTPMethod}
	c := &compiler{}
	p.headers = c.changes(cfg, func(l lists) []string { return l.Headers })
	p.body = c.changes(cfg, func(l lists) []string { return l.Body })
	p.query = c.changes(cfg, func(l lists) []string { return l.Querystring })
	if cfg.Replace.URI != "" {
		p.uri = c.template(cfg.Replace.URI)
	}
	if c.err != nil {
		return nil, c.err
	}
	p.requests.New = func() any { return newRequest(c.dynamic) }
	return p, nil
}

// Access implements plugin.Accessor. Changes to headers without templates allocate
// nothing but for renames.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	r := p.requests.Get().(*request)
	defer p.requests.Put(r)
	defer r.end()
	r.begin(ex)
	if p.uri != nil {
		setURI(ex, r.uri(p.uri))
	}
	if p.method != "" && p.setMethod(ex) == plugin.Stop {
		return plugin.Stop
	}
	p.headers.editHeaders(ex, r.values)
	if !p.body.empty() && p.editBody(ex, r.values) == plugin.Stop {
		return plugin.Stop
	}
	if !p.query.empty() {
		u := &ex.Upstream
		if query, changed := p.query.editParams(u.Query, r.values); changed {
			u.Query, u.HasQuery = query, query != ""
		}
	}
	return plugin.Continue
}

// setURI sends the request to another path.
func setURI(ex *plugin.Exchange, uri string) {
	u := &ex.Upstream
	path, query, hasQuery := strings.Cut(uri, "?")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u.Path = path
	switch {
	case !hasQuery:
	case u.Query == "":
		u.Query, u.HasQuery = query, true
	default:
		u.Query = query + "&" + u.Query
	}
}

// setMethod changes the method, and has a form follow it.
func (p *Plugin) setMethod(ex *plugin.Exchange) plugin.Verdict {
	u := &ex.Upstream
	u.Method = p.method
	switch p.method {
	case "GET", "HEAD", "TRACE":
	default:
		return plugin.Continue
	}
	if ex.Request.Body == nil || mediaType(ex) != formType {
		return plugin.Continue
	}
	data, found := reqbody.Peek(ex, maxMoved)
	switch found {
	case reqbody.TooLarge:
		return ex.Error(413, tooLarge)
	case reqbody.Broken:
		return plugin.Continue // the upstream's connection meets the same error
	}
	if moved := asQuery(string(data)); moved != "" {
		if u.Query != "" {
			moved = u.Query + "&" + moved
		}
		u.Query, u.HasQuery = moved, true
	}
	reqbody.Remove(ex)
	return plugin.Continue
}

// editBody changes the request's body if it is of a known type.
func (p *Plugin) editBody(ex *plugin.Exchange, values []string) plugin.Verdict {
	edit := p.editor(ex)
	if edit == nil {
		return plugin.Continue
	}
	data, found := reqbody.Peek(ex, maxBody)
	switch found {
	case reqbody.TooLarge:
		return ex.Error(413, tooLarge)
	case reqbody.Broken:
		return plugin.Continue
	}
	changed, err := edit(data, values)
	switch {
	case err != nil:
		return ex.Error(400, err.Error())
	case changed != nil:
		reqbody.Replace(ex, changed)
	}
	return plugin.Continue
}
