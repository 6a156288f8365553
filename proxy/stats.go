package proxy

import "sync/atomic"

// Stats are the counts of GET /status, in nginx's words.
type Stats struct {
	// ConnectionsAccepted and ConnectionsHandled count since the start; they
	// are equal, since no connection is refused.
	ConnectionsAccepted, ConnectionsHandled int64
	// ConnectionsActive are open now, waiting ones included.
	ConnectionsActive int64
	// ConnectionsReading are open and have sent no whole head yet,
	// ConnectionsWriting have a request in work, ConnectionsWaiting are idle
	// between two requests.
	ConnectionsReading, ConnectionsWriting, ConnectionsWaiting int64
	// TotalRequests counts the exchanges that have ended and those in work.
	TotalRequests int64
}

// connCounts is kept by the fronts.
type connCounts struct {
	accepted, active, waiting atomic.Int64
}

// Stats gives the counts of now. They are taken one after the other, so under
// load they may be off by the requests of that moment.
func (p *Proxy) Stats() Stats {
	active, waiting, writing := p.conns.active.Load(), p.conns.waiting.Load(), p.inFlight.sum()
	return Stats{
		ConnectionsAccepted: p.conns.accepted.Load(), ConnectionsHandled: p.conns.accepted.Load(),
		ConnectionsActive: active, ConnectionsWaiting: waiting, ConnectionsWriting: writing,
		ConnectionsReading: max(0, active-waiting-writing),
		TotalRequests:      int64(p.metrics.requests.sum()) + writing,
	}
}
