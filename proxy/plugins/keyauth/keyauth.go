// Package keyauth is the plugin key-auth: a request is let through if it
// carries a key that belongs to a consumer (Kong's keyauth_credentials).
//
// # Config
//
//   - key_names (default [apikey]): the names under which a key is looked for.
//     They are tried in order; the first that is there decides, even if it is
//     empty. In a header "_" stands for "-" too.
//   - key_in_header (true), key_in_query (true), key_in_body (false): where to
//     look, in this order for each name. A body is looked into if it is
//     urlencoded, multipart or a JSON object, and at most 64 KiB long; what it
//     holds reaches the upstream byte for byte, unless hide_credentials cuts
//     the key out. A longer body streams through unread, so a key in it is not
//     found.
//   - hide_credentials (false): the upstream does not see the name under which
//     the key was found: not in the header, the query or (with key_in_body) the
//     body. The rest of the query and of a form keeps its order and spelling.
//   - anonymous: the id or username of the consumer that stands for requests
//     without a valid key. Default: they are answered 401.
//   - run_on_preflight (true): OPTIONS requests need a key too.
//   - realm: named in the WWW-Authenticate field of a 401.
//
// A key with a ttl stops being accepted when its time is over.
package keyauth

import (
	"net/textproto"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "key-auth"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 1250
)

// The messages of a 401.
const (
	noKey        = "No API key found in request"
	duplicateKey = "Duplicate API key found"
	unknownKey   = "Unauthorized"
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Identifies: true,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	plugin.Auth
	KeyNames        []string `json:"key_names"`
	KeyInHeader     bool     `json:"key_in_header"`
	KeyInQuery      bool     `json:"key_in_query"`
	KeyInBody       bool     `json:"key_in_body"`
	HideCredentials bool     `json:"hide_credentials"`
	Realm           string   `json:"realm"`
}

// Plugin is one configured key-auth. Safe for concurrent use.
type Plugin struct {
	Config
	names     []keyName
	challenge plugin.Field
	readers   sync.Pool // of *headerReader
}

// keyName is one of key_names, ready for look-ups.
type keyName struct {
	plain string
	// header is the canonical field name; dashed is the same with "-" for "_",
	// "" when that makes no difference.
	header, dashed string
}

var _ plugin.Accessor = (*Plugin)(nil)

// New makes an instance; see plugin.Definition.
func New(_ *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{readers: sync.Pool{New: func() any { return newHeaderReader() }}}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	for _, n := range p.KeyNames {
		k := keyName{plain: n, header: textproto.CanonicalMIMEHeaderKey(n)}
		if strings.Contains(n, "_") {
			k.dashed = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(n, "_", "-"))
		}
		p.names = append(p.names, k)
	}
	p.challenge = plugin.Field{Name: "WWW-Authenticate", Value: "Key"}
	if p.Realm != "" {
		p.challenge.Value = `Key realm="` + p.Realm + `"`
	}
	return p, nil
}

// Access implements plugin.Accessor. A key in a header, accepted, costs no
// allocation but what the Directory and the header view need.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	if p.Skips(ex) {
		return plugin.Continue
	}
	refusal := p.authenticate(ex)
	switch {
	case refusal == "":
		return plugin.Continue
	case p.Anonymous != "":
		return ex.AuthenticateAnonymous(p.Anonymous)
	}
	return ex.Error(401, refusal, p.challenge)
}

// authenticate finds the key and its consumer, or says what is wrong.
//
// The key is not compared in constant time. That would guard a comparison of
// one secret with a guess, where the time tells how long a prefix was right;
// here the whole key is looked up in an index of all credentials, and no stored
// key is picked out before the look-up has succeeded.
func (p *Plugin) authenticate(ex *plugin.Exchange) (refusal string) {
	key, refusal := p.key(ex)
	if refusal != "" {
		return refusal
	}
	entity, ok := ex.Directory.Credential("keyauth_credentials", key)
	if !ok {
		return unknownKey
	}
	credential, ok := entity.Value.(*fsm.KeyAuth)
	if !ok {
		return unknownKey
	}
	consumer, ok := ex.Directory.Consumer(credential.Consumer.ID)
	if !ok {
		return unknownKey // unlike Kong, which lets the request pass
	}
	ex.Authenticate(consumer, plugin.Credential{ID: credential.ID, Identifier: credential.ID})
	return ""
}

// key finds the first of the configured names in the request.
func (p *Plugin) key(ex *plugin.Exchange) (key, refusal string) {
	var b body
	r := p.readers.Get().(*headerReader)
	defer p.readers.Put(r)
	for i := range p.names {
		n := &p.names[i]
		switch f := p.find(ex, n, r, &b); {
		case f.count == 0 || f.count == 1 && f.unusable:
			continue
		case f.count > 1:
			return "", duplicateKey
		case f.value == "":
			p.hide(ex, n, &b)
			return "", noKey
		default:
			p.hide(ex, n, &b)
			return f.value, ""
		}
	}
	return "", noKey
}

// found is what the request has under one name.
type found struct {
	value string
	count int
	// unusable says that the one value is not a string: "?apikey" without "=",
	// or a JSON number.
	unusable bool
}

// find looks for one name in the places that are configured. The first place
// that has it decides.
func (p *Plugin) find(ex *plugin.Exchange, n *keyName, r *headerReader, b *body) found {
	if p.KeyInHeader {
		if f := r.find(ex.Request.Header, n); f.count > 0 {
			return f
		}
	}
	if p.KeyInQuery && ex.Request.Query != "" {
		if f := inParams(ex.Request.Query, n.plain); f.count > 0 {
			return f
		}
	}
	if p.KeyInBody {
		return b.find(ex, n.plain)
	}
	return found{}
}

func inParams(encoded, name string) found {
	var f found
	for p := range plugin.Params(encoded) {
		if p.Name == name {
			f.count++
			f.value, f.unusable = p.Value, p.Bare
		}
	}
	return f
}

// hide takes the name under which a key was found out of what goes upstream.
func (p *Plugin) hide(ex *plugin.Exchange, n *keyName, b *body) {
	if !p.HideCredentials {
		return
	}
	ex.Request.Header.Del(n.header)
	if n.dashed != "" {
		ex.Request.Header.Del(n.dashed)
	}
	if rest := plugin.WithoutParam(ex.Upstream.Query, n.plain); len(rest) != len(ex.Upstream.Query) {
		ex.Upstream.Query, ex.Upstream.HasQuery = rest, rest != ""
	}
	if p.KeyInBody {
		b.cut(ex, n.plain)
	}
}

// headerReader counts the values of a field. It is pooled because the function
// that a header view calls would otherwise be allocated for each request.
type headerReader struct {
	found
	visit func(string) bool
}

func newHeaderReader() *headerReader {
	r := &headerReader{}
	r.visit = func(value string) bool {
		r.count++
		r.value = value
		return r.count < 2
	}
	return r
}

func (r *headerReader) find(h plugin.Header, n *keyName) found {
	f := r.read(h, n.header)
	if f.count == 0 && n.dashed != "" {
		f = r.read(h, n.dashed)
	}
	return f
}

func (r *headerReader) read(h plugin.Header, name string) found {
	r.found = found{}
	h.Each(name, r.visit)
	f := r.found
	r.found = found{} // keeps nothing of the request
	return f
}
