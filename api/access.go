package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// Who may use the API: who asks (here), what that is allowed to do (permit.go), and which entities that reaches
// (scope.go). All of it is looked at in the newest configuration that this node has, for every request: a token
// that is revoked is of no use as soon as the node has heard of it.

// headerToken is where Kong's clients put a token; "Authorization: Bearer" does as well.
const headerToken = "Kong-Admin-Token"

// The roles that are there without an entity.
const (
	RoleSuperAdmin = "super-admin" // everything, and the only one that may look at and change roles and tokens
	RoleReadOnly   = "read-only"   // to look at everything else, secrets of entities included
)

var (
	errNoCredential  = &statusError{http.StatusUnauthorized, "this needs a token: send it as " + headerToken + ", or as Authorization: Bearer"}
	errBadCredential = &statusError{http.StatusUnauthorized, "the token, or the client certificate, is not one that is known, or its time is over"}
)

// principal is who a request comes from. Immutable; nil is anybody, on a listener that asks nobody.
type principal struct {
	id, name    string // of the token
	super       bool
	permissions []fsm.Permission
}

// free says that there is nothing that the principal may not do.
func (p *principal) free() bool { return p == nil || p.super }

// Guarded is Handler for who has a token or a certificate that is known, and only for what that may do.
func (a *API) Guarded() http.Handler { return a.handler(a.router, true) }

// authenticate finds out who a request comes from. A token counts more than a certificate, and a wrong one is
// refused even if the certificate is right.
func (a *API) authenticate(r *http.Request) (*principal, error) {
	v, now := a.view(), a.now()
	var e *fsm.Entity
	if token, given := presented(r.Header); given {
		e = tokenEntity(v, token)
	} else if certificate := verified(r); certificate != nil && !a.foreign(r) {
		e = certificateEntity(v, certificate)
	} else {
		return nil, errNoCredential
	}
	if e == nil || e.Expired(now) {
		return nil, errBadCredential
	}
	token, ok := e.Value.(*fsm.AdminToken)
	if !ok {
		return nil, errBadCredential
	}
	return principalOf(v, token), nil
}

// presented gives the token that a request carries.
func presented(h http.Header) (token string, given bool) {
	if token := h.Get(headerToken); token != "" {
		return token, true
	}
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// tokenEntity looks a token up by its hash. How long that takes says nothing about other tokens: a hash cannot be
// chosen, and one that is not there is compared as well.
func tokenEntity(v *fsm.View, token string) *fsm.Entity {
	hash := hashOf(token)
	e := v.LookupUnique(fsm.KindAdminToken, fsm.AdminTokenByHash, hash)
	stored := strings.Repeat("0", len(hash))
	if e != nil {
		if t, ok := e.Value.(*fsm.AdminToken); ok {
			stored = t.TokenHash
		}
	}
	if subtle.ConstantTimeCompare([]byte(hash), []byte(stored)) != 1 {
		return nil
	}
	return e
}

// challenge is what a 401 has to say of how to do better (RFC 6750, section 3).
func challenge(err error) string {
	if errors.Is(err, errBadCredential) {
		return `Bearer realm="sluice", error="invalid_token"`
	}
	return `Bearer realm="sluice"`
}

// hashOf is what is kept of a token. Tokens are random and long, so that nothing slower is needed.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// verified gives a client's certificate if the listener has verified it.
func verified(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// foreign says whether a page of another origin had a browser send a request. Browsers show certificates unasked, as
// they send cookies, so a certificate does not say that the request is its owner's will. A token does.
func (a *API) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		site := r.Header.Get("Sec-Fetch-Site")
		return site != "" && site != "same-origin" && site != "none"
	}
	return origin != "https://"+r.Host && !slices.Contains(a.cfg.Origins, origin)
}

// certificateEntity finds who has a certificate's subject: one of its URIs, else its common name. A subject with ://
// in it is a URI and never a common name, which authorities check less.
func certificateEntity(v *fsm.View, c *x509.Certificate) *fsm.Entity {
	for _, uri := range c.URIs {
		if e := v.LookupUnique(fsm.KindAdminToken, fsm.AdminTokenBySubject, uri.String()); e != nil {
			return e
		}
	}
	if strings.Contains(c.Subject.CommonName, "://") {
		return nil
	}
	return v.LookupUnique(fsm.KindAdminToken, fsm.AdminTokenBySubject, c.Subject.CommonName)
}

// principalOf gathers what a token's roles allow. A role that is not there allows nothing.
func principalOf(v *fsm.View, t *fsm.AdminToken) *principal {
	p := &principal{id: t.ID, name: t.Name, super: slices.Contains(t.Roles, RoleSuperAdmin)}
	for _, name := range t.Roles {
		if name == RoleReadOnly {
			p.permissions = append(p.permissions, fsm.Permission{Collections: []string{everything}, Actions: []string{actionRead}})
		}
		if e := v.Lookup(fsm.KindAdminRole, name); e != nil {
			if role, ok := e.Value.(*fsm.AdminRole); ok {
				p.permissions = append(p.permissions, role.Permissions...)
			}
		}
	}
	return p
}

// User is where the name of who a request comes from is left, for a log around this API.
type User struct{ Name string }

type userKey struct{}

// WithUser gives a context of a request whose user is left in u.
func WithUser(ctx context.Context, u *User) context.Context {
	return context.WithValue(ctx, userKey{}, u)
}

// leaveUser leaves it.
func (p *principal) leaveUser(ctx context.Context) {
	if u, ok := ctx.Value(userKey{}).(*User); ok {
		u.Name = p.name
	}
}

// refusals counts and logs requests that were refused for want of a credential or a permission.
type refusals struct {
	unauthorized, forbidden atomic.Uint64
	logged                  atomic.Int64 // when, in unix seconds
	unlogged                atomic.Uint64
}

// Refused gives how many requests had no valid credential, and how many were of somebody who may not do that, since
// the node started.
func (a *API) Refused() (unauthorized, forbidden uint64) {
	return a.refusals.unauthorized.Load(), a.refusals.forbidden.Load()
}

// refused counts a refusal, and logs one a second: more would let anybody fill the log.
func (a *API) refused(r *http.Request, who *principal, status int) {
	if status == http.StatusUnauthorized {
		a.refusals.unauthorized.Add(1)
	} else {
		a.refusals.forbidden.Add(1)
	}
	now, last := a.now(), a.refusals.logged.Load()
	if now <= last || !a.refusals.logged.CompareAndSwap(last, now) {
		a.refusals.unlogged.Add(1)
		return
	}
	name := ""
	if who != nil {
		name = who.name
	}
	a.cfg.Logger.Warn("admin request refused", zap.Int("status", status), zap.String("client", r.RemoteAddr), zap.String("token", name),
		zap.String("method", r.Method), zap.String("path", maskedPath(r.URL.EscapedPath())),
		zap.Uint64("others_since", a.refusals.unlogged.Swap(0)))
}
