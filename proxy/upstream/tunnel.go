package upstream

// Tunnel is a connection after a switch of protocols. Reading and writing may
// go on in two goroutines. It ends with Response.Close.
type Tunnel struct{ conn *conn }

// Read reads what the service sends. It waits for the read timeout at most;
// the error wraps ErrTimeout then, and reading may go on.
func (t *Tunnel) Read(p []byte) (int, error) { return t.conn.reader.Read(p) }

// Write writes all of p, and waits for the write timeout at most.
func (t *Tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// CloseWrite tells the service that nothing more follows.
func (t *Tunnel) CloseWrite() error {
	if half, ok := t.conn.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return t.conn.Close()
}

// Cut closes the connection at once. Safe for concurrent use.
func (t *Tunnel) Cut() { t.conn.cut() }
