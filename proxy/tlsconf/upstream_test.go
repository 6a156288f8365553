package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// rejected says what a service's certificate is refused for.
type rejected int

const (
	accepted rejected = iota
	byDepth
	byAuthority
	byName
	byTime
)

func (r rejected) is(err error) bool {
	var invalid x509.CertificateInvalidError
	switch r {
	case byDepth:
		return errors.Is(err, ErrDepth)
	case byAuthority:
		return errors.As(err, new(x509.UnknownAuthorityError))
	case byName:
		return errors.As(err, new(x509.HostnameError))
	case byTime:
		return errors.As(err, &invalid) && invalid.Reason == x509.Expired
	}
	return err == nil
}

// TestVerify: what a service's certificate must be like.
func TestVerify(t *testing.T) {
	root := certstest.Root("root")
	middle := root.Issue("middle", certstest.CA)
	lower := middle.Issue("lower", certstest.CA)
	past := certstest.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	s := newState(t)
	s.put("ca_certificates", idA, map[string]any{"cert": root.Cert})
	s.put("ca_certificates", idB, map[string]any{"cert": certstest.Root("other").Cert})
	s.put("ca_certificates", idC, map[string]any{"cert": "broken"})
	yes, no := new(true), new(false)
	direct := root.Issue("a.test")
	tests := map[string]struct {
		service fsm.Service
		server  *certstest.Pair
		want    rejected
		problem bool
	}{
		"off by default":          {fsm.Service{Host: "a.test"}, certstest.SelfSigned("x"), accepted, false},
		"off":                     {fsm.Service{Host: "a.test", TLSVerify: no, TLSVerifyDepth: new(0)}, certstest.SelfSigned("x"), accepted, false},
		"on":                      {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idA}}, direct, accepted, false},
		"one of two authorities":  {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idB, idA}}, direct, accepted, false},
		"another authority":       {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idB}}, direct, byAuthority, false},
		"an empty list":           {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{}}, direct, byAuthority, false},
		"a broken authority":      {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idC}}, direct, byAuthority, true},
		"a missing authority":     {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idD}}, direct, byAuthority, true},
		"broken, but one is fine": {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idC, idA}}, direct, accepted, true},
		"broken, and off":         {fsm.Service{Host: "a.test", CACertificates: []string{idC}}, direct, accepted, false},
		"the default roots":       {fsm.Service{Host: "a.test", TLSVerify: yes}, direct, accepted, false},
		"self-signed":             {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idA}}, certstest.SelfSigned("a.test"), byAuthority, false},
		"another name":            {fsm.Service{Host: "b.test", TLSVerify: yes, CACertificates: []string{idA}}, direct, byName, false},
		"expired":                 {fsm.Service{Host: "a.test", TLSVerify: yes, CACertificates: []string{idA}}, root.Issue("a.test", past), byTime, false},
		"an address":              {fsm.Service{Host: "127.0.0.1", TLSVerify: yes}, root.Issue("x", certstest.IPs("127.0.0.1")), accepted, false},
		"an address of IPv6":      {fsm.Service{Host: "[::1]", TLSVerify: yes}, root.Issue("x", certstest.IPs("::1")), accepted, false},
		"another address":         {fsm.Service{Host: "127.0.0.2", TLSVerify: yes}, root.Issue("x", certstest.IPs("127.0.0.1")), byName, false},

		"depth 0, direct":               {fsm.Service{Host: "a.test", TLSVerify: yes, TLSVerifyDepth: new(0)}, direct, accepted, false},
		"depth 0, one between":          {fsm.Service{Host: "a.test", TLSVerify: yes, TLSVerifyDepth: new(0)}, middle.Issue("a.test"), byDepth, false},
		"default depth 1, one between":  {fsm.Service{Host: "a.test", TLSVerify: yes}, middle.Issue("a.test"), accepted, false},
		"default depth 1, two between":  {fsm.Service{Host: "a.test", TLSVerify: yes}, lower.Issue("a.test"), byDepth, false},
		"depth 2, two between":          {fsm.Service{Host: "a.test", TLSVerify: yes, TLSVerifyDepth: new(2)}, lower.Issue("a.test"), accepted, false},
		"depth 0, two between, but off": {fsm.Service{Host: "a.test", TLSVerify: no, TLSVerifyDepth: new(0)}, lower.Issue("a.test"), accepted, false},
	}
	defaults := &Defaults{Roots: root.Pool(), Depth: 1}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config, _, err := Upstream(&tt.service, s.view(), defaults, "http/1.1")
			if (err != nil) != tt.problem {
				t.Errorf("problem: %v", err)
			}
			server := &tls.Config{Certificates: []tls.Certificate{tt.server.TLS()}, NextProtos: []string{"http/1.1"}}
			for range 2 { // a session that is resumed is checked like the first
				m := meet(t, config, server)
				if !tt.want.is(m.clientErr) {
					t.Fatalf("the client says %v", m.clientErr)
				}
				if tt.want != accepted {
					continue
				}
				if sni := tt.service.Host; m.server.NegotiatedProtocol != "http/1.1" || m.server.ServerName != sni && strings.HasSuffix(sni, ".test") {
					t.Errorf("protocol %q, server name %q", m.server.NegotiatedProtocol, m.server.ServerName)
				} else if !strings.HasSuffix(sni, ".test") && m.server.ServerName != "" {
					t.Errorf("an address is sent as server name: %q", m.server.ServerName)
				}
			}
		})
	}
}

