// Package basicauth is the plugin basic-auth: a request is let through if it
// carries a user name and a password (RFC 7617) that belong to a consumer
// (Kong's basicauth_credentials).
//
// # Config
//
//   - hide_credentials (default false): the upstream does not see the fields that
//     were looked into.
//   - anonymous: the id or username of the consumer that stands for requests
//     without valid credentials. Default: they are answered 401.
//   - realm (service): named in the WWW-Authenticate field of a 401.
//
// Credentials are looked for in Proxy-Authorization, and if those are none of a
// known user, in Authorization. OPTIONS requests need them too.
//
// # Passwords
//
// What is stored is Kong's: the SHA-1 of the password and the consumer's id. A
// request costs one SHA-1 of some 50 bytes, a fifth of a microsecond, so nothing
// is gained by remembering who has been verified: the key of such a memory would
// have to be another hash of the password. And there is nothing that an attacker
// who guesses could fill up. What one hash costs here, it costs him too who has
// got hold of the stored ones: SHA-1 is Kong's choice, kept so that credentials
// can be moved, and long random passwords are the only remedy.
//
// The time that an answer takes does not tell a known user from an unknown one,
// nor how much of a hash was right.
package basicauth

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"unsafe"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "basic-auth"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 1100
)

const (
	authorization      = "Authorization"
	proxyAuthorization = "Proxy-Authorization"
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Identifies: true,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	plugin.Auth
	HideCredentials bool   `json:"hide_credentials"`
	Realm           string `json:"realm"`
}

// Plugin is one configured basic-auth. Safe for concurrent use.
type Plugin struct {
	Config
	challenge plugin.Field
	pairs     sync.Pool // of *pair
}

var _ plugin.Accessor = (*Plugin)(nil)

// New makes an instance; see plugin.Definition.
func New(_ *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{pairs: sync.Pool{New: func() any { return newPair() }}}
	p.RunOnPreflight = true // Kong has no such field here
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	p.challenge = plugin.Field{Name: "WWW-Authenticate", Value: "Basic realm=" + quoted(p.Realm)}
	return p, nil
}

// quoted gives a quoted-string (RFC 9110, section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Access implements plugin.Accessor. Accepted credentials cost no allocation but
// what the Directory and the header view need.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	switch {
	case p.Skips(ex) || p.authenticate(ex):
		return plugin.Continue
	case p.Anonymous != "":
		return ex.AuthenticateAnonymous(p.Anonymous)
	}
	return ex.Error(401, "Unauthorized", p.challenge)
}

// authenticate finds the credentials and their consumer.
func (p *Plugin) authenticate(ex *plugin.Exchange) bool {
	given := p.pairs.Get().(*pair)
	defer p.pairs.Put(given)
	defer given.forget()
	credential := p.find(ex, proxyAuthorization, given)
	if credential == nil {
		credential = p.find(ex, authorization, given)
	}
	if !verify(credential, given) {
		return false
	}
	consumer, ok := ex.Directory.Consumer(credential.Consumer.ID)
	if !ok {
		return false
	}
	ex.Authenticate(consumer, plugin.Credential{ID: credential.ID, Identifier: credential.Username})
	return true
}

// find reads the credentials of a field and looks their user up. nil: there are
// none, or the user is not known.
func (p *Plugin) find(ex *plugin.Exchange, field string, into *pair) *fsm.BasicAuth {
	sent := ex.Request.Header.Get(field)
	if sent == "" {
		return nil
	}
	read := into.read(sent)
	if p.HideCredentials {
		ex.Request.Header.Del(field)
	}
	if !read {
		return nil
	}
	entity, ok := ex.Directory.Credential("basicauth_credentials", into.user())
	if !ok {
		return nil
	}
	credential, _ := entity.Value.(*fsm.BasicAuth)
	return credential
}

// nobody takes the place of a credential that is not there, so that it costs as
// much to find its password wrong. No password has this hash.
var nobody = &fsm.BasicAuth{
	Consumer: fsm.Ref{ID: "00000000-0000-0000-0000-000000000000"},
	Password: strings.Repeat("-", hex.EncodedLen(sha1.Size)),
}

// verify says whether the password is the credential's, in constant time for
// passwords of one length.
func verify(credential *fsm.BasicAuth, given *pair) bool {
	if credential == nil {
		credential = nobody
	}
	given.hashed = append(append(given.hashed[:0], given.password()...), credential.Consumer.ID...)
	sum := sha1.Sum(given.hashed)
	var text [2 * sha1.Size]byte
	hex.Encode(text[:], sum[:])
	stored := credential.Password
	return subtle.ConstantTimeCompare(text[:], unsafe.Slice(unsafe.StringData(stored), len(stored))) == 1 && credential != nobody
}

// pair is a user name and a password in memory that is used again.
type pair struct {
	data   []byte // the two, and what is between them
	colon  int
	hashed []byte
	// dataSpace and hashSpace are what data and hashed lie in, unless they are larger.
	dataSpace, hashSpace [256]byte
}

func newPair() *pair {
	p := new(pair)
	p.data, p.hashed = p.dataSpace[:0], p.hashSpace[:0]
	return p
}

// read decodes the credentials in the value of a field, as Kong does: they follow
// the first "Basic" or "basic", wherever that is, and any white space; the user
// is not empty. False: there are none.
func (p *pair) read(value string) bool {
	p.data, p.colon = p.data[:0], 0
	encoded, ok := afterScheme(value)
	if !ok {
		return false
	}
	// As in nginx the padding may be missing, and what follows it does not count.
	encoded, _, _ = strings.Cut(encoded, "=")
	decoded, err := base64.RawStdEncoding.AppendDecode(p.data, unsafe.Slice(unsafe.StringData(encoded), len(encoded)))
	if err != nil {
		return false
	}
	p.data = decoded
	for i, c := range p.data {
		if c == ':' {
			p.colon = i
			return i > 0
		}
	}
	return false
}

// afterScheme gives what follows the scheme's name.
func afterScheme(value string) (string, bool) {
	const rest = "asic"
	for i := 0; ; {
		at := strings.Index(value[i:], rest)
		if at < 0 {
			return "", false
		}
		at += i
		if at > 0 && value[at-1]|0x20 == 'b' {
			encoded := strings.TrimLeft(value[at+len(rest):], " \t")
			return encoded, encoded != ""
		}
		i = at + len(rest)
	}
}

// user and password are valid until the pair is forgotten; user is not to be kept.
func (p *pair) user() string     { return unsafe.String(unsafe.SliceData(p.data), p.colon) }
func (p *pair) password() []byte { return p.data[min(p.colon+1, len(p.data)):] }

// forget leaves no password in memory that is not in use.
func (p *pair) forget() {
	clear(p.data)
	clear(p.hashed)
	p.data, p.hashed, p.colon = p.dataSpace[:0], p.hashSpace[:0], 0
}
