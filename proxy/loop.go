package proxy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// compileShare is the part of the time that building may take while changes
// storm in: one in compileShare.
const compileShare = 4

// compileLoop builds whatever configuration is newest once it is settled, until ctx
// is done. A change after a quiet time is built at once; changes that arrive during a
// build, or in the rest after it, become one build together.
func (p *Proxy) compileLoop(ctx context.Context) {
	select {
	case <-p.cfg.Settled:
	case <-ctx.Done():
		return
	}
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		changed := p.cfg.Machine.Changed()
		if view, s := p.cfg.Machine.View(), p.current.Load(); view.ConfigIndex() != s.index || s.pending {
			took := p.swap(view)
			rest.Reset((compileShare - 1) * took)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-rest.C:
			rest.Reset(0) // the next lone change does not wait
		case <-ctx.Done():
			return
		}
	}
}

// first is the configuration that is served first.
func (p *Proxy) first() *fsm.View {
	switch {
	case p.settled():
		return p.cfg.Machine.View()
	case p.cfg.Begin != nil:
		return p.cfg.Begin
	}
	return p.cfg.Machine.Empty()
}

// swap compiles a view and makes it the configuration of the requests that
// begin from now on. It says how long that took.
func (p *Proxy) swap(view *fsm.View) time.Duration {
	start := time.Now()
	s := p.compiler.build(view)
	s.pending = view.Index() == 0 && !p.settled()
	s.built = time.Now()
	s.took = s.built.Sub(start)
	old := p.current.Swap(s)
	if old != nil {
		close(old.superseded)
		if targets := p.compiler.routes.targets; targets.stale > 0 {
			p.client.Keep(targets.wanted)
			p.loops.keep(targets.wanted)
		}
	}
	p.log.Debug("configuration compiled", zap.Uint64("index", s.index),
		zap.Int("routes", len(p.compiler.routes.known)), zap.Duration("took", s.took), zap.Int("problems", len(s.problems)))
	return s.took
}

func (p *Proxy) settled() bool {
	select {
	case <-p.cfg.Settled:
		return true
	default:
		return false
	}
}

// Ready says whether requests are served with the configuration of the cluster, and
// not with one of before this process began.
func (p *Proxy) Ready() bool { return p.settled() && !p.current.Load().pending }

// Index is the index of the configuration that requests are served with
// (fsm.View.ConfigIndex).
func (p *Proxy) Index() uint64 { return p.current.Load().index }

// Wait returns once requests are served with the configuration of an index or
// a later one. It needs a started proxy to make progress. The error wraps the
// context's, or ErrStopped.
func (p *Proxy) Wait(ctx context.Context, index uint64) error {
	for {
		s := p.current.Load()
		if s.index >= index {
			return nil
		}
		select {
		case <-s.superseded:
		case <-ctx.Done():
			return fmt.Errorf("wait for configuration %d to be served: %w", index, context.Cause(ctx))
		case <-p.ctx.Done():
			return fmt.Errorf("wait for configuration %d to be served: %w", index, ErrStopped)
		}
	}
}

// Problems lists what in the served configuration cannot work.
func (p *Proxy) Problems() []Problem {
	problems := slices.Clip(p.current.Load().problems)
	if p.cfg.Stapler != nil {
		for _, found := range p.cfg.Stapler.Problems() {
			problems = append(problems, Problem(found))
		}
	}
	return problems
}
