package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/sluicegate/sluice/internal/proxyproto"
)

// TestProxyProtocol: whom a trusted balancer names is the client, on every kind
// of connection; an address of one that is not trusted is not believed; a
// connection without a header is closed.
func TestProxyProtocol(t *testing.T) {
	client, balancer := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:80")
	headers := map[string][]byte{
		"v1":    proxyproto.AppendV1(nil, client, balancer),
		"v2":    proxyproto.AppendV2(nil, proxyproto.Header{Source: client, Destination: balancer}, true),
		"local": []byte("PROXY UNKNOWN\r\n"),
	}
	ask := map[string]func(net.Conn) (string, error){
		"plain": func(c net.Conn) (string, error) { return askOver(c) },
		"h2c":   askHTTP2,
		"tls":   func(c net.Conn) (string, error) { return askOver(tls.Client(c, clientTLS("http/1.1"))) },
		"h2":    func(c net.Conn) (string, error) { return askHTTP2(tls.Client(c, clientTLS("h2"))) },
	}
	for _, trusted := range []bool{true, false} {
		w := newWorld(t)
		w.config.Listen = []Listener{{Address: "127.0.0.1:0", HTTP2: true, ProxyProtocol: true},
			{Address: "127.0.0.1:0", TLS: true, HTTP2: true, ProxyProtocol: true}}
		certificate := selfSigned(t)
		w.config.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
		w.config.RealIPHeader = "proxy_protocol"
		if trusted {
			w.config.TrustedIPs = prefixes("127.0.0.0/8")
		}
		w.behind(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("X-Real-IP")) })
		for kind, do := range ask {
			addr := w.proxy.Addrs()[0].String()
			if kind == "tls" || kind == "h2" {
				addr = w.proxy.Addrs()[1].String()
			}
			for name, header := range headers {
				want := "127.0.0.1"
				if trusted && name != "local" {
					want = "192.0.2.7"
				}
				t.Run(fmt.Sprint(kind, "/", name, "/", trusted), func(t *testing.T) {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					if _, err := c.Write(header); err != nil {
						t.Fatal(err)
					}
					if got, err := do(c); got != want || err != nil {
						t.Errorf("the service saw %q, want %q: %v", got, want, err)
					}
				})
			}
			t.Run(fmt.Sprint(kind, "/none/", trusted), func(t *testing.T) {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got, err := do(c); err == nil {
					t.Errorf("answered %q", got)
				}
			})
		}
	}
}

func clientTLS(protocol string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
}

func askHTTP2(c net.Conn) (string, error) {
	// Prior knowledge, also within TLS: what ALPN says has been settled.
	transport := &http.Transport{Protocols: new(http.Protocols),
		DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://a/r")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
