package tlsconf

import (
	"crypto/tls"
	"slices"

	"github.com/sluicegate/sluice/internal/config/ciphers"
)

// Server is how listeners speak TLS.
type Server struct {
	// Profile is what is offered (Kong's ssl_cipher_suite and so on); the zero
	// value is TLS 1.2 and 1.3 with Go's ciphers.
	Profile ciphers.Profile
	// Tickets lets clients resume sessions; nil: they cannot (Kong's
	// ssl_session_tickets).
	Tickets *Tickets
	// GetCertificate gives the certificate of a handshake; required.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// TLSConfig makes the configuration of a listener that offers the protocols of
// protos by ALPN (RFC 7301), the preferred one first; none: ALPN is not
// answered. The configuration may be cloned: keys of tickets and certificates
// change behind it, not in it.
func (s Server) TLSConfig(protos ...string) *tls.Config {
	c := &tls.Config{
		MinVersion: s.Profile.MinVersion, MaxVersion: s.Profile.MaxVersion,
		CipherSuites:           slices.Clone(s.Profile.Suites),
		CurvePreferences:       slices.Clone(s.Profile.Curves),
		NextProtos:             slices.Clone(protos),
		GetCertificate:         s.GetCertificate,
		SessionTicketsDisabled: s.Tickets == nil,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.CurvePreferences == nil {
		// crypto/tls takes the first of its own order that both sides have: the
		// hybrid with ML-KEM, then X25519.
		c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	if s.Tickets != nil {
		c.WrapSession, c.UnwrapSession = s.Tickets.Wrap, s.Tickets.Unwrap
	}
	return c
}
