// Package jwt is the plugin jwt: a request is let through if it carries a
// signed token (RFC 7519) whose issuer is a consumer's credential (Kong's
// jwt_secrets).
//
// # Config
//
//   - header_names (default [authorization]), uri_param_names ([jwt]),
//     cookie_names ([]): where a token may be. All places are read; the request
//     must carry one token, though it may be in several places. In a header it
//     follows the word "Bearer".
//   - key_claim_name (iss): the claim that names the credential by its key. If
//     the claims lack it, the token's header is asked.
//   - secret_is_base64 (false): the credential's secret is the base64 form of
//     the one that signed, in either alphabet. For HS* only.
//   - claims_to_verify (none): exp (the token must not be expired) and nbf (it
//     must be valid already). A claim that is not listed is not looked at: by
//     default an expired token passes.
//   - maximum_expiration (0: no limit): the token must have an exp, at most so
//     many seconds ahead. If claims_to_verify is set it must list exp.
//   - anonymous: the id or username of the consumer that stands for requests
//     without a valid token. Default: they are answered 401.
//   - run_on_preflight (true): OPTIONS requests need a token too.
//   - realm: named in the WWW-Authenticate field of a 401.
//
// The algorithm is the credential's (HS, RS, PS, ES with 256, 384 or 512, or
// EdDSA). A token that names another one is refused, whatever its signature, so
// that a public key cannot be used as an HMAC secret.
package jwt

import (
	"net/textproto"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "jwt"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 1450
)

// sharedToken is where templates find the token (kong.ctx.shared).
const sharedToken = "authenticated_jwt_token"

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New, Identifies: true,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	plugin.Auth
	URIParamNames  []string `json:"uri_param_names"`
	CookieNames    []string `json:"cookie_names"`
	HeaderNames    []string `json:"header_names"`
	KeyClaimName   string   `json:"key_claim_name"`
	SecretIsBase64 bool     `json:"secret_is_base64"`
	ClaimsToVerify []string `json:"claims_to_verify"`
	// MaximumExpiration is in seconds.
	MaximumExpiration float64 `json:"maximum_expiration"`
	Realm             string  `json:"realm"`
}

// Plugin is one configured jwt. Safe for concurrent use.
type Plugin struct {
	Config
	now  func() time.Time
	keys *keyCache
	// challenge goes with a 401 for want of a token, invalid with any other.
	challenge, invalid plugin.Field
}

var _ plugin.Accessor = (*Plugin)(nil)

// New makes an instance; see plugin.Definition. All instances of a node share
// one cache of parsed keys.
func New(env *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{now: env.Now}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	for i, header := range p.HeaderNames {
		p.HeaderNames[i] = textproto.CanonicalMIMEHeaderKey(header)
	}
	p.keys = env.Shared(name, func() any { return newKeyCache() }).(*keyCache)
	p.challenge = plugin.Field{Name: "WWW-Authenticate", Value: "Bearer"}
	p.invalid = plugin.Field{Name: "WWW-Authenticate", Value: `Bearer error="invalid_token"`}
	if p.Realm != "" {
		p.challenge.Value = `Bearer realm="` + p.Realm + `"`
		p.invalid.Value = p.challenge.Value + `, error="invalid_token"`
	}
	return p, nil
}

// refusal says why a request has no valid token; nil is a valid one.
type refusal struct {
	// body is the answer's: {"message": ...}, or the claims at fault.
	body map[string]string
	// challenge is the WWW-Authenticate field, nil for none.
	challenge *plugin.Field
}

// Access implements plugin.Accessor.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	if p.Skips(ex) {
		return plugin.Continue
	}
	r := p.authenticate(ex)
	switch {
	case r == nil:
		return plugin.Continue
	case p.Anonymous != "":
		return ex.AuthenticateAnonymous(p.Anonymous)
	case r.challenge == nil:
		return ex.ExitJSON(401, r.body)
	}
	return ex.ExitJSON(401, r.body, *r.challenge)
}

