package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

var printedToken = regexp.MustCompile(`sluice_[A-Za-z0-9_-]{43}`)

// guardedNode gives a node two more admin ports, on all IPv4 addresses, the second with TLS; requests come by
// loopback all the same.
func guardedNode(n *testNode, more ...string) (plain, encrypted string) {
	p, e := freePort(n.t), freePort(n.t)
	n.args = append([]string{"--admin-listen", fmt.Sprintf("127.0.0.1:%d, 0.0.0.0:%d, 0.0.0.0:%d ssl", n.adminPort, p, e)}, more...)
	return fmt.Sprintf("http://127.0.0.1:%d", p), fmt.Sprintf("https://127.0.0.1:%d", e)
}

// tokens names the tokens that there are, as loopback shows them.
func (n *testNode) tokens() (names []string) {
	n.t.Helper()
	list, _ := n.admin("GET", "/admin_tokens", nil).json(n.t)["data"].([]any)
	for _, e := range list {
		names = append(names, fmt.Sprint(e.(map[string]any)["name"]))
	}
	return names
}

func (n *testNode) awaitToken() {
	n.t.Helper()
	waitFor(n.t, "a first token", func() error {
		if len(n.tokens()) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// TestAdminAuth: the address of a listener decides whether it asks for a token; the first one is printed once.
func TestAdminAuth(t *testing.T) {
	c := idleCluster(t, 1)
	n := c.nodes[0]
	plain, _ := guardedNode(n, "--admin-access-log", "logs/admin_access.log json")
	n.start()
	c.waitReady()
	n.awaitToken()
	n.stop()
	printed := printedToken.FindAllString(n.stderr.String(), -1)
	if len(printed) != 1 {
		t.Fatalf("%d tokens were printed: %s", len(printed), n.stderr.String())
	}
	token := printed[0]

	n.start()
	c.waitReady()
	for name, tt := range map[string]struct {
		header http.Header
		status int
	}{
		"nothing":    {nil, 401},
		"wrong":      {http.Header{"Kong-Admin-Token": {token + "x"}}, 401},
		"kong's":     {http.Header{"Kong-Admin-Token": {token}}, 200},
		"as bearer":  {http.Header{"Authorization": {"Bearer " + token}}, 200},
		"a loopback": {http.Header{"X-Forwarded-For": {"127.0.0.1"}}, 401},
	} {
		if a, err := n.try("GET", plain+"/services", tt.header, ""); err != nil || a.status != tt.status {
			t.Errorf("%s: %d %s %v", name, a.status, a.body, err)
		}
	}
	commandsWithTokens(t, n, plain, token)
	if a := n.admin("GET", "/metrics", nil); !strings.Contains(string(a.body), `sluice_admin_refused_total{reason="unauthorized"}`) {
		t.Error("no metric of refusals")
	}
	n.stop()
	if again := printedToken.FindString(n.stderr.String()); again != "" {
		t.Errorf("printed after a restart: %s", again)
	}
	for _, file := range []string{"error.log", "admin_access.log"} {
		if text, err := os.ReadFile(filepath.Join(n.dir, "logs", file)); err != nil || strings.Contains(string(text), token) {
			t.Errorf("%s has the token in it, or: %v", file, err)
		} else if who := `"user":"first"`; file == "admin_access.log" && !strings.Contains(string(text), who) {
			t.Errorf("the access log has no %s", who)
		}
	}
}

// commandsWithTokens uses the commands of sluice where a token is asked for.
func commandsWithTokens(t *testing.T, n *testNode, at, token string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := sluice(t, "status", "--admin", at); code == 0 || !strings.Contains(stderr, "needs a token") {
		t.Errorf("status without a token: %d %s", code, stderr)
	}
	made, stderr, code := sluice(t, "admin", "token", "create", "ci", "--role", "read-only", "--ttl", "1h", "--admin", at, "--token-file", file)
	made = strings.TrimSpace(made)
	if code != 0 || printedToken.FindString(made) != made {
		t.Fatalf("create: %d %q %s", code, made, stderr)
	}
	if out, stderr, code := sluice(t, "admin", "token", "list", "--admin", at, "--token-file", file); code != 0 || !strings.Contains(out, "ci     read-only") || strings.Contains(out, made) {
		t.Errorf("list: %d %s %s", code, out, stderr)
	}
	for _, command := range [][]string{{"status"}, {"cluster", "members"}, {"budgets"}, {"history"}, {"audit", "verify"}} {
		t.Setenv(tokenVariable, made)
		if _, stderr, code := sluice(t, append(command, "--admin", at)...); code != 0 {
			t.Errorf("%v: %d %s", command, code, stderr)
		}
	}
	if _, stderr, code := sluice(t, "config", "rollback", "1", "--admin", at); code == 0 || !strings.Contains(stderr, "no permission to") {
		t.Errorf("rollback by who may only read: %d %s", code, stderr)
	}
	if _, _, code := sluice(t, "admin", "token", "revoke", "ci", "--admin", at, "--token-file", file); code != 0 {
		t.Errorf("revoke: %d", code)
	}
	if _, stderr, code := sluice(t, "admin", "token", "revoke", "ci", "--admin", at, "--token-file", file); code == 0 || !strings.Contains(stderr, "token ci") {
		t.Errorf("revoke twice: %d %s", code, stderr)
	}
	if _, stderr, code := sluice(t, "status", "--admin", at); code == 0 || !strings.Contains(stderr, "not one that is known") {
		t.Errorf("status with a revoked token: %d %s", code, stderr)
	}
	// Whoever has lost all tokens makes one on the node's own machine.
	t.Setenv(tokenVariable, "")
	if out, stderr, code := sluice(t, "admin", "token", "create", "rescue", "--role", "super-admin", "--admin", n.adminURL("")); code != 0 || !printedToken.MatchString(out) {
		t.Errorf("rescue: %d %s", code, stderr)
	}
}

// TestAdminAuthOfThree: of three nodes that start at once, one prints a token.
func TestAdminAuthOfThree(t *testing.T) {
	c := idleCluster(t, 3)
	for _, n := range c.nodes {
		guardedNode(n)
		n.start()
	}
	c.waitReady()
	c.nodes[0].awaitToken()
	printed := 0
	for _, n := range c.nodes {
		n.stop()
		printed += len(printedToken.FindAllString(n.stderr.String(), -1))
	}
	if printed != 1 {
		t.Errorf("%d tokens were printed", printed)
	}
}

// TestAdminAuthSettings: on asks on loopback too, and off nowhere.
func TestAdminAuthSettings(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip)} }
	for _, tt := range []struct {
		auth, ip string
		asks     bool
	}{
		{"auto", "127.0.0.1", false}, {"auto", "127.8.8.8", false}, {"auto", "::1", false}, {"auto", "0.0.0.0", true}, {"auto", "::", true}, {"auto", "10.0.0.1", true},
		{"on", "127.0.0.1", true}, {"on", "0.0.0.0", true}, {"off", "0.0.0.0", false}, {"off", "127.0.0.1", false},
	} {
		if got := (&adminConfig{auth: tt.auth}).asks(tcp(tt.ip)); got != tt.asks {
			t.Errorf("%s on %s asks: %v", tt.auth, tt.ip, got)
		}
	}
}

