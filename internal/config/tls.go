package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/config/ciphers"
)

// suiteCustom is the ssl_cipher_suite for which ssl_ciphers and ssl_protocols
// count.
const suiteCustom = "custom"

// maxSession is how long crypto/tls takes a session ticket (RFC 8446, section
// 4.6.1).
const maxSession = 7 * 24 * time.Hour

var (
	// contentKind is a file, or its content: PEM, or base64 of PEM (Kong takes
	// all three). Shown hides content.
	contentKind     = kind{name: "path", content: true, parse: func(text string) (any, error) { return strings.TrimSpace(text), nil }}
	contentsKind    = kind{name: "list", list: true, content: true, parse: func(text string) (any, error) { return splitList(text), nil }}
	cipherSuiteKind = choiceKind(ciphers.Names()...)
)

// isContent says whether the value of a setting is PEM, or PEM in base64, and no
// path.
func isContent(text string) bool {
	return strings.Contains(text, "-----BEGIN ") || strings.HasPrefix(strings.TrimSpace(text), "LS0tLS1CRUdJTi")
}

// Shown is Text without what must not be printed: a certificate or a key that
// was given as content. Of encryption keys only files that exist are shown: what is
// no file may be a key with a letter too few.
func (v *Value) Shown() string {
	if v.kind.secret {
		parts := splitList(v.Text)
		for i, part := range parts {
			if _, err := os.Stat(part); err != nil {
				parts[i] = "(key)"
			}
		}
		return strings.Join(parts, ", ")
	}
	if !v.kind.content || !isContent(v.Text) {
		return v.Text
	}
	if !v.kind.list {
		return "(content)"
	}
	parts := splitList(v.Text)
	for i, part := range parts {
		if isContent(part) {
			parts[i] = "(content)"
		}
	}
	return strings.Join(parts, ", ")
}

// TLS gives what the TLS proxy listeners offer: versions, ciphers, curves.
func (c *Config) TLS() ciphers.Profile {
	p, err := c.profile()
	if err != nil {
		return ciphers.Profile{} // Load has refused it
	}
	return p
}

func (c *Config) profile() (ciphers.Profile, error) {
	return ciphers.Suite(c.text("ssl_cipher_suite"), c.text("ssl_ciphers"), c.text("ssl_protocols"))
}

// SessionTickets says whether clients may resume TLS sessions.
func (c *Config) SessionTickets() bool { return value[bool](c, "ssl_session_tickets") }

// SessionTimeout is for how long they may; 7 days at most.
func (c *Config) SessionTimeout() time.Duration {
	return min(value[time.Duration](c, "ssl_session_timeout"), maxSession)
}

// ClientCertificate gives the certificate and key, each a path or content, that
// services are shown unless they have one of their own; "" for none.
func (c *Config) ClientCertificate() (cert, key string) {
	if !value[bool](c, "client_ssl") {
		return "", ""
	}
	return c.text("client_ssl_cert"), c.text("client_ssl_cert_key")
}

// TrustedCertificates gives what services are verified with unless they say
// otherwise: paths or content, and "system" for the system's.
func (c *Config) TrustedCertificates() []string { return c.list("lua_ssl_trusted_certificate") }

// VerifyDepth is how many certificates may stand between a service's own and a
// trusted one, unless the service says otherwise.
func (c *Config) VerifyDepth() int { return value[int](c, "lua_ssl_verify_depth") }

func (c *Config) given(name string) bool { return c.values[name].Origin != "default" }

// tlsProblems finds TLS settings that make no sense, alone or together.
func (c *Config) tlsProblems() Problems {
	var ps Problems
	if _, err := c.profile(); err != nil {
		ps = append(ps, err)
	}
	if cert, key := c.text("client_ssl_cert"), c.text("client_ssl_cert_key"); value[bool](c, "client_ssl") && (cert == "" || key == "") {
		ps = append(ps, errors.New("client_ssl needs client_ssl_cert and client_ssl_cert_key"))
	}
	if value[time.Duration](c, "ssl_session_timeout") < time.Second {
		ps = append(ps, errors.New("ssl_session_timeout must be a second at least; ssl_session_tickets = off forbids resumption"))
	}
	return ps
}

// tlsNotes says which TLS settings have no effect.
func (c *Config) tlsNotes() []string {
	p, err := c.profile()
	if err != nil {
		return nil
	}
	notes := p.Notes
	for _, name := range []string{"ssl_ciphers", "ssl_protocols"} {
		if c.given(name) && c.text("ssl_cipher_suite") != suiteCustom {
			notes = append(notes, fmt.Sprintf("%s has no effect: ssl_cipher_suite is %s, not custom", name, c.text("ssl_cipher_suite")))
		}
	}
	for _, idle := range [][2]string{
		{"ssl_prefer_server_ciphers", "the order of ciphers follows the hardware of both sides, not a list"},
		{"ssl_dhparam", "finite-field Diffie-Hellman is not offered"},
		{"ssl_session_cache_size", "sessions are kept in tickets by the clients, not here"},
	} {
		if c.given(idle[0]) {
			notes = append(notes, idle[0]+" has no effect: "+idle[1])
		}
	}
	if c.given("ssl_session_timeout") && value[time.Duration](c, "ssl_session_timeout") > maxSession {
		notes = append(notes, "ssl_session_timeout is more than 7 days, after which no ticket is taken")
	}
	if cert, key := c.text("client_ssl_cert"), c.text("client_ssl_cert_key"); cert+key != "" && !value[bool](c, "client_ssl") {
		notes = append(notes, "client_ssl_cert and client_ssl_cert_key have no effect: client_ssl is off")
	}
	return notes
}
