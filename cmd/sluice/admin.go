package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/internal/certs"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/listen"
)

// Bounds of the Admin API's connections. A write may wait for the cluster, so
// answers have more time than requests.
const (
	adminHeadTimeout  = 10 * time.Second
	adminReadTimeout  = 60 * time.Second
	adminWriteTimeout = 120 * time.Second
	adminIdleTimeout  = 75 * time.Second
	adminMaxHead      = 64 << 10
	adminStopTimeout  = 5 * time.Second
)

// adminServer is the listeners of the Admin API, or of the Status API.
type adminServer struct {
	servers []*http.Server
	guarded bool // a listener asks who its clients are
	serving sync.WaitGroup
}

// adminConfig is what the listeners are made of.
type adminConfig struct {
	what      string // they are for
	listeners []config.Listener
	source    *certs.Source  // nil if no listener has TLS
	clients   *x509.CertPool // who may vouch for clients; nil: they are not asked for a certificate
	auth      string         // the setting admin_auth, or authNever
	// open lets everybody do everything, guarded asks who they are.
	open, guarded http.Handler
	log           *zap.Logger
}

// authNever is for listeners that ask nobody, by design and not by a setting.
const authNever = "never"

// asks says whether a listener asks who its clients are. With auto it is the address
// that decides, which nobody can forge; where requests come from says less: what
// comes through a proxy on the same host comes from loopback, too.
func (c *adminConfig) asks(addr net.Addr) bool {
	return c.auth == "on" || c.auth == "auto" && !isLoopback(addr)
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// startAdmin binds every listener before it returns.
func startAdmin(ctx context.Context, c *adminConfig) (*adminServer, error) {
	a, log := &adminServer{}, c.log
	for _, l := range c.listeners {
		ln, err := listen.TCP(ctx, l.Addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s cannot listen on %s: %w", c.what, l.Addr, err), a.shutdown(ctx))
		}
		handler := c.open
		if c.asks(ln.Addr()) {
			handler, a.guarded = c.guarded, true
		} else if c.auth == "off" && !isLoopback(ln.Addr()) {
			log.Warn("the Admin API is open to everybody who reaches it: admin_auth is off", zap.String("address", l.Addr))
		}
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(l.HTTP2 && l.TLS)
		protocols.SetUnencryptedHTTP2(l.HTTP2 && !l.TLS)
		server := &http.Server{
			Handler: handler, Protocols: &protocols, MaxHeaderBytes: adminMaxHead, ErrorLog: zap.NewStdLog(log),
			ReadHeaderTimeout: adminHeadTimeout, ReadTimeout: adminReadTimeout, WriteTimeout: adminWriteTimeout, IdleTimeout: adminIdleTimeout,
		}
		serve := server.Serve
		if l.TLS {
			server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.source.GetCertificate}
			if c.clients != nil {
				server.TLSConfig.ClientAuth, server.TLSConfig.ClientCAs = tls.VerifyClientCertIfGiven, c.clients
			}
			serve = func(ln net.Listener) error { return server.ServeTLS(ln, "", "") }
		}
		a.servers = append(a.servers, server)
		a.serving.Go(func() {
			if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
				log.Error(c.what+" stopped serving", zap.String("address", l.Addr), zap.Error(err))
			}
		})
	}
	return a, nil
}

// shutdown takes no more requests, lets those in flight end for a few seconds,
// and waits for the listeners.
func (a *adminServer) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminStopTimeout)
	defer cancel()
	var stopping sync.WaitGroup
	for _, s := range a.servers {
		stopping.Go(func() {
			if s.Shutdown(ctx) != nil {
				s.Close()
			}
		})
	}
	stopping.Wait()
	a.serving.Wait()
	return nil
}
