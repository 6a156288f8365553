package cluster

import (
	"slices"
	"testing"
	"time"
)

// TestAFollowerHasWhatWasWrittenThroughIt: as soon as the leader has answered, and not
// only with the leader's next message.
func TestAFollowerHasWhatWasWrittenThroughIt(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		for i := range 3 {
			l.start(i, func(c *Config) {
				expecting(3)(c)
				c.Timing.Commit = 100 * time.Millisecond
			})
		}
		leader := waitLeader(t, l.nodes...)
		for _, n := range l.nodes {
			if n == leader {
				continue
			}
			holdsSoon := func(name string) time.Duration {
				put(t, n, name)
				start := time.Now()
				holds(t, n, name)
				return time.Since(start)
			}
			var waits []time.Duration
			for i := range 9 {
				time.Sleep(time.Second) // the messages before are over
				waits = append(waits, holdsSoon(n.Name()+string(rune('a'+i))))
			}
			// Half of the time it is the other follower that has the entry first,
			// and this one is told when it has come.
			slices.Sort(waits)
			if waits[len(waits)/2] > 20*time.Millisecond { // virtual; the leader's message takes 100 to 200
				t.Errorf("%s has its own write after %v", n.Name(), waits)
			}
		}
	})
}

// TestWhatIsNoCommitmentChangesNothing: of an earlier term, or of an entry that is
// another one here.
func TestWhatIsNoCommitmentChangesNothing(t *testing.T) {
	t.Parallel()
	inLab(t, func(t *testing.T, l *lab) {
		for i := range 3 {
			l.start(i, expecting(3))
		}
		leader := waitLeader(t, l.nodes...)
		put(t, leader, "first")
		at := slices.Index(l.nodes, leader)
		follower, other := l.nodes[(at+1)%3], l.nodes[(at+2)%3]
		holds(t, follower, "first")
		term, index := follower.raft.CurrentTerm(), follower.raft.LastIndex()
		for name, c := range map[string]commitment{
			"an earlier term":     {leader: other.id, term: term - 1, index: index},
			"another entry":       {leader: leader.id, term: term, index: 1}, // which is of term 1
			"an entry to come":    {leader: leader.id, term: term, index: index + 100},
			"of nobody":           {term: term, index: index},
			"a term that is none": {leader: other.id, index: index},
		} {
			if follower.commits.hear(c); c.leader != "" && c.term != 0 {
				if err := follower.tellCommitted(c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if got := follower.commits.get(); got == c {
				t.Errorf("%s: it was taken", name)
			}
			time.Sleep(time.Second)
			if got := follower.raft.CurrentTerm(); got != term || follower.leaderID() != leader.id {
				t.Fatalf("%s: term %d, leader %q", name, got, follower.leaderID())
			}
		}
		put(t, follower, "second")
		holds(t, other, "second")
	})
}
