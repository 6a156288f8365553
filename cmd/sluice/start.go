package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/obs"
	"github.com/sluicegate/sluice/internal/seal"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/tlsconf"
	"github.com/sluicegate/sluice/vault"
)

func startCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run one node",
		Long: `Start runs one node in the foreground until SIGTERM or SIGINT. Then it finishes
its requests and stops; it stays a member of its cluster and comes back as the
same node, with what it holds of rate limits. A second signal stops it at once. SIGHUP and
SIGUSR1 reopen the log files, SIGHUP reads the certificates again.

Without flags it is a cluster of one node on Kong's ports, data in ./sluice-data.

Every flag is also a key of the settings file and a variable: --proxy-listen,
proxy_listen, SLUICE_PROXY_LISTEN, and KONG_PROXY_LISTEN where Kong has it.
Later layers win: defaults < file < KONG_* < SLUICE_* < flags.`,
		Example: `  sluice start
  sluice start --conf /etc/kong/kong.conf
  sluice start --proxy-listen "0.0.0.0:80, 0.0.0.0:443 http2 ssl"

  # three nodes: the same line on each forms a cluster, and starts a node again
  sluice start --join a:8005,b:8005,c:8005 --expect 3 \
      --cluster-listen 0.0.0.0:8005 --insecure-cluster`,
		Args: cobra.NoArgs,
	}
	flags := config.Bind(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(flags.Sources(os.Environ()))
		if err != nil {
			return err
		}
		return runNode(cmd.Context(), cfg, cmd.ErrOrStderr())
	}
	return cmd
}

// gateway is one running node: its parts, in the order in which they start.
type gateway struct {
	cfg      *config.Config
	files    *obs.Files
	levels   *obs.Levels
	log      *zap.Logger // the proxy's and the cluster's
	adminLog *zap.Logger
	registry *prometheus.Registry
	certs    []*certs.Source

	machine *fsm.Machine
	quota   quotaHolder // of the limiter, which starts after the machine
	served  *servedIndex
	node    *cluster.Node
	limiter *limiter.Limiter
	plugins *plugin.Env  // nil if proxy_listen is off
	proxy   *proxy.Proxy // likewise
	admin   *adminServer
	status  *adminServer
	api     *api.API

	drained  atomic.Bool // asked for over the Status API
	leaving  atomic.Bool
	left     chan struct{} // closed when leaving is over
	leaveErr error         // why it failed; to be read after left

	closers []func(context.Context) error // in the order of starting
}

// openGateway starts every part. After an error nothing is left running.
func openGateway(ctx context.Context, cfg *config.Config) (*gateway, error) {
	g := &gateway{cfg: cfg, left: make(chan struct{}), served: newServedIndex()}
	steps := []func(context.Context) error{
		g.openDataDir, g.openLogs, g.openMachine, g.openCluster, g.openLimiter, g.openProxy, g.openAdmin, g.fitMemory,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	return g, nil
}

func (g *gateway) openDataDir(context.Context) error {
	dir, err := filepath.Abs(g.cfg.DataDir())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		_, err = os.ReadDir(dir)
	}
	if err != nil {
		return fmt.Errorf("data_dir %s cannot be used: %w", g.cfg.DataDir(), err)
	}
	return nil
}

func (g *gateway) openLogs(context.Context) (err error) {
	if g.levels, err = obs.NewLevels(g.cfg.LogLevel()); err != nil {
		return err
	}
	g.onClose(func(context.Context) error { g.levels.Close(); return nil })
	g.files = obs.NewFiles()
	g.onClose(func(context.Context) error { return g.files.Close() })
	main, err := g.files.Open(g.cfg.ProxyErrorLog())
	if err != nil {
		return err
	}
	admin, err := g.files.Open(g.cfg.AdminErrorLog())
	if err != nil {
		return err
	}
	g.log = obs.NewLogger(main, g.levels.Atomic())
	g.adminLog = obs.NewLogger(admin, g.levels.Atomic()).Named("admin")
	g.registry = obs.NewRegistry(buildVersion())
	g.log.Info("starting", zap.String("version", buildVersion()), zap.String("settings_file", g.cfg.File()), zap.Int("pid", os.Getpid()))
	for _, note := range g.cfg.Notes() {
		g.log.Warn(note)
	}
	return nil
}

func (g *gateway) openMachine(context.Context) (err error) {
	g.machine, err = fsm.New(g.quota.observe)
	return err
}

// openCluster restores the state of the last run and joins the others.
func (g *gateway) openCluster(ctx context.Context) error {
	keys, warnings, err := seal.Load(g.cfg.EncryptionKeys())
	if err != nil {
		return fmt.Errorf("encryption_keys: %w", err)
	}
	for _, w := range warnings {
		g.log.Warn(w)
	}
	g.node, err = cluster.Open(ctx, cluster.Config{
		DataDir: g.cfg.DataDir(), NodeName: g.cfg.NodeName(),
		Listen: g.cfg.ClusterListen(), Advertise: g.cfg.ClusterAdvertise(), Insecure: g.cfg.InsecureCluster(),
		Join: g.cfg.Join(), Expect: g.cfg.Expect(), MaxVoters: g.cfg.MaxVoters(),
		Keys: keys, Machine: g.machine, Served: g.served, Logger: g.log.Named("cluster"),
	})
	if err != nil {
		return err
	}
	g.onClose(g.node.Shutdown)
	return g.registry.Register(newClusterMetrics(g.node))
}

