package tlsconf

import (
	"crypto/tls"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// Config is what Certificates are made of.
type Config struct {
	// Fallback gives the certificate of handshakes without a name, and of names
	// that no SNI is for (Kong's ssl_cert); required. certs.Source.GetCertificate
	// is one.
	Fallback func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Stapler gets OCSP staples; nil: none are sent.
	Stapler *Stapler
	// Resolve finds the values of references; nil: there are none.
	Resolve Resolve
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Certificates picks the certificate of each handshake. GetCertificate is safe
// for concurrent use, also with Update, which one goroutine at a time may call.
type Certificates struct {
	cfg     Config
	current atomic.Pointer[names]

	// The rest belongs to Update.
	versions [3]uint64 // of the last view's certificates, snis and vaults
	updated  bool      // there was a view
	parsed   map[string]parsed
	problems []Problem
}

// parsed is an entity as it was and what it gave. It is kept while the PEM
// stays the same, and its staples with it.
type parsed struct {
	entity resolved
	out    *certificate
	err    error
}

// names is what Update compiles: the certificate of every SNI, by its name in
// lower case. It never changes.
type names map[string]*certificate

// NewCertificates gives Certificates that know only the fallback.
func NewCertificates(cfg Config) *Certificates {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Certificates{cfg: cfg}
	c.current.Store(&names{})
	return c
}

// GetCertificate is for tls.Config. The order is Kong's: the name itself, the
// name with * for its first label (if two more follow), with * for its last
// label, the SNI "*", the fallback. A client that sends no name gets the
// fallback.
func (c *Certificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if found := c.current.Load().find(hello.ServerName); found != nil {
		return found.pick(hello).at(c.cfg.Now()), nil
	}
	return c.cfg.Fallback(hello)
}

func (n *names) find(name string) *certificate {
	m := *n
	if len(m) == 0 || name == "" {
		return nil
	}
	name = strings.ToLower(name)
	if c := m[name]; c != nil {
		return c
	}
	if first := strings.IndexByte(name, '.'); first > 0 && strings.IndexByte(name[first+1:], '.') > 0 {
		if c := m["*"+name[first:]]; c != nil {
			return c
		}
	}
	if last := strings.LastIndexByte(name, '.'); last > 0 {
		if c := m[name[:last+1]+"*"]; c != nil {
			return c
		}
	}
	return m["*"]
}

// Update makes the certificates of a view those of all handshakes from now on,
// and gives the entities that cannot be served. A certificate that cannot be
// read leaves its names to the next best; it fails nothing else. A view without
// a change to certificates, snis and vaults costs a comparison. All views must be of one
// Machine.
func (c *Certificates) Update(v *fsm.View) []Problem {
	versions := [3]uint64{v.Version("certificates"), v.Version("snis"), v.Version("vaults")}
	if c.updated && versions == c.versions {
		return c.problems
	}
	c.problems = nil
	c.parse(v)
	next := c.name(slices.Collect(v.All("snis")))
	c.current.Store(&next)
	c.versions, c.updated = versions, true
	return c.problems
}

// parse reads the certificates that have changed.
func (c *Certificates) parse(v *fsm.View) {
	next := make(map[string]parsed, len(c.parsed))
	var all []*certificate
	for e := range v.All("certificates") {
		entity, ok := e.Value.(*fsm.Certificate)
		if !ok {
			continue
		}
		now := c.cfg.Resolve.certificate(v, entity)
		p, known := c.parsed[e.ID]
		if !known || !p.entity.same(&now) {
			p = parsed{entity: now}
			p.out, p.err = parse(&now)
		}
		next[e.ID] = p
		if p.err != nil {
			c.problems = append(c.problems, Problem{"certificates", e.ID, p.err})
		}
		if len(p.out.pairs) > 0 {
			all = append(all, p.out)
		}
	}
	c.parsed = next
	if c.cfg.Stapler != nil {
		c.cfg.Stapler.watch(all)
	}
}

func (c *Certificates) name(entities []*fsm.Entity) names {
	out := make(names, len(entities))
	for _, e := range entities {
		sni, ok := e.Value.(*fsm.SNI)
		if !ok {
			continue
		}
		name := strings.ToLower(sni.Name)
		found := c.parsed[sni.Certificate.ID].out
		switch {
		case found == nil || len(found.pairs) == 0: // the certificate is the problem
		case out[name] != nil:
			c.problems = append(c.problems, Problem{"snis", e.ID, ErrShadowed})
		default:
			out[name] = found
		}
	}
	return out
}
