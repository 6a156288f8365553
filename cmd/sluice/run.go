package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/internal/config"
)

const (
	// stopTimeout bounds a graceful stop: the requests in flight, what plugins
	// have to send, the shares of rate limits, the cluster, each within its own
	// share.
	stopTimeout   = 25 * time.Second
	drainTimeout  = 10 * time.Second
	pluginTimeout = 5 * time.Second
	sharesTimeout = 2 * time.Second
	leaveTimeout  = 15 * time.Second

	// renewEvery is how often a running node looks at its certificates' age.
	renewEvery = 12 * time.Hour
)

// runNode runs a node until a signal, or until it has left its cluster.
func runNode(ctx context.Context, cfg *config.Config, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	logs := make(chan os.Signal, 4)
	signal.Notify(logs, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(logs)

	g, err := openGateway(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // asked to stop before it had started
		}
		return err
	}
	fmt.Fprintln(stderr, g.summary())
	var first sync.WaitGroup
	first.Go(func() { g.firstToken(ctx, stderr) })
	g.wait(ctx, logs)
	stop() // from here on a second signal ends the process at once
	first.Wait()
	if g.leaving.Load() {
		<-g.left // a signal meanwhile must not stop the parts under it
	}
	g.log.Info("stopping")
	if err := errors.Join(g.node.Failure(), g.close()); err != nil {
		return fmt.Errorf("stopped, but not cleanly: %w", err)
	}
	return g.leaveErr
}

// wait returns when the node is to stop.
func (g *gateway) wait(ctx context.Context, logs <-chan os.Signal) {
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.left:
			return
		case <-g.node.Failed():
			// It would serve an old configuration for ever; the next start says what
			// has to be done.
			return
		case <-renew.C:
			g.reloadCertificates()
		case sig := <-logs:
			if err := g.files.Reopen(); err != nil {
				g.log.Error("a log file could not be reopened", zap.Error(err))
			}
			if sig == syscall.SIGHUP {
				g.reloadCertificates()
			}
		}
	}
}

func (g *gateway) reloadCertificates() {
	for _, source := range g.certs {
		if err := source.Reload(); err != nil {
			g.log.Error("certificates could not be read again; the old ones stay", zap.Error(err))
		}
	}
}

// close stops every part in the reverse order of starting.
func (g *gateway) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for _, stop := range slices.Backward(g.closers) {
		errs = append(errs, stop(ctx))
	}
	g.closers = nil
	return errors.Join(errs...)
}

// drainProxy lets the requests in flight end; those that take too long are cut,
// which is no fault of the node.
func (g *gateway) drainProxy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := g.proxy.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		g.log.Warn("requests were cut", zap.Duration("after", drainTimeout))
		return nil
	}
	return err
}

// finishPlugins lets plugins do what they have taken on, such as sending logs. What
// takes too long is given up, which is no fault of the node.
func (g *gateway) finishPlugins(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	if err := g.plugins.Close(ctx); err != nil {
		g.log.Warn("what plugins had to do was given up", zap.Duration("after", pluginTimeout), zap.Error(err))
	}
	return nil
}

// giveSharesUp takes this node out of the windows to come, and hands over what it
// holds of those that have begun. What does not get through in time shows when the
// leader has not heard of the node for a while.
func (g *gateway) giveSharesUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sharesTimeout)
	defer cancel()
	if err := g.limiter.Leave(ctx); err != nil {
		g.log.Warn("rate limits: the node's shares could not be given up", zap.Error(err))
	}
}

// leave gives up the membership and has the process end. It refuses, and
// changes nothing, where it can see that the node could not be taken out. The
// proxy stops first, and from then on the process ends in any case.
func (g *gateway) leave() error {
	if !g.leaving.CompareAndSwap(false, true) {
		return errLeaving
	}
	if err := g.canLeave(); err != nil {
		g.leaving.Store(false)
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout+sharesTimeout+leaveTimeout)
	defer cancel()
	defer close(g.left)
	if g.proxy != nil {
		g.leaveErr = g.drainProxy(ctx)
	}
	g.giveSharesUp(ctx)
	if err := g.node.Leave(ctx); err != nil {
		g.leaveErr = fmt.Errorf("the node stops and is still a member of its cluster: %w", err)
	}
	return g.leaveErr
}

func (g *gateway) canLeave() error {
	switch {
	case !g.node.HasLeader():
		return errNoLeader
	case g.node.Voters() == 1 && g.node.IsLeader():
		return cluster.ErrLastVoter
	}
	return nil
}
