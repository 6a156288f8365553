package tlsconf

import (
	"crypto/tls"
	"slices"

	"github.com/sluicegate/sluice/fsm"
)

// Upstreams gives services their configurations, the same one again for an
// equal Key: sessions are kept in it. One goroutine at a time may use it; what
// it gives is safe for concurrent use.
//
// A build goes Begin, Config for each service, End.
type Upstreams struct {
	defaults Defaults

	certificates, authorities []*fsm.Entity // of the last view
	reader                    reader
	kept, used                map[Key]*tls.Config
}

// NewUpstreams makes Upstreams without services.
func NewUpstreams(d Defaults) *Upstreams {
	return &Upstreams{defaults: d, kept: map[Key]*tls.Config{}, used: map[Key]*tls.Config{}, reader: reader{cache: newCache()}}
}

func newCache() *cache {
	return &cache{authorities: map[string]readAuthority{}, pairs: map[string]readPair{}}
}

// Begin takes the view of a build. changed says that a certificate or an
// authority has changed since the last one, so that services that have not may
// need another configuration.
func (u *Upstreams) Begin(v *fsm.View) (changed bool) {
	certificates, authorities := slices.Collect(v.All("certificates")), slices.Collect(v.All("ca_certificates"))
	changed = !slices.Equal(certificates, u.certificates) || !slices.Equal(authorities, u.authorities)
	u.certificates, u.authorities = certificates, authorities
	u.reader.from = v
	u.used = make(map[Key]*tls.Config, len(u.kept))
	return changed
}

// Config is Upstream on the view of Begin.
func (u *Upstreams) Config(s *fsm.Service, protos ...string) (*tls.Config, Key, error) {
	config, key, err := upstream(s, &u.reader, &u.defaults, protos)
	if old := u.kept[key]; old != nil {
		config = old
	}
	u.kept[key], u.used[key] = config, config
	return config, key, err
}

// End drops what no service of the build uses. A build that did not ask for
// every service must not call it.
func (u *Upstreams) End() {
	u.kept = u.used
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
