// Package cors is the plugin cors: it answers the questions that browsers ask
// before a request of another origin (preflights), and marks answers that pages of
// other origins may read (the Fetch standard's CORS protocol).
//
// # Config
//
//   - origins (default: all): who may ask. "*" is everyone. One origin alone, like
//     "https://a.test", is named in every answer, whoever asks. Of several the one
//     that asks is named, if it is among them: an entry of letters, digits and
//     ".:/-" is compared, without regard to case and to a default port; any other
//     is a regular expression (RE2) that has to match from end to end. An entry
//     without ":" is about the origin's host only.
//   - methods (GET HEAD PUT PATCH POST DELETE OPTIONS TRACE CONNECT), headers
//     (those that the browser asks for), max_age (seconds; default: the browser's):
//     what preflights are answered.
//   - exposed_headers (none): fields of answers that pages may read.
//   - credentials (false): pages may send cookies and the like. The origin is then
//     named even if everyone may ask.
//   - private_network (false): pages may ask from a less private network.
//   - preflight_continue (false): preflights are the service's to answer, and pass
//     unmarked.
//   - allow_origin_absent (true): answers to requests without Origin are marked too.
//
// A preflight is OPTIONS with Origin and Access-Control-Request-Method. It is
// answered 200 before any auth plugin runs. What the service says in the fields
// that are set here is replaced. Answers that depend on the origin say so in Vary.
//
// Unlike Kong, an origin that may not ask is not told that it could send
// credentials, a regular expression with alternatives (a|b) is anchored as a
// whole, and "*" among several origins is everyone.
package cors

import (
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "cors"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 2000
)

// The fields of the protocol.
const (
	origin         = "Origin"
	requestMethod  = "Access-Control-Request-Method"
	requestHeaders = "Access-Control-Request-Headers"
	requestPrivate = "Access-Control-Request-Private-Network"

	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	allowHeaders     = "Access-Control-Allow-Headers"
	allowMethods     = "Access-Control-Allow-Methods"
	allowPrivate     = "Access-Control-Allow-Private-Network"
	exposeHeaders    = "Access-Control-Expose-Headers"
	maxAge           = "Access-Control-Max-Age"
	vary             = "Vary"
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	Origins        []string `json:"origins"`
	Headers        []string `json:"headers"`
	ExposedHeaders []string `json:"exposed_headers"`
	Methods        []string `json:"methods"`
	// MaxAge is in seconds; nil says nothing of it.
	MaxAge            *float64 `json:"max_age"`
	Credentials       bool     `json:"credentials"`
	PrivateNetwork    bool     `json:"private_network"`
	PreflightContinue bool     `json:"preflight_continue"`
	AllowOriginAbsent bool     `json:"allow_origin_absent"`
}

// Plugin is one configured cors. Safe for concurrent use.
type Plugin struct {
	Config
	origins origins
	// The values of fields, ready to be sent; "" is not sent.
	headers, exposed, methods, maxAge string
}

var (
	_ plugin.Accessor     = (*Plugin)(nil)
	_ plugin.HeaderFilter = (*Plugin)(nil)
)

// New makes an instance; see plugin.Definition.
func New(_ *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	var err error
	if p.origins, err = compile(p.Origins); err != nil {
		return nil, err
	}
	p.headers, p.exposed, p.methods = strings.Join(p.Headers, ","), strings.Join(p.ExposedHeaders, ","), strings.Join(p.Methods, ",")
	if p.MaxAge != nil {
		p.maxAge = strconv.FormatFloat(*p.MaxAge, 'f', -1, 64)
	}
	return p, nil
}

// isPreflight looks at what the client sent: plugins may have changed the request
// by the time of its answer.
func isPreflight(ex *plugin.Exchange) bool {
	return ex.Request.Method == "OPTIONS" && ex.Request.Received.Has(origin) && ex.Request.Received.Has(requestMethod)
}

// Access implements plugin.Accessor: it answers preflights.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	if p.PreflightContinue || !isPreflight(ex) {
		return plugin.Continue
	}
	received, h := ex.Request.Received, ex.Response.Header
	p.mark(h, received.Get(origin), true)
	asked := received.Get(requestHeaders)
	switch {
	case p.headers != "":
		h.Set(allowHeaders, p.headers)
	case asked != "":
		h.Set(allowHeaders, asked)
	}
	h.Set(allowMethods, p.methods)
	if p.maxAge != "" {
		h.Set(maxAge, p.maxAge)
	}
	if p.PrivateNetwork && received.Get(requestPrivate) == "true" {
		h.Set(allowPrivate, "true")
	}
	ex.Response.Status, ex.Response.Body, ex.Response.Source = 200, []byte{}, plugin.FromKong
	return plugin.Stop
}

// FilterHeader implements plugin.HeaderFilter. It allocates nothing, but for
// what a regular expression needs.
func (p *Plugin) FilterHeader(ex *plugin.Exchange) {
	if isPreflight(ex) {
		return // marked already, or the service's
	}
	received := ex.Request.Received
	asks := received.Has(origin)
	if !asks && !p.AllowOriginAbsent {
		return
	}
	p.mark(ex.Response.Header, received.Get(origin), asks)
	if p.exposed != "" {
		ex.Response.Header.Set(exposeHeaders, p.exposed)
	}
}

// mark says in an answer who may read it. asks says whether the request has an
// origin.
func (p *Plugin) mark(h plugin.Header, from string, asks bool) {
	named, permitted := p.origins.name(from)
	if p.origins.everyone && p.Credentials && asks {
		named = from // "*" does not go with credentials
	}
	if p.origins.varies() || p.Credentials {
		addVary(h)
	}
	if !permitted {
		h.Del(allowOrigin)
		h.Del(allowCredentials)
		return
	}
	h.Set(allowOrigin, named)
	if p.Credentials && named != "*" {
		h.Set(allowCredentials, "true")
	}
}

// addVary adds Origin to Vary, unless its first line says so already.
func addVary(h plugin.Header) {
	said := h.Get(vary)
	for said != "" {
		var element string
		element, said, _ = strings.Cut(said, ",")
		if element = strings.TrimSpace(element); element == "*" || strings.EqualFold(element, origin) {
			return
		}
	}
	h.Add(vary, origin)
}