// authenticate goes through Kong's checks in Kong's order, which decides what a
// client is told about a token with several faults.
func (p *Plugin) authenticate(ex *plugin.Exchange) *refusal {
	raw, r := p.token(ex)
	if r != nil {
		return r
	}
	t, err := parse(raw)
	if err != nil {
		return p.refuse("Bad token; " + err.Error())
	}
	key, r := p.key(t)
	if r != nil {
		return r
	}
	credential, ok := credentialOf(ex, key)
	if !ok {
		return p.refuse("No credentials found for given '" + p.KeyClaimName + "'")
	}
	if r := p.verify(t, credential); r != nil {
		return r
	}
	if faults := p.checkClaims(t); faults != nil {
		return &refusal{body: faults, challenge: &p.invalid}
	}
	consumer, ok := ex.Directory.Consumer(credential.Consumer.ID)
	if !ok {
		return &refusal{body: message("Could not find consumer for '" + p.KeyClaimName + "=" + key + "'")}
	}
	ex.Authenticate(consumer, plugin.Credential{ID: credential.ID, Identifier: credential.Key})
	ex.Share(sharedToken, raw)
	return nil
}

func credentialOf(ex *plugin.Exchange, key string) (*fsm.JWTSecret, bool) {
	entity, ok := ex.Directory.Credential("jwt_secrets", key)
	if !ok {
		return nil, false
	}
	credential, ok := entity.Value.(*fsm.JWTSecret)
	return credential, ok
}

// key gives the credential's key that the token names.
func (p *Plugin) key(t *token) (string, *refusal) {
	named := t.claims[p.KeyClaimName]
	if named == nil || named == false {
		named = t.header[p.KeyClaimName]
	}
	if named == nil || named == false {
		return "", p.refuse("No mandatory '" + p.KeyClaimName + "' in claims")
	}
	key, ok := named.(string)
	if !ok || key == "" { // Kong breaks down over a key that is no string
		return "", p.refuse("Invalid '" + p.KeyClaimName + "' in claims")
	}
	return key, nil
}

// verify checks the token's algorithm and signature against the credential.
func (p *Plugin) verify(t *token, credential *fsm.JWTSecret) *refusal {
	if t.algorithm != credential.Algorithm {
		return p.refuse("Invalid algorithm")
	}
	method := methodOf(credential.Algorithm)
	key, err := p.keys.key(credential, p.SecretIsBase64)
	if method == nil || err != nil {
		return p.refuse("Invalid key/secret")
	}
	if method.Verify(t.signed, t.signature, key) != nil {
		return p.refuse("Invalid signature")
	}
	return nil
}

// checkClaims gives the listed claims that do not hold, nil if all do. Times
// are compared without leeway, in whole seconds.
func (p *Plugin) checkClaims(t *token) map[string]string {
	now := float64(p.now().Unix())
	var faults map[string]string
	for _, claim := range p.ClaimsToVerify {
		fault := ""
		at, isNumber := t.claims[claim].(float64)
		switch {
		case !isNumber:
			fault = "must be a number"
		case claim == "exp" && at <= now:
			fault = "token expired"
		case claim == "nbf" && at > now:
			fault = "token not valid yet"
		}
		if fault != "" {
			if faults == nil {
				faults = map[string]string{}
			}
			faults[claim] = fault
		}
	}
	if faults != nil || p.MaximumExpiration <= 0 {
		return faults
	}
	if exp, ok := t.claims["exp"].(float64); !ok || exp-now > p.MaximumExpiration {
		return map[string]string{"exp": "exceeds maximum allowed expiration"}
	}
	return nil
}

func (p *Plugin) refuse(text string) *refusal {
	return &refusal{body: message(text), challenge: &p.invalid}
}

func message(text string) map[string]string { return map[string]string{"message": text} }
