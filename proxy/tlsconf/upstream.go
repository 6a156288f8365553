package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// sessionsKept bounds the sessions that are kept for resumption with the
// services of one Key.
const sessionsKept = 64

// Key tells configurations apart: two connections may be used for one another
// if their targets and Keys are equal. It is comparable; the zero Key is none's.
type Key struct {
	// ServerName is what the certificate is checked against: a name or an
	// address.
	ServerName string
	sum        [32]byte
}

// Upstream makes the configuration of connections to a service that has one of
// the protocols https, tls and grpcs, offering protos by ALPN. It is a function
// of its arguments.
//
// The certificate is verified if tls_verify is on, as nginx does with
// proxy_ssl_verify: against ca_certificates or the default roots, with at most
// tls_verify_depth certificates in between, for the service's host. The host is
// sent as server name (SNI) unless it is an address.
//
// An error tells of a part that cannot be used. The configuration is given all
// the same, and is safe: what cannot be read is not trusted, so a service whose
// authorities are broken fails its handshakes; a client certificate that is
// broken is not shown.
func Upstream(s *fsm.Service, from Getter, d *Defaults, protos ...string) (*tls.Config, Key, error) {
	return upstream(s, &reader{from: from, values: noVaults}, d, protos)
}

func upstream(s *fsm.Service, r *reader, d *Defaults, protos []string) (*tls.Config, Key, error) {
	b := &builder{reader: r, config: &tls.Config{
		ServerName: strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]"),
		MinVersion: tls.VersionTLS12,
		NextProtos: slices.Clone(protos),
	}}
	b.add("alpn", []byte(strings.Join(protos, ",")))
	b.verify(s, d)
	b.show(s, d)
	b.config.ClientSessionCache = tls.NewLRUClientSessionCache(sessionsKept)
	return b.config, Key{ServerName: b.config.ServerName, sum: sha256.Sum256(b.sum)}, errors.Join(b.errs...)
}

// builder collects a configuration and what its key is made of.
type builder struct {
	reader *reader
	config *tls.Config
	sum    []byte
	errs   []error
}

// add adds a labelled part to the key.
func (b *builder) add(label string, data []byte) {
	b.sum = append(b.sum, label...)
	b.sum = binary.BigEndian.AppendUint64(b.sum, uint64(len(data)))
	b.sum = append(b.sum, data...)
}

func (b *builder) verify(s *fsm.Service, d *Defaults) {
	if s.TLSVerify == nil || !*s.TLSVerify {
		b.config.InsecureSkipVerify = true // Kong's default
		return
	}
	depth := d.Depth
	if s.TLSVerifyDepth != nil {
		depth = *s.TLSVerifyDepth
	}
	b.add("depth", binary.BigEndian.AppendUint64(nil, uint64(depth)))
	b.config.VerifyConnection = func(cs tls.ConnectionState) error { return checkDepth(cs.VerifiedChains, depth) }
	if s.CACertificates == nil {
		b.config.RootCAs = d.Roots
		b.add("roots", d.RootsDigest[:])
		return
	}
	b.config.RootCAs = x509.NewCertPool()
	for _, id := range s.CACertificates {
		cert, err := b.reader.authority(id)
		if err != nil {
			b.errs = append(b.errs, err)
			continue
		}
		b.config.RootCAs.AddCert(cert)
		b.add("ca", cert.Raw)
	}
}

// maxChain is more certificates than crypto/x509 puts into a chain.
const maxChain = 1 << 10

// checkDepth is OpenSSL's depth since 1.1.0: neither the service's certificate
// nor the trusted one counts. One chain that is short enough is enough.
func checkDepth(chains [][]*x509.Certificate, depth int) error {
	shortest := maxChain
	for _, chain := range chains {
		shortest = min(shortest, len(chain)-2)
	}
	if shortest > depth {
		return fmt.Errorf("%w: %d certificates between the service's and a trusted one, %d are allowed", ErrDepth, shortest, depth)
	}
	return nil
}

// show sets the client certificate. It is shown to whoever asks for one, also if
// its issuer is not among those that the service names: OpenSSL does so, and
// crypto/tls by itself would not.
func (b *builder) show(s *fsm.Service, d *Defaults) {
	cert := d.Certificate
	if s.ClientCertificate != nil {
		var err error
		if cert, err = b.reader.pair(s.ClientCertificate.ID); err != nil {
			b.errs = append(b.errs, err)
			return
		}
	}
	if cert == nil {
		return
	}
	for _, der := range cert.Certificate {
		b.add("client", der)
	}
	b.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
}

// reader reads what services name. One with a cache reads nothing twice.
type reader struct {
	from   Getter
	values func(cert, key string) (string, string, error) // of texts that may be references
	cache  *cache
}

func noVaults(cert, key string) (string, string, error) { return Resolve(nil).values(nil, cert, key) }

// cache keeps what was read of an entity as long as the entity stays the same.
type cache struct {
	authorities map[string]readAuthority
	pairs       map[string]readPair
}

type readAuthority struct {
	text string
	cert *x509.Certificate
	err  error
}

type readPair struct {
	cert, key string
	pair      *tls.Certificate
	err       error
}

func (r *reader) authority(id string) (*x509.Certificate, error) {
	entity, err := typed[fsm.CACertificate](r.from, "ca_certificates", id)
	if err != nil {
		return nil, err
	}
	if r.cache != nil {
		if c, ok := r.cache.authorities[id]; ok && c.text == entity.Cert {
			return c.cert, c.err
		}
	}
	read := readAuthority{text: entity.Cert}
	chain, err := schema.Certificates(entity.Cert)
	if err != nil {
		read.err = fmt.Errorf("ca_certificates %s: %w", id, err)
	} else {
		read.cert = chain[0]
	}
	if r.cache != nil {
		r.cache.authorities[id] = read
	}
	return read.cert, read.err
}

func (r *reader) pair(id string) (*tls.Certificate, error) {
	entity, err := typed[fsm.Certificate](r.from, "certificates", id)
	if err != nil {
		return nil, err
	}
	cert, key, err := r.values(entity.Cert, entity.Key)
	if err != nil {
		return nil, fmt.Errorf("certificates %s: %w", id, err)
	}
	if r.cache != nil {
		if c, ok := r.cache.pairs[id]; ok && c.cert == cert && c.key == key {
			return c.pair, c.err
		}
	}
	read := readPair{cert: cert, key: key}
	if read.pair, read.err = parsePair(cert, key); read.err != nil {
		read.err = fmt.Errorf("certificates %s: %w", id, read.err)
	}
	if r.cache != nil {
		r.cache.pairs[id] = read
	}
	return read.pair, read.err
}
