package main

import (
	"context"
	"crypto/tls"
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
	serving sync.WaitGroup
}

// startAdmin binds every listener before it returns. what is what they are for; source
// may be nil if no listener has TLS.
func startAdmin(ctx context.Context, what string, listeners []config.Listener, source *certs.Source, handler http.Handler, log *zap.Logger) (*adminServer, error) {
	a := &adminServer{}
	for _, l := range listeners {
		ln, err := listen.TCP(ctx, l.Addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s cannot listen on %s: %w", what, l.Addr, err), a.shutdown(ctx))
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
			server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: source.GetCertificate}
			serve = func(ln net.Listener) error { return server.ServeTLS(ln, "", "") }
		}
		a.servers = append(a.servers, server)
		a.serving.Go(func() {
			if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
				log.Error(what+" stopped serving", zap.String("address", l.Addr), zap.Error(err))
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
