package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

// settleAgain is the pause between two attempts to learn how far the log is.
const settleAgain = 100 * time.Millisecond

// settle begins to find out when this node has the newest configuration of its
// cluster, and gives what is closed then: it has a barrier ordered behind everything
// that was committed before, and waits for that. Without a quorum this takes until
// there is one.
func (g *gateway) settle() <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	settled, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for !g.caughtUp(ctx) {
			select {
			case <-time.After(settleAgain):
			case <-ctx.Done():
				return
			}
		}
		close(settled)
		g.machine.TakeRestored() // what nobody needs any more
		g.log.Info("this node has the configuration of its cluster", zap.Uint64("index", g.machine.ConfigIndex()))
	}()
	g.onClose(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return settled
}

// caughtUp waits until this node has applied what was committed before the call.
func (g *gateway) caughtUp(ctx context.Context) bool {
	result, err := g.node.Apply(ctx, fsm.NewBarrier())
	return err == nil && g.machine.Wait(ctx, result.Index) == nil
}
