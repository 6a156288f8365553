package tlsconf

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
)

// Upstreams gives services their configurations, the same one again for an
// equal Key: sessions are kept in it. One goroutine at a time may use it; what
// it gives is safe for concurrent use.
//
// A build goes Begin, Config for each service, End. A service that is the same
// pointer as in the last build, over the same certificates, costs a look-up.
type Upstreams struct {
	defaults Defaults

	certificates, authorities []*fsm.Entity // of the last view
	reader                    reader
	// made is what services gave, byKey its configurations; of each kind, last
	// is of builds before this one and what this one took over from them.
	made, lastMade   map[want]given
	byKey, lastByKey map[Key]*tls.Config
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

// NewUpstreams makes Upstreams without services.
func NewUpstreams(d Defaults) *Upstreams {
	u := &Upstreams{defaults: d, lastMade: map[want]given{}, lastByKey: map[Key]*tls.Config{}}
	u.reader.cache = &cache{authorities: map[string]readAuthority{}, pairs: map[string]readPair{}}
	return u
}

// Begin takes the view of a build. changed says that a certificate or an
// authority has changed since the last one, so that services that have not may
// need another configuration.
func (u *Upstreams) Begin(v *fsm.View) (changed bool) {
	certificates, authorities := slices.Collect(v.All("certificates")), slices.Collect(v.All("ca_certificates"))
	changed = !slices.Equal(certificates, u.certificates) || !slices.Equal(authorities, u.authorities)
	if changed {
		u.certificates, u.authorities = certificates, authorities
		u.lastMade = map[want]given{}
	}
	u.reader.from = v
	u.made = make(map[want]given, len(u.lastMade))
	u.byKey = make(map[Key]*tls.Config, len(u.lastByKey))
	return changed
}

// Config is Upstream on the view of Begin.
func (u *Upstreams) Config(s *fsm.Service, protos ...string) (*tls.Config, Key, error) {
	w := want{s, strings.Join(protos, ",")}
	g, known := u.lastMade[w]
	if !known {
		g.config, g.key, g.err = upstream(s, &u.reader, &u.defaults, protos)
		if old := u.lastByKey[g.key]; old != nil {
			g.config = old
		}
		u.lastMade[w], u.lastByKey[g.key] = g, g.config
	}
	u.made[w], u.byKey[g.key] = g, g.config
	return g.config, g.key, g.err
}

// End drops what no service of the build uses. A build that did not ask for
// every service must not call it.
func (u *Upstreams) End() {
	u.lastMade, u.lastByKey = u.made, u.byKey
	drop(u.reader.cache.authorities, u.authorities)
	drop(u.reader.cache.pairs, u.certificates)
}

func drop[T any](read map[string]T, entities []*fsm.Entity) {
	there := make(map[string]bool, len(entities))
	for _, e := range entities {
		there[e.ID] = true
	}
	for id := range read {
		if !there[id] {
			delete(read, id)
		}
	}
}
