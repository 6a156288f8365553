package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// certified gives a certificate of net/http's test server and a client that
// trusts it.
func certified(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}

// selfSigned gives a certificate that nobody trusts.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure is a world with a plain, a TLS and an HTTP/2 listener of each kind.
func secure(t *testing.T) (w *world, roots *x509.CertPool) {
	t.Helper()
	certificate, roots := certified(t)
	w = newWorld(t)
	w.config.Listen = []Listener{
		{Address: "127.0.0.1:0"},
		{Address: "127.0.0.1:0", TLS: true},
		{Address: "127.0.0.1:0", TLS: true, HTTP2: true},
		{Address: "127.0.0.1:0", HTTP2: true},
	}
	w.config.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
	w.config.UpstreamTLS.Roots = roots
	return w, roots
}

func protocolClient(t *testing.T, roots *x509.CertPool, configure func(*http.Protocols)) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	configure(transport.Protocols)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestListeners(t *testing.T) {
	w, roots := secure(t)
	w.behind(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Proto, r.Header.Get("X-Forwarded-Proto"), body)
	})
	h1 := protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP1(true) })
	h2 := protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP2(true) })
	h2c := protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	for _, c := range []struct {
		name     string
		client   *http.Client
		listener int
		scheme   string
		major    int // 0: refused
	}{
		{"HTTP/1.1", h1, 0, "http", 1},
		{"TLS", h1, 1, "https", 1},
		{"TLS on an HTTP/2 listener", h1, 2, "https", 1},
		{"HTTP/2", h2, 2, "https", 2},
		{"HTTP/2 where it is off", h2, 1, "https", 0},
		{"h2c", h2c, 3, "http", 2},
		{"HTTP/1.1 on an h2c listener", h1, 3, "http", 1},
		{"h2c where it is off", h2c, 0, "http", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			large := strings.Repeat("x", 200000)
			resp, err := c.client.Post(fmt.Sprintf("%s://%s/r", c.scheme, w.proxy.Addrs()[c.listener]), "text/plain", strings.NewReader(large))
			if err != nil || c.major == 0 {
				if c.major != 0 || err == nil {
					t.Fatalf("%v, %v", resp, err)
				}
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != c.major || string(body) != fmt.Sprintf("HTTP/1.1 %s %s", c.scheme, large) {
				t.Fatalf("%s %.40q %v", resp.Proto, body, err)
			}
		})
	}
}

func TestHTTPSOnlyRouteAndSNI(t *testing.T) {
	w, roots := secure(t)
	w.route("", object{"paths": []string{"/"}, "protocols": []string{"https"}, "snis": []string{"example.com"}})
	w.start()
	client := protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP1(true) })
	resp, err := client.Get("https://" + w.proxy.Addrs()[1].String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Fatalf("over TLS: %d", resp.StatusCode)
	}
	w.get("/").want(t, 426, "")
}

func TestServicesWithTLS(t *testing.T) {
	w, _ := secure(t)
	w.start()
	server := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer server.Close()
	other := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	other.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	w.route(w.service(server.URL, nil), object{"paths": []string{"/default"}})
	w.route(w.service(server.URL, object{"tls_verify": true}), object{"paths": []string{"/verified"}})
	w.route(w.service(other.URL, object{"tls_verify": false}), object{"paths": []string{"/unverified"}})
	w.route(w.service(other.URL, object{"tls_verify": true, "retries": 0}), object{"paths": []string{"/refused"}})
	w.get("/default/a").want(t, 200, "GET /a")
	w.get("/verified/a").want(t, 200, "GET /a")
	w.get("/unverified/a").want(t, 200, "GET /a")
	w.get("/refused/a").want(t, 502, "An invalid response")
}

// TestGRPC: the framing of messages is not looked at; HTTP/2 on both sides and
// trailers are what matters.
func TestGRPC(t *testing.T) {
	for _, scheme := range []string{"grpc", "grpcs"} {
		t.Run(scheme, func(t *testing.T) {
			w, roots := secure(t)
			w.start()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "application/grpc")
				w.Header().Set("Trailer", "Grpc-Status")
				fmt.Fprintf(w, "%s %s te=%s %s", r.Proto, r.URL.Path, r.Header.Get("Te"), body)
				w.Header().Set("Grpc-Status", "0")
			}))
			server.Config.Protocols = new(http.Protocols)
			if scheme == "grpcs" {
				server.EnableHTTP2 = true
				server.Config.Protocols.SetHTTP2(true)
				server.StartTLS()
			} else {
				server.Config.Protocols.SetUnencryptedHTTP2(true)
				server.Start()
			}
			defer server.Close()
			w.route(w.service(server.URL, object{"protocol": scheme}), object{"paths": []string{"/"}, "strip_path": false,
				"protocols": []string{"grpc", "grpcs"}})
			client := protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP2(true) })
			req, err := http.NewRequest("POST", "https://"+w.proxy.Addrs()[2].String()+"/pkg.Service/Call", io.MultiReader(strings.NewReader("message")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/grpc")
			req.Header.Set("TE", "trailers")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "HTTP/2.0 /pkg.Service/Call te=trailers message" || resp.Trailer.Get("Grpc-Status") != "0" {
				t.Fatalf("%q %v %v", body, resp.Trailer, err)
			}
			if via := resp.Header.Get("Via"); via != "2 kong/3.9.1" {
				t.Errorf("Via: %q", via)
			}
		})
	}
}

func TestGRPCServiceThatIsGone(t *testing.T) {
	w, roots := secure(t)
	w.start()
	w.route(w.service("http://127.0.0.1:1", object{"protocol": "grpc"}), object{"paths": []string{"/"}, "protocols": []string{"grpc", "grpcs"}})
	w.route("", object{"paths": []string{"/secure"}, "protocols": []string{"grpcs"}})
	h2c := protocolClient(t, roots, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	for path, want := range map[string]string{"/a": "13", "/secure": "1"} {
		req, err := http.NewRequest("POST", "http://"+w.proxy.Addrs()[3].String()+path, strings.NewReader("m"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		resp, err := h2c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Grpc-Status"); got != want {
			t.Errorf("%s: %d, grpc-status %q, want %q", path, resp.StatusCode, got, want)
		}
	}
}
