package escrow

import "errors"

// ErrNoQuorum says that the log has had no leader for some seconds, so that a
// limit which is not fault tolerant cannot decide.
var ErrNoQuorum = errors.New("limiter: no quorum")

// Decision is the answer to one request.
type Decision struct {
	// Admitted says that the request took one token of every limited period. A
	// request that is not admitted took none.
	Admitted bool
	// Refused is the first of the limit's rates that had no token; only for a
	// refusal.
	Refused int
	// Remaining is what is left of each rate's window after this request, as far as this node has heard: other nodes tell at once of
	// budgets up to 100, and every quarter of a second of larger ones.
	Remaining [MaxRates]int64
	// Reset is the time to the end of each rate's window, in seconds rounded up,
	// at least 1; of a sliding window, until all of it is back if the request was
	// admitted, and else until the next token is.
	// Of a bucket, until it is full, or somebody has the next token.
	Reset [MaxRates]int64
	// Degraded says that the decision was made without a quorum.
	Degraded bool
	// Hold asks to decide again when this much of the own clock has passed: the
	// cluster's time is not known, or not well enough to say which window it is.
	Hold int64
	// Err says why nothing could be decided.
	Err error
}