// TestDepthOfChains: of several chains to trusted certificates the shortest
// counts, and a certificate that is trusted itself has no depth.
func TestDepthOfChains(t *testing.T) {
	chain := func(lengths ...int) (chains [][]*x509.Certificate) {
		for _, n := range lengths {
			chains = append(chains, make([]*x509.Certificate, n))
		}
		return chains
	}
	for _, tt := range []struct {
		chains [][]*x509.Certificate
		depth  int
		fits   bool
	}{
		{chain(1), 0, true}, {chain(2), 0, true}, {chain(3), 0, false}, {chain(3), 1, true}, {chain(4, 2), 0, true}, {chain(2, 4), 0, true},
		{chain(4, 5), 1, false}, {chain(5, 4), 2, true}, {chain(), 64, false},
	} {
		if err := checkDepth(tt.chains, tt.depth); (err == nil) != tt.fits {
			t.Errorf("%d chains, depth %d: %v", len(tt.chains), tt.depth, err)
		}
	}
}

// TestClientCertificate: which certificate a service that asks for one is shown,
// whatever authorities it names.
func TestClientCertificate(t *testing.T) {
	clients, root := certstest.Root("clients"), certstest.Root("root")
	entity, byDefault := clients.Issue("entity"), clients.Issue("default").TLS()
	s := newState(t)
	s.certificate(idA, entity, nil)
	s.put("certificates", idB, map[string]any{"cert": entity.Cert, "key": root.Key})
	s.certificate(idC, certstest.SelfSigned("unrelated"), nil)
	tests := map[string]struct {
		named   string
		cert    *tls.Certificate // of the defaults
		auth    tls.ClientAuthType
		want    string // common name that the service sees
		problem bool
	}{
		"none":                       {"", nil, tls.RequestClientCert, "", false},
		"none, where one is needed":  {"", nil, tls.RequireAndVerifyClientCert, "refused", false},
		"the default":                {"", &byDefault, tls.RequireAndVerifyClientCert, "default", false},
		"the service's own":          {idA, &byDefault, tls.RequireAndVerifyClientCert, "entity", false},
		"broken":                     {idB, &byDefault, tls.RequestClientCert, "", true},
		"missing":                    {idD, nil, tls.RequestClientCert, "", true},
		"of another authority":       {idC, nil, tls.RequireAnyClientCert, "unrelated", false},
		"of another, which is asked": {idC, nil, tls.RequireAndVerifyClientCert, "refused", false},
		"not asked for":              {idA, nil, tls.NoClientCert, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			service := &fsm.Service{Host: "a.test"}
			if tt.named != "" {
				service.ClientCertificate = &fsm.Ref{ID: tt.named}
			}
			config, _, err := Upstream(service, s.view(), &Defaults{Certificate: tt.cert})
			if (err != nil) != tt.problem {
				t.Fatalf("problem: %v", err)
			}
			m := meet(t, config, &tls.Config{Certificates: []tls.Certificate{root.Issue("a.test").TLS()}, ClientAuth: tt.auth, ClientCAs: clients.Pool()})
			got := ""
			switch {
			case m.serverErr != nil:
				got = "refused"
			case len(m.server.PeerCertificates) > 0:
				got = m.server.PeerCertificates[0].Subject.CommonName
			}
			if got != tt.want {
				t.Errorf("the service saw %q (%v), want %q", got, m.serverErr, tt.want)
			}
		})
	}
}