// TestAdminClientCertificates: a certificate that the authority vouches for takes the place of a token.
func TestAdminClientCertificates(t *testing.T) {
	authority, stranger := certstest.Root("authority"), certstest.Root("stranger")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server := authority.Issue("localhost", certstest.IPs("127.0.0.1"))
	ca := write("ca.pem", authority.Cert)
	c := idleCluster(t, 1)
	n := c.nodes[0]
	plain, encrypted := guardedNode(n, "--admin-ssl-client-ca", ca,
		"--admin-ssl-cert", write("server.pem", server.Cert), "--admin-ssl-cert-key", write("server.key", server.Key))
	n.start()
	c.waitReady()
	for _, who := range [][2]string{{"ops", "ops.example.com"}, {"job", "spiffe://example.com/job"}} {
		if _, stderr, code := sluice(t, "admin", "token", "create", who[0], "--subject", who[1], "--admin", n.adminURL("")); code != 0 {
			t.Fatal(stderr)
		}
	}
	for name, tt := range map[string]struct {
		pair   *certstest.Pair
		status int // 0: no connection
	}{
		"common name":       {authority.Issue("ops.example.com"), 200},
		"uri":               {authority.Issue("x", certstest.URIs("spiffe://example.com/job")), 200},
		"nobody's name":     {authority.Issue("other.example.com"), 401},
		"no certificate":    {nil, 401},
		"another authority": {stranger.Issue("ops.example.com"), 0},
	} {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool(),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if tt.pair == nil {
					return new(tls.Certificate), nil
				}
				pair := tt.pair.TLS()
				return &pair, nil
			}}}
		resp, err := (&http.Client{Timeout: patience, Transport: transport}).Get(encrypted + "/services")
		status := 0
		if err == nil {
			status = resp.StatusCode
			resp.Body.Close()
		}
		var refused *url.Error
		if status != tt.status || status == 0 && !errors.As(err, &refused) {
			t.Errorf("%s: %d %v", name, status, err)
		}
	}
	ops := authority.Issue("ops.example.com")
	with := []string{"--client-cert", write("ops.pem", ops.Cert), "--client-key", write("ops.key", ops.Key)}
	if _, stderr, code := sluice(t, append([]string{"status", "--admin", encrypted, "--ca-file", ca}, with...)...); code != 0 {
		t.Errorf("status: %s", stderr)
	}
	if _, stderr, code := sluice(t, append([]string{"status", "--admin", encrypted}, with...)...); code == 0 || !strings.Contains(stderr, "certificate") {
		t.Errorf("status of a server that nobody vouches for: %d %s", code, stderr)
	}
	if _, stderr, code := sluice(t, append([]string{"status", "--admin", encrypted, "--insecure"}, with...)...); code != 0 {
		t.Errorf("status --insecure: %s", stderr)
	}
	if a, err := n.try("GET", plain+"/services", nil, ""); err != nil || a.status != 401 {
		t.Errorf("without TLS: %d %v", a.status, err)
	}
}
