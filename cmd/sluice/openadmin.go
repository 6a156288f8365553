package main

import (
	"context"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// openAdmin makes the Admin API and the Status API, and their listeners.
func (g *gateway) openAdmin(ctx context.Context) error {
	combined, logged, err := g.openAdminLog()
	if err != nil {
		return err
	}
	conf := api.Config{
		Cluster: apiCluster{g.node}, Machine: g.machine, Plugins: plugin.All, Info: g.info(), Budgets: apiBudgets{g.limiter, g.node},
		Metrics: promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(g.adminLog)}),
		Keep:    fsm.Keep{Changes: g.cfg.HistoryChanges(), Bytes: g.cfg.HistorySize()},
		Logger:  g.adminLog, AccessLog: combined, LogLevels: newClusterLevels(g.levels, g.node), Operations: g.operations(),
	}
	if g.proxy != nil {
		conf.Status, conf.Problems, conf.Explain = g.connections, g.problems, g.proxy.Explain
	}
	conf.Unready, conf.Drain = g.unready, func() { g.drained.Store(true) }
	g.api = api.New(conf)
	if err := g.registerRefusals(); err != nil {
		return err
	}
	admin := adminConfig{
		what: "the Admin API", listeners: g.cfg.AdminListen(), auth: g.cfg.AdminAuth(),
		open: logged(g.api.Handler()), guarded: logged(g.api.Guarded()),
	}
	if trusted := g.cfg.AdminClientAuthorities(); len(trusted) > 0 {
		if admin.clients, _, err = certs.Trust(trusted); err != nil {
			return fmt.Errorf("admin_ssl_client_ca: %w", err)
		}
	}
	if g.admin, err = g.serveHTTP(ctx, &admin, g.cfg.AdminCertificates); err != nil {
		return err
	}
	g.onClose(func(ctx context.Context) error {
		g.api.Close()
		return g.admin.shutdown(ctx)
	})
	// The Status API changes nothing that others than this host ask for, and has no
	// tokens: where its listeners are is what protects it.
	status := adminConfig{what: "the Status API", listeners: g.cfg.StatusListen(), auth: authNever, open: g.api.StatusHandler()}
	if g.status, err = g.serveHTTP(ctx, &status, g.cfg.StatusCertificates); err != nil {
		return err
	}
	g.onClose(g.status.shutdown)
	return nil
}

// serveHTTP starts listeners of net/http, with the certificates of those with TLS.
func (g *gateway) serveHTTP(ctx context.Context, c *adminConfig, files func() (certs, keys []string)) (_ *adminServer, err error) {
	c.log = g.adminLog
	if hasTLS(c.listeners) {
		if c.source, err = g.certificates(files()); err != nil {
			return nil, err
		}
	}
	return startAdmin(ctx, c)
}

// registerRefusals exports how many requests the Admin API has turned away.
func (g *gateway) registerRefusals() error {
	for reason, count := range map[string]func() uint64{
		"unauthorized": func() uint64 { n, _ := g.api.Refused(); return n },
		"forbidden":    func() uint64 { _, n := g.api.Refused(); return n },
	} {
		err := g.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "sluice_admin_refused_total", Help: "Requests that the Admin API refused for want of a credential or a permission.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(count()) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// firstToken makes the cluster's first token if a listener asks for tokens and there
// is none, and prints it. It returns when that is decided, or the context ends.
func (g *gateway) firstToken(ctx context.Context, stderr io.Writer) {
	if !g.admin.guarded {
		return
	}
	token, err := g.api.FirstToken(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		g.adminLog.Error("the first token for the Admin API could not be made", zap.Error(err))
	case token != "":
		fmt.Fprintf(stderr, firstTokenText, token)
		g.adminLog.Warn("the first token for the Admin API was made and printed")
	}
}

// firstTokenText is printed once in the life of a cluster.
const firstTokenText = `sluice: the Admin API asks for a token (admin_auth). This is the cluster's first one, and
this is the only time that it is shown:

  %s

It may do everything. Send it as Kong-Admin-Token, or put it into SLUICE_ADMIN_TOKEN for
the commands of sluice. Make tokens for people and programs, then take this one away:

  sluice admin token create NAME --role super-admin
  sluice admin token revoke first

`
