package escrow

import (
	"testing"

	"github.com/sluicegate/sluice/limiter/cells"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// TestShareWithoutQuorum: a process that has lost its cells with its machine, and
// finds no quorum, takes its node's share of windows that began after it did, and
// nothing of the one that it began in.
func TestShareWithoutQuorum(t *testing.T) {
	at := int64(1_781_524_830) * second
	roster := []ledger.Member{{Node: "n1", Incarnation: 1}, {Node: "n2", Incarnation: 2}}
	c := New(Config{
		Node: "n1", Secret: NewSecret("quorum"), From: Heritage{Incarnation: 9}, Session: 1, Table: cells.InMemory(64),
		Random: func() uint64 { return 10 }, Kick: func() {},
	})
	c.Restore(func() (int64, *ledger.Rosters) {
		return at - 600*second, &ledger.Rosters{History: []ledger.Roster{{Since: at - 3600*second, Members: roster}}}
	})
	c.Clock.Sync(0, 0, at)
	c.SetLeaderless(true)
	tolerant := perPeriod(window.Minute, 10)
	tolerant.FaultTolerant = true
	admitted := func(mono int64, lim *Limit) (n int, err error) {
		for range 20 {
			var d Decision
			if tk := c.Take(mono, lim, "key", &d); tk != nil {
				c.Settle(mono, tk, &d)
			}
			if d.Admitted {
				n++
			}
			err = d.Err
		}
		return n, err
	}
	if n, err := admitted(0, tolerant); n != 0 || err != nil {
		t.Errorf("the window it began in: %d admitted, %v", n, err)
	}
	if n, err := admitted(60*second, tolerant); n != 5 || err != nil {
		t.Errorf("the next one: %d admitted of a share of 5, %v", n, err)
	}
	strict := perPeriod(window.Minute, 10)
	strict.ID = "strict"
	strict.Prepare()
	if n, err := admitted(60*second, strict); n != 0 || err != ErrNoQuorum {
		t.Errorf("a limit that tolerates no fault: %d admitted, %v", n, err)
	}
}
