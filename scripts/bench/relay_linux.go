package main

import (
	"context"
	"os/exec"
	"syscall"
)

// startRelay is the least that a proxy can do; see load.Relay.
func startRelay(ctx context.Context, b *bench, s setup) (*target, error) {
	t, err := b.newTarget("relay", s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.self, "relay", t.plain, s.Service)
	cmd.Env = childEnv()
	if err := b.launch(ctx, t, cmd, s, syscall.SIGKILL); err != nil {
		return nil, err
	}
	return t, nil
}
