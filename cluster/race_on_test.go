//go:build race

package cluster

// slower is how much more time the clocks of tests have: the race detector makes
// everything slower, and a follower that is not heard in time is no fault.
const slower = 3
