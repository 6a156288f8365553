package tlsconf

import (
	"crypto/tls"
	"testing"

	"github.com/sluicegate/sluice/internal/certs/certstest"
	"github.com/sluicegate/sluice/internal/config/ciphers"
)

// TestServer: what clients of several ages and a listener agree on.
func TestServer(t *testing.T) {
	get := fallback(certstest.SelfSigned("x", certstest.RSA))
	profile := func(suite string) ciphers.Profile {
		p, err := ciphers.Suite(suite, "", "TLSv1.2 TLSv1.3")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	only := func(version uint16, suites ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = version, version, suites }
	}
	tests := map[string]struct {
		profile ciphers.Profile
		client  func(*tls.Config)
		version uint16 // 0: no agreement
		curve   tls.CurveID
	}{
		"a new client":                 {profile("intermediate"), func(*tls.Config) {}, tls.VersionTLS13, tls.X25519MLKEM768},
		"without post-quantum":         {profile("intermediate"), func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256, tls.X25519} }, tls.VersionTLS13, tls.X25519},
		"TLS 1.2":                      {profile("intermediate"), only(tls.VersionTLS12), tls.VersionTLS12, tls.X25519},
		"TLS 1.1":                      {profile("intermediate"), only(tls.VersionTLS11), 0, 0},
		"CBC":                          {profile("intermediate"), only(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), 0, 0},
		"CBC, custom with Go's choice": {profile("custom"), only(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), tls.VersionTLS12, tls.X25519},
		"the zero profile":             {ciphers.Profile{}, only(tls.VersionTLS11), 0, 0},
		"modern":                       {profile("modern"), func(*tls.Config) {}, tls.VersionTLS13, tls.X25519MLKEM768},
		"modern, TLS 1.2":              {profile("modern"), only(tls.VersionTLS12), 0, 0},
		"old, TLS 1.0":                 {profile("old"), only(tls.VersionTLS10, tls.TLS_RSA_WITH_AES_128_CBC_SHA), tls.VersionTLS10, 0},
		"fips":                         {profile("fips"), func(*tls.Config) {}, tls.VersionTLS12, tls.CurveP256},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := careless("a.test")
			client.NextProtos = []string{"http/1.1", "h2"}
			tt.client(client)
			m := meet(t, client, Server{Profile: tt.profile, GetCertificate: get}.TLSConfig("h2", "http/1.1"))
			if tt.version == 0 {
				if m.clientErr == nil && m.serverErr == nil {
					t.Errorf("agreed on %s", tls.VersionName(m.client.Version))
				}
				return
			}
			m.leaf(t)
			if m.client.Version != tt.version || m.client.CurveID != tt.curve || m.client.NegotiatedProtocol != "h2" {
				t.Errorf("agreed on %s, %s, %s", tls.VersionName(m.client.Version), m.client.CurveID, m.client.NegotiatedProtocol)
			}
		})
	}
}
