package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluicegate/sluice/api"
	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/fsm"
)

// Apply gives a write to the cluster, and says in the Admin API's terms why it
// did not happen.
func (c apiCluster) Apply(ctx context.Context, cmd *fsm.Command) (*fsm.Result, error) {
	result, err := c.node.Apply(ctx, cmd)
	return result, writeError(err)
}

// unavailable is a write that the cluster does not take for now.
type unavailable struct {
	error
	after time.Duration
}

// RetryAfter says when trying again makes sense.
func (u unavailable) RetryAfter() time.Duration { return u.after }

func (u unavailable) Unwrap() error { return u.error }

// Pauses that a client is asked for: an election takes about a second.
const (
	electionPause = 2 * time.Second
	busyPause     = time.Second
)

func writeError(err error) error {
	var none *cluster.NoQuorumError
	switch {
	case errors.As(err, &none) && none.Sent:
		// A leader had it before it was lost, and the next one may have it too.
		return unavailable{fmt.Errorf("%w; %w", err, api.ErrUnconfirmed), electionPause}
	case errors.As(err, &none):
		return unavailable{err, electionPause}
	case errors.Is(err, cluster.ErrOutcomeUnknown):
		return fmt.Errorf("%w: %w", api.ErrUnconfirmed, err)
	case errors.Is(err, cluster.ErrNotLeader), errors.Is(err, cluster.ErrNoLeader):
		// Held in vain while the leader changed: a leader that was stopped and
		// goes on, say, takes itself for one a moment longer.
		return unavailable{err, electionPause}
	case errors.Is(err, cluster.ErrNoCommonKey), errors.Is(err, cluster.ErrKeyMissing):
		// A node is away, or was given other keys than the rest.
		return unavailable{err, electionPause}
	case errors.Is(err, cluster.ErrBusy), errors.Is(err, cluster.ErrClosed):
		return unavailable{err, busyPause}
	case errors.Is(err, cluster.ErrCommandTooLarge):
		return fmt.Errorf("%w: %w", api.ErrTooLarge, err)
	}
	return err
}