// TestKeys: equal for services that may share connections, different wherever
// one would be trusted, or shown, what the other is not.
func TestKeys(t *testing.T) {
	root := certstest.Root("root")
	s := newState(t)
	s.put("ca_certificates", idA, map[string]any{"cert": root.Cert})
	s.put("ca_certificates", idB, map[string]any{"cert": certstest.Root("other").Cert})
	s.certificate(idA, root.Issue("one"), nil)
	s.certificate(idB, root.Issue("two"), nil)
	yes := new(true)
	d := Defaults{Depth: 1}
	key := func(service fsm.Service, d Defaults, protos ...string) Key {
		_, key, err := Upstream(&service, s.view(), &d, protos...)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	verified := fsm.Service{Host: "a", TLSVerify: yes}
	shown := func(id string) fsm.Service { return fsm.Service{Host: "a", ClientCertificate: &fsm.Ref{ID: id}} }
	trusting := func(ids ...string) fsm.Service {
		return fsm.Service{Host: "a", TLSVerify: yes, CACertificates: ids}
	}
	same := map[string][2]Key{
		"plain":                    {key(fsm.Service{Host: "a"}, d), key(fsm.Service{Host: "a", ID: "other", Path: "/x", TLSVerify: new(false)}, d)},
		"depth is the default":     {key(verified, d), key(fsm.Service{Host: "a", TLSVerify: yes, TLSVerifyDepth: new(1)}, d)},
		"what is off is no matter": {key(fsm.Service{Host: "a", CACertificates: []string{idA}}, d), key(fsm.Service{Host: "a", TLSVerifyDepth: new(9)}, d)},
		"same authorities":         {key(trusting(idA), d), key(trusting(idA), d)},
	}
	for name, keys := range same {
		if keys[0] != keys[1] {
			t.Errorf("%s: different keys", name)
		}
	}
	all := map[string]Key{
		"plain": key(fsm.Service{Host: "a"}, d), "another host": key(fsm.Service{Host: "b"}, d), "alpn": key(fsm.Service{Host: "a"}, d, "h2"),
		"alpn 1.1": key(fsm.Service{Host: "a"}, d, "http/1.1"), "both": key(fsm.Service{Host: "a"}, d, "h2", "http/1.1"),
		"verified": key(verified, d), "other roots": key(verified, Defaults{Depth: 1, RootsDigest: [32]byte{1}}), "other depth": key(verified, Defaults{Depth: 2}),
		"authority": key(trusting(idA), d), "another": key(trusting(idB), d), "two": key(trusting(idA, idB), d), "none": key(trusting([]string{}...), d),
		"shown": key(shown(idA), d), "another shown": key(shown(idB), d),
	}
	for a, keyA := range all {
		for b, keyB := range all {
			if a != b && keyA == keyB {
				t.Errorf("%s and %s have the same key", a, b)
			}
		}
	}
}

// TestLoadDefaults: a service is trusted, and shown a certificate, as settings
// say.
func TestLoadDefaults(t *testing.T) {
	root := certstest.Root("root")
	client := root.Issue("client")
	d, err := LoadDefaults([]string{root.Cert}, 0, client.Cert, client.Key)
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := Upstream(&fsm.Service{Host: "a.test", TLSVerify: new(true)}, newState(t).view(), &d)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{root.Issue("a.test").TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.Pool()}
	if m := meet(t, config, server); m.leaf(t) != "a.test" || m.server.PeerCertificates[0].Subject.CommonName != "client" {
		t.Error("not as the settings say")
	}
	for name, load := range map[string]func() (Defaults, error){
		"no trusted file": func() (Defaults, error) { return LoadDefaults([]string{"/nowhere"}, 1, "", "") },
		"no key":          func() (Defaults, error) { return LoadDefaults(nil, 1, client.Cert, "") },
		"another key":     func() (Defaults, error) { return LoadDefaults(nil, 1, client.Cert, root.Key) },
	} {
		if _, err := load(); err == nil || strings.Contains(err.Error(), strings.Split(root.Key, "\n")[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUpstreams: a build keeps the configurations of the last one, sees what
// changed under a service, and forgets what no service uses.
func TestUpstreams(t *testing.T) {
	root := certstest.Root("root")
	s := newState(t)
	s.put("ca_certificates", idA, map[string]any{"cert": root.Cert})
	service := &fsm.Service{Host: "a", TLSVerify: new(true), CACertificates: []string{idA}}
	plain := &fsm.Service{Host: "b"}
	u := NewUpstreams(Defaults{}, nil)
	build := func(services ...*fsm.Service) (configs []*tls.Config, changed bool) {
		changed = u.Begin(s.view())
		for _, service := range services {
			config, _, err := u.Config(service, "http/1.1")
			if err != nil {
				t.Fatal(err)
			}
			configs = append(configs, config)
		}
		u.Keep(func(s *fsm.Service) bool { return slices.Contains(services, s) })
		return configs, changed
	}
	first, changed := build(service, plain, plain)
	if !changed || first[1] != first[2] {
		t.Errorf("changed %v, shared %v", changed, first[1] == first[2])
	}
	again, changed := build(service, plain)
	if changed || again[0] != first[0] || again[1] != first[1] {
		t.Errorf("an equal build changed %v, or made new configurations", changed)
	}
	s.put("ca_certificates", idA, map[string]any{"cert": root.Cert, "tags": []string{"x"}})
	if same, changed := build(service); !changed || same[0] != first[0] {
		t.Errorf("a tag: changed %v, another configuration %v", changed, same[0] != first[0])
	}
	s.put("ca_certificates", idA, map[string]any{"cert": certstest.Root("new").Cert})
	if other, changed := build(service); !changed || other[0] == first[0] {
		t.Error("a new authority changed nothing")
	}
	if gone, _ := build(plain); gone[0] == first[1] {
		t.Error("a configuration outlived a build without it")
	}
	if len(u.byKey) != 1 || len(u.made) != 1 {
		t.Errorf("%d configurations are kept for %d services", len(u.byKey), len(u.made))
	}
}

func BenchmarkUpstreams(b *testing.B) {
	root := certstest.Root("root")
	s := newState(b)
	s.put("ca_certificates", idA, map[string]any{"cert": root.Cert})
	s.certificate(idB, root.Issue("client"), nil)
	service := &fsm.Service{Host: "a", TLSVerify: new(true), CACertificates: []string{idA}, ClientCertificate: &fsm.Ref{ID: idB}}
	u := NewUpstreams(Defaults{}, nil)
	u.Begin(s.view())
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := u.Config(service); err != nil {
			b.Fatal(err)
		}
	}
}
