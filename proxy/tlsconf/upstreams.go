package tlsconf

import (
	"crypto/tls"
	"iter"
	"strings"

	"github.com/sluicegate/sluice/fsm"
)

// Upstreams gives services their configurations, the same one again for an
// equal Key: sessions are kept in it. One goroutine at a time may use it; what
// it gives is safe for concurrent use.
//
// A build goes Begin, then Config for services that are new or, if Begin says
// so, for all. A service that was asked for before, by the same pointer, costs a
// look-up. Keep drops what is not needed any more.
type Upstreams struct {
	defaults Defaults
	resolve  Resolve

	versions [3]uint64 // of the last view's certificates, ca_certificates and vaults
	begun    bool      // there was a view
	reader   reader
	made     map[want]given
	byKey    map[Key]*tls.Config // what made gave, and what it gave before Begin cleared it
}

type want struct {
	service *fsm.Service
	protos  string
}

type given struct {
	config *tls.Config
	key    Key
	err    error
}

// NewUpstreams makes Upstreams without services. resolve finds the values of
// references; nil: there are none.
func NewUpstreams(d Defaults, resolve Resolve) *Upstreams {
	u := &Upstreams{defaults: d, made: map[want]given{}, byKey: map[Key]*tls.Config{}}
	u.resolve = resolve
	u.reader.cache = &cache{authorities: map[string]readAuthority{}, pairs: map[string]readPair{}}
	return u
}

// Begin takes the view of a build; all have to be of one Machine. changed says
// that a certificate, an authority or a vault has changed since the last one, so that
// services that have not may need another configuration.
func (u *Upstreams) Begin(v *fsm.View) (changed bool) {
	versions := [3]uint64{v.Version("certificates"), v.Version("ca_certificates"), v.Version("vaults")}
	changed = !u.begun || versions != u.versions
	if changed {
		clear(u.made)
		drop(u.reader.cache.authorities, v.All("ca_certificates"))
		drop(u.reader.cache.pairs, v.All("certificates"))
	}
	u.versions, u.begun = versions, true
	u.reader.from = v
	u.reader.values = func(cert, key string) (string, string, error) { return u.resolve.values(v, cert, key) }
	return changed
}

// Config is Upstream on the view of Begin.
func (u *Upstreams) Config(s *fsm.Service, protos ...string) (*tls.Config, Key, error) {
	w := want{s, strings.Join(protos, ",")}
	g, known := u.made[w]
	if !known {
		g.config, g.key, g.err = upstream(s, &u.reader, &u.defaults, protos)
		if old := u.byKey[g.key]; old != nil {
			g.config = old
		}
		u.made[w], u.byKey[g.key] = g, g.config
	}
	return g.config, g.key, g.err
}

// Keep drops what only other services use. It is for the end of a build in
// which services or certificates have changed.
func (u *Upstreams) Keep(wanted func(*fsm.Service) bool) {
	clear(u.byKey)
	for w, g := range u.made {
		if wanted(w.service) {
			u.byKey[g.key] = g.config
		} else {
			delete(u.made, w)
		}
	}
}

func drop[T any](read map[string]T, entities iter.Seq[*fsm.Entity]) {
	there := make(map[string]bool)
	for e := range entities {
		there[e.ID] = true
	}
	for id := range read {
		if !there[id] {
			delete(read, id)
		}
	}
}
