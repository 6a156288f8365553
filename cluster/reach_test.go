package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestBackFromAway: a node that was dead or cut off for long has what it missed
// soon after its return, not after as long again.
func TestBackFromAway(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{2 * time.Second, 40 * time.Second, 3 * time.Minute} {
		for _, dead := range []bool{true, false} {
			name := "cut off for " + away.String()
			if dead {
				name = "dead for " + away.String()
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inLab(t, func(t *testing.T, l *lab) {
					for i := range 3 {
						l.start(i, expecting(3))
					}
					leader := waitLeader(t, l.nodes...)
					put(t, leader, "before")
					at := slices.IndexFunc(l.nodes, func(n *Node) bool { return n != leader })
					gone := l.nodes[at]
					holds(t, gone, "before")
					if dead {
						crash(t, gone)
					} else {
						var rest []string
						for i := range l.nodes {
							if i != at {
								rest = append(rest, host(i))
							}
						}
						l.net.Partition([]string{host(at)}, rest)
					}
					put(t, leader, "meanwhile")
					time.Sleep(away) // virtual
					if dead {
						gone = l.start(at, func(c *Config) {
							expecting(3)(c)
							c.DataDir, c.Network = gone.conf.DataDir, gone.conf.Network
						})
					} else {
						l.net.Heal()
					}
					start := time.Now()
					holds(t, gone, "meanwhile")
					if took := time.Since(start); took > time.Second { // virtual
						t.Errorf("it has what it missed %v after its return", took)
					}
				})
			})
		}
	}
}

// TestReachEnds: nobody waits for a follower that is not to be sent to any more, nor
// in a later term for one that was lost in an earlier.
func TestReachEnds(t *testing.T) {
	t.Parallel()
	const follower = raft.ServerID("f")
	wanted := true
	r := newReach(t.Context(), func(raft.ServerID, uint64) bool { return wanted })
	if err := r.await(follower, 1); err != nil {
		t.Errorf("one that never failed: %v", err)
	}
	r.failed(follower, 1)
	r.failed(follower, 1)
	if err := r.await(follower, 2); err != nil {
		t.Errorf("in the next term: %v", err)
	}
	wanted = false
	if err := r.await(follower, 1); err == nil {
		t.Error("nobody leads, and somebody would send")
	}
	if len(r.lost) != 0 {
		t.Errorf("kept: %v", r.lost)
	}
	wanted = true
	r.failed(follower, 2)
	time.AfterFunc(time.Millisecond, func() { r.found(follower) })
	if err := r.await(follower, 2); err != nil {
		t.Errorf("after a heartbeat: %v", err)
	}
}
