package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// pemOf is a certificate as an entity has it.
func pemOf(p *certstest.Pair) object { return object{"cert": p.Cert, "key": p.Key} }

// TestCertificatesOfEntities: a handshake gets the certificate of its name, a
// new one at once, and the fallback without one.
func TestCertificatesOfEntities(t *testing.T) {
	w, _ := secure(t)
	w.behind(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "hello") })
	names := func(sni string) string {
		c, err := tls.Dial("tcp", w.proxy.Addrs()[1].String(), &tls.Config{InsecureSkipVerify: true, ServerName: sni})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return strings.Join(c.ConnectionState().PeerCertificates[0].DNSNames, ",")
	}
	if got := names("a.example.org"); got == "a.example.org" {
		t.Fatal("a certificate before there is one")
	}
	ca := certstest.Root("ca")
	id := w.put("certificates", pemOf(ca.Issue("a.example.org", certstest.Names("a.example.org"))))
	w.put("snis", object{"name": "a.example.org", "certificate": object{"id": id}})
	w.put("snis", object{"name": "*.example.org", "certificate": object{"id": id}})
	for _, sni := range []string{"a.example.org", "b.example.org"} {
		if got := names(sni); got != "a.example.org" {
			t.Errorf("%s: %s", sni, got)
		}
	}
	if got := names("other.example"); got == "a.example.org" {
		t.Error("a name of nobody gets somebody's certificate")
	}
	w.put("certificates", merged(pemOf(ca.Issue("new.example.org", certstest.Names("new.example.org"))), object{"id": id}))
	if got := names("a.example.org"); got != "new.example.org" {
		t.Errorf("after the change: %s", got)
	}
}

// TestSessionsAreResumed: a client that comes back with a ticket saves the
// handshake's signature.
func TestSessionsAreResumed(t *testing.T) {
	w, roots := secure(t)
	w.config.SessionTimeout = time.Hour
	w.behind(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "hello") })
	config := &tls.Config{RootCAs: roots, ServerName: "example.com", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		c, err := tls.Dial("tcp", w.proxy.Addrs()[1].String(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := askOver(c); err != nil { // the ticket comes with the answer
			t.Fatal(err)
		}
		if got := c.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
		c.Close()
	}
}

// TestServiceTLS: the certificate of a service is verified if asked for, against
// the authorities that it names, and ours is shown to it.
func TestServiceTLS(t *testing.T) {
	ca, other := certstest.Root("ca"), certstest.Root("other")
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "for ", r.TLS.PeerCertificates[0].DNSNames[0])
	}))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost", certstest.Names("localhost")).TLS()},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	service.StartTLS()
	t.Cleanup(service.Close)
	to := strings.Replace(service.URL, "127.0.0.1", "localhost", 1)

	w := newWorld(t).start()
	trusted := w.put("ca_certificates", object{"cert": ca.Cert})
	stranger := w.put("ca_certificates", object{"cert": other.Cert})
	ours := w.put("certificates", pemOf(ca.Issue("gateway", certstest.Names("gateway"))))
	for name, c := range map[string]struct {
		fields object
		status int
		body   string
	}{
		"verified":       {object{"client_certificate": object{"id": ours}, "tls_verify": true, "ca_certificates": []string{trusted}}, 200, "for gateway"},
		"not verified":   {object{"client_certificate": object{"id": ours}}, 200, "for gateway"},
		"by a stranger":  {object{"client_certificate": object{"id": ours}, "tls_verify": true, "ca_certificates": []string{stranger}}, 502, ""},
		"no certificate": {object{"tls_verify": true, "ca_certificates": []string{trusted}}, 502, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/" + strings.ReplaceAll(name, " ", "-")
			w.route(w.service(to, c.fields), object{"paths": []string{path}})
			for range 2 { // over a new connection and a kept one
				w.get(path).want(t, c.status, c.body)
			}
		})
	}
}

// askOver asks for /r on a connection and gives the body of the answer.
func askOver(c net.Conn) (string, error) {
	if _, err := io.WriteString(c, "GET /r HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