func (g *gateway) openProxy(ctx context.Context) error {
	if len(g.cfg.ProxyListen()) == 0 {
		g.served.set(g.machine)
		return nil
	}
	access, err := g.openAccessLog(g.cfg.ProxyAccessLog())
	if err != nil {
		return err
	}
	listen := make([]proxy.Listener, 0, len(g.cfg.ProxyListen()))
	for _, l := range g.cfg.ProxyListen() {
		listen = append(listen, proxy.Listener{Address: l.Addr, TLS: l.TLS, HTTP2: l.HTTP2, ProxyProtocol: l.ProxyProtocol})
	}
	g.plugins = &plugin.Env{NodeID: g.node.ID(), Quota: g.limiter, Now: time.Now, Metrics: g.registry, Logger: g.log.Named("plugin")}
	g.onClose(g.finishPlugins) // after the last request
	conf := proxy.Config{
		Listen: listen, Machine: g.machine, Version: kongVersion, Env: g.plugins,
		TrustedIPs: g.cfg.TrustedIPs(), RealIPHeader: g.cfg.RealIPHeader(), RealIPRecursive: g.cfg.RealIPRecursive(),
		Headers: g.cfg.Headers(), HeadersUpstream: g.cfg.HeadersUpstream(),
		AccessLog: access, AccessLogFormat: proxy.AccessLogFormat(g.cfg.ProxyAccessLogFormat()), Logger: g.log.Named("proxy"), Metrics: g.registry,
		MaxHeadBytes: g.cfg.MaxHeadBytes(), MaxBodyBytes: g.cfg.ClientMaxBodySize(),
		ReadHeaderTimeout: g.cfg.ClientHeaderTimeout(), IdleTimeout: g.cfg.KeepaliveTimeout(),
		BodyTimeout: g.cfg.ClientBodyTimeout(), SendTimeout: g.cfg.SendTimeout(),
	}
	conf.Settled, conf.Begin = g.settle(), g.machine.TakeRestored()
	conf.KeepaliveRequests, conf.Keepalive = g.cfg.KeepaliveRequests(), keepalive(g.cfg)
	conf.Vaults = vault.New(vault.Config{EnvPrefix: g.cfg.VaultEnvPrefix(), Dir: g.cfg.VaultFileDirectory()})
	conf.Loops, conf.Hold = shareProcessors()
	conf.EventLoop = g.cfg.EventLoop()
	if hasTLS(g.cfg.ProxyListen()) {
		source, err := g.certificates(g.cfg.ProxyCertificates())
		if err != nil {
			return err
		}
		conf.Certificate = source.GetCertificate
		conf.Stapler = tlsconf.NewStapler(tlsconf.StaplerConfig{Logger: g.log.Named("ocsp")})
		conf.TLSProfile = g.cfg.TLS()
		if g.cfg.SessionTickets() {
			conf.SessionTimeout = g.cfg.SessionTimeout()
		}
	}
	cert, key := g.cfg.ClientCertificate()
	if conf.UpstreamTLS, err = tlsconf.LoadDefaults(g.cfg.TrustedCertificates(), g.cfg.VerifyDepth(), cert, key); err != nil {
		return err
	}
	if g.proxy, err = proxy.New(conf); err != nil {
		return err
	}
	if err := g.proxy.Start(ctx); err != nil {
		return err
	}
	g.onClose(g.drainProxy)
	g.served.set(g.proxy)
	return nil
}

// unready says why requests should not be sent to this node.
func (g *gateway) unready() string {
	switch {
	case g.drained.Load(), g.leaving.Load():
		return "draining"
	case g.proxy != nil && !g.proxy.Ready():
		return "the configuration of the cluster is not here yet"
	}
	return ""
}

// certificates gives the source of a listener's certificates: the files that
// are named, or the self-made one.
func (g *gateway) certificates(certFiles, keyFiles []string) (source *certs.Source, err error) {
	if len(certFiles) > 0 {
		source, err = certs.FromFiles(certFiles, keyFiles)
	} else {
		source, err = certs.FromSelfMade(filepath.Join(g.cfg.DataDir(), "tls"), time.Now)
	}
	if err != nil {
		return nil, err
	}
	g.certs = append(g.certs, source)
	return source, nil
}

func hasTLS(ls []config.Listener) bool {
	return slices.ContainsFunc(ls, func(l config.Listener) bool { return l.TLS })
}

func (g *gateway) onClose(f func(context.Context) error) { g.closers = append(g.closers, f) }

// upMark is the part of the summary that says that a node is up; sluice dev
// waits for it.
func upMark(node string) string { return "node " + node + " is up" }

// summary is what a start tells on the terminal.
func (g *gateway) summary() string {
	addrs := func(ls []config.Listener) string {
		all := make([]string, len(ls))
		for i, l := range ls {
			all[i] = l.Addr
			if l.TLS {
				all[i] += " (TLS)"
			}
		}
		if len(all) == 0 {
			return "off"
		}
		return strings.Join(all, ", ")
	}
	logs := g.cfg.ProxyErrorLog()
	if logs == "" {
		logs = "off"
	}
	return fmt.Sprintf("sluice %s: %s: proxy %s; admin %s; status %s; cluster %s; data %s; log %s",
		buildVersion(), upMark(g.cfg.NodeName()), addrs(g.cfg.ProxyListen()), addrs(g.cfg.AdminListen()), addrs(g.cfg.StatusListen()), g.cfg.ClusterListen(), g.cfg.DataDir(), logs)
}
