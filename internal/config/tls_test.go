package config

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTLSSettings(t *testing.T) {
	tests := map[string]struct {
		environ []string
		err     string
		note    string
		check   func(t *testing.T, c *Config)
	}{
		"defaults": {nil, "", "", func(t *testing.T, c *Config) {
			if p := c.TLS(); p.MinVersion != tls.VersionTLS12 || p.MaxVersion != tls.VersionTLS13 || len(p.Suites) != 6 {
				t.Errorf("profile %+v", p)
			}
			if !c.SessionTickets() || c.SessionTimeout() != 24*time.Hour || c.VerifyDepth() != 1 || strings.Join(c.TrustedCertificates(), "") != "system" {
				t.Error("tickets, timeout, depth or trust")
			}
			if cert, key := c.ClientCertificate(); cert != "" || key != "" {
				t.Error("a client certificate")
			}
		}},
		"modern": {[]string{"KONG_SSL_CIPHER_SUITE=modern"}, "", "", func(t *testing.T, c *Config) {
			if c.TLS().MinVersion != tls.VersionTLS13 {
				t.Error("TLS 1.2 is offered")
			}
		}},
		"custom": {[]string{"KONG_SSL_CIPHER_SUITE=custom", "KONG_SSL_PROTOCOLS=TLSv1.2", "KONG_SSL_CIPHERS=ECDHE+AESGCM:!AES256"}, "", "", func(t *testing.T, c *Config) {
			if p := c.TLS(); p.MaxVersion != tls.VersionTLS12 || len(p.Suites) != 2 {
				t.Errorf("profile %+v", p)
			}
		}},
		"a cipher that Go lacks": {[]string{"KONG_SSL_CIPHER_SUITE=custom", "KONG_SSL_CIPHERS=ECDHE+AESGCM:DHE-RSA-AES128-SHA"}, "", "not available here: DHE-RSA-AES128-SHA", nil},
		"an unknown cipher":      {[]string{"KONG_SSL_CIPHER_SUITE=custom", "KONG_SSL_CIPHERS=HIHG"}, `"HIHG" is neither a cipher nor a keyword`, "", nil},
		"an unknown suite":       {[]string{"KONG_SSL_CIPHER_SUITE=new"}, "must be one of modern", "", nil},
		"ciphers in vain":        {[]string{"KONG_SSL_CIPHERS=HIHG"}, "", "ssl_ciphers has no effect: ssl_cipher_suite is intermediate", nil},
		"preference":             {[]string{"KONG_SSL_PREFER_SERVER_CIPHERS=on"}, "", "ssl_prefer_server_ciphers has no effect", nil},
		"dhparam":                {[]string{"KONG_SSL_DHPARAM=ffdhe2048"}, "", "ssl_dhparam has no effect", nil},
		"cache size":             {[]string{"KONG_SSL_SESSION_CACHE_SIZE=1m"}, "", "ssl_session_cache_size has no effect", nil},
		"bad cache size":         {[]string{"KONG_SSL_SESSION_CACHE_SIZE=big"}, "must be a size", "", nil},
		"long sessions": {[]string{"KONG_SSL_SESSION_TIMEOUT=30d"}, "", "more than 7 days", func(t *testing.T, c *Config) {
			if c.SessionTimeout() != 7*24*time.Hour {
				t.Error(c.SessionTimeout())
			}
		}},
		"no time for sessions": {[]string{"KONG_SSL_SESSION_TIMEOUT=0"}, "must be a second at least", "", nil},
		"client_ssl alone":     {[]string{"KONG_CLIENT_SSL=on", "KONG_CLIENT_SSL_CERT=/c"}, "client_ssl needs client_ssl_cert and client_ssl_cert_key", "", nil},
		"client_ssl off":       {[]string{"KONG_CLIENT_SSL_CERT=/c", "KONG_CLIENT_SSL_CERT_KEY=/k"}, "", "client_ssl is off", nil},
		"client_ssl": {[]string{"KONG_CLIENT_SSL=on", "KONG_CLIENT_SSL_CERT=/c", "KONG_CLIENT_SSL_CERT_KEY=/k"}, "", "", func(t *testing.T, c *Config) {
			if cert, key := c.ClientCertificate(); cert != "/c" || key != "/k" {
				t.Errorf("%s, %s", cert, key)
			}
		}},
		"trust": {[]string{"KONG_LUA_SSL_TRUSTED_CERTIFICATE=system, /ca.pem", "KONG_LUA_SSL_VERIFY_DEPTH=3"}, "", "", func(t *testing.T, c *Config) {
			if strings.Join(c.TrustedCertificates(), " ") != "system /ca.pem" || c.VerifyDepth() != 3 {
				t.Error(c.TrustedCertificates(), c.VerifyDepth())
			}
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := loaded(t, "", tt.environ)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(c.Notes(), "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if tt.check != nil {
				tt.check(t, c)
			}
		})
	}
}

// TestContentIsNotShown: a key that is given as content is not printed with the
// settings, nor in an error about them.
func TestContentIsNotShown(t *testing.T) {
	const pem, base64 = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tsecret"
	c, err := loaded(t, "", []string{"KONG_SSL_CERT_KEY=/k.pem," + pem, "KONG_SSL_CERT=/a.pem,/b.pem", "KONG_ADMIN_SSL_CERT_KEY=" + pem,
		"KONG_CLIENT_SSL_CERT_KEY=" + base64, "KONG_CLIENT_SSL_CERT=/c.pem"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	shown := map[string]string{}
	for _, v := range c.Values() {
		shown[v.Name] = v.Shown()
		if strings.Contains(v.Shown(), "secret") {
			t.Errorf("%s is shown as %s", v.Name, v.Shown())
		}
	}
	if shown["ssl_cert_key"] != "/k.pem, (content)" || shown["client_ssl_cert"] != "/c.pem" || shown["client_ssl_cert_key"] != "(content)" {
		t.Errorf("shown %v", shown)
	}
}

// A key is never shown, not even one that is misspelt.
func TestEncryptionKeysAreHidden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const key, misspelt = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "/83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ"
	c, err := Load(Sources{Environ: []string{"SLUICE_ENCRYPTION_KEYS=" + key + ", " + file + "," + misspelt}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.EncryptionKeys(); !slices.Equal(got, []string{key, file, misspelt}) {
		t.Errorf("keys: %q", got)
	}
	for _, v := range c.Values() {
		if v.Name == "encryption_keys" && v.Shown() != "(key), "+file+", (key)" {
			t.Errorf("shown: %s", v.Shown())
		}
	}
}
