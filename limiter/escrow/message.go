package escrow

import "github.com/sluicegate/sluice/limiter/ledger"

// maxItems bounds the takes and the news of one request.
const maxItems = 512

// Request is what a node wants of another and tells it. It has one outstanding
// to each, and repeats it under its Seq until it is answered or given up.
type Request struct {
	From ledger.Member
	To   string
	// Session is higher than those of earlier processes of the incarnation, Seq
	// rises from one to the next.
	Session uint64
	Seq     uint64
	Takes   []Take
	News    []News
}

// Take asks for tokens of the other node's cell.
type Take struct {
	Budget ledger.Budget
	Limit  ledger.Limit
	Want   int64
	// Waiting is the part of Want that requests wait for.
	Waiting int64
	Rate    float64 // the asking node's demand, requests a second
	// Life is how long what is lent of a bucket is good, in microseconds.
	Life int64

	until int64 // the end of that, by the asking node's clock
}

// News tells that a node has spent more of a window.
type News struct {
	Budget ledger.Budget
	Limit  ledger.Limit
	More   int64
}

// Reply answers a Request, its Gives in the order of the Takes.
type Reply struct {
	Session uint64
	Seq     uint64
	Gives   []Give
}

// Give answers a Take.
type Give struct {
	Granted int64
	Left    int64 // what the giver still has
	Spent   int64 // what it has spent in the window
	// Pending says that the giver does not know yet whether it has a share.
	Pending bool
	// Next is how long it is until the giver has a token of a bucket again if it
	// has none, 0 if it has no part; in microseconds.
	Next int64
}
