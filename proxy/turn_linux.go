package proxy

// A connection's turn on its loop ends after so much work, though its sockets
// would let it go on: others have theirs first (evloop.Task.Yield). Where both
// sides are fast, nothing else ends the moving. Turns of 256 KiB made a small
// request next to them wait twice as long, and bulk no faster
// (BenchmarkBesideBulk).
const turnBytes = 64 << 10

// headWork is what the way of a request through the proxy counts as, besides its
// bytes.
const headWork = 8 << 10

// readWork is what a read counts as that may bring a single byte.
const readWork = 1 << 10

// worked counts what a turn has done, in bytes read.
func (c *clientConn) worked(n int) { c.work += n }

// tired says that the turn has lasted long enough.
func (c *clientConn) tired() bool { return c.work >= turnBytes }
