package limiter

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

// takeShare gives the cell, once in a window, this node's share of what was
// left when the leader was lost, and reports whether the cell has a token.
func (c *core) takeShare(cl *cell, lost *loss) bool {
	if cl.hasShare {
		if cl.shareSince != lost.since {
			cl.share = 0 // the pool behind it may be gone by now
		}
		return cl.share > 0
	}
	cl.hasShare, cl.shareSince = true, lost.since
	pool, ok := c.known(cl.acct.limit, cl.acct.key, cl.period, cl.start/second)
	switch {
	case ok:
	case lost.blind && cl.start < lost.since:
		// An earlier run may have spent all of it and left no trace here.
		return false
	default:
		pool = cl.max
	}
	cl.share = shareOf(min(pool, cl.max), c.node, cl.acct.key, c.voters())
	return cl.share > 0
}

// shareOf is node's part of pool among the voters: all parts add up to pool.
// What cannot be divided goes to the voters that follow a place drawn from the
// key. A node that is no voter has none.
func shareOf(pool int64, node, key string, voters []string) int64 {
	voters = slices.Sorted(slices.Values(voters))
	rank := slices.Index(voters, node)
	if rank < 0 || pool <= 0 {
		return 0
	}
	n := int64(len(voters))
	place := (int64(rank) + int64(xxhash.Sum64String(key)%uint64(n))) % n
	share := pool / n
	if place < pool%n {
		share++
	}
	return share
}
