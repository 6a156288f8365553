package cluster

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// TestDeadLeaderIsReplacedAtOnce: when the leader's process dies, there is another
// one before raft's own timeouts would even notice, also if the node whose turn it
// is first has died before.
func TestDeadLeaderIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	for name, died := range map[string]int{"alone": 0, "after another": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inLab(t, func(t *testing.T, l *lab) {
				for i := range 5 {
					l.start(i, func(c *Config) {
						expecting(5)(c)
						c.Timing.Heartbeat, c.Timing.Election = 10*time.Second, 10*time.Second
					})
				}
				leader := waitLeader(t, l.nodes...)
				put(t, leader, "before")
				turns := slices.SortedFunc(slices.Values(l.nodes), func(a, b *Node) int { return cmp.Compare(a.id, b.id) })
				var dead, rest []*Node
				for _, n := range turns {
					switch {
					case n == leader:
					case len(dead) < died:
						dead = append(dead, n)
					default:
						rest = append(rest, n)
					}
				}
				for _, n := range rest {
					holds(t, n, "before")
				}
				for _, n := range dead {
					crash(t, n)
				}
				start := time.Now()
				crash(t, leader)
				next := waitLeader(t, rest...)
				put(t, next, "after")
				if took := time.Since(start); took > 2*time.Second { // virtual; raft alone needs ten
					t.Errorf("the next leader leads after %v", took)
				}
				for _, n := range rest {
					holds(t, n, "after")
				}
			})
		})
	}
}

// TestLeaderThatAnswersStays: connections that end are no reason to replace a
// leader that is there.
func TestLeaderThatAnswersStays(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		for i := range 3 {
			l.start(i, expecting(3))
		}
		leader := waitLeader(t, l.nodes...)
		term := leader.raft.CurrentTerm()
		for range 20 {
			for _, n := range l.nodes {
				wake(n.streams.broken)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if waitLeader(t, l.nodes...) != leader || leader.raft.CurrentTerm() != term {
			t.Error("the leader was replaced")
		}
	})
}
