package upstream

import (
	"context"
	"fmt"
)

// exchange is one request on one connection, up to Response.Close.
type exchange struct {
	client *client
	conn   *conn
	req    *Request
	up     upload
	// stop ends the watch on the caller's context; false: it was done.
	stop func() bool
	body body
	// last says that the connection carries no further request.
	last bool
}

// exchange sends a request on a connection and reads the head of the answer.
// touched says that the request's body may have been read from. After an error
// the connection is closed.
func (c *client) exchange(ctx context.Context, cn *conn, req *Request) (resp *Response, touched bool, err error) {
	cn.begin(req.Timeouts)
	x := &exchange{client: c, conn: cn, req: req, stop: context.AfterFunc(ctx, cn.cut)}
	x.up.conn, x.up.req = cn, req
	resp, err = x.run()
	if err == nil {
		return resp, x.up.started(), nil
	}
	// The upload's own reason, if it was the one to close the connection. What
	// comes after the failure is not the reason for it.
	if cause := x.up.cause.Load(); cause != nil {
		err = *cause
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	cn.cut()
	x.up.end()
	x.stop()
	return nil, x.up.started(), err
}

func (x *exchange) run() (*Response, error) {
	if err := x.client.writeHead(x.conn, x.req); err != nil {
		if !x.conn.sent {
			return nil, err
		}
		// The service stopped reading in the middle: it may have answered.
		x.last = true
	} else if x.req.Body != nil && (!x.req.Expect || x.conn.silent(x.req.ContinueWait())) {
		x.up.start()
	}
	h, err := x.awaitFinal()
	if err != nil {
		return nil, err
	}
	resp := &Response{Status: h.status, Header: h.header, close: x.close, ready: x.ready}
	if h.status == 101 {
		x.last = true
		resp.Tunnel = &Tunnel{conn: x.conn}
		resp.Body = noBody{}
		return resp, nil
	}
	x.body.frame(x.conn, h)
	x.last = x.last || h.close || x.body.untilClose
	resp.Body, resp.ContentLength, resp.Trailer = &x.body, x.body.length, x.body.trailers
	return resp, nil
}

// awaitFinal reads heads up to that of the final answer.
func (x *exchange) awaitFinal() (*head, error) {
	for interims := 0; ; interims++ {
		h, err := x.conn.readHead(x.req.Method)
		if err != nil {
			return nil, err
		}
		kind, err := x.req.Head(h.status, interims, h.header.Get("Upgrade"))
		switch {
		case err != nil:
			return nil, err
		case kind == ContinueHead:
			if x.req.Body != nil && !x.up.started() && !x.last {
				x.up.start()
			}
		case kind != InterimHead:
			x.conn.headLeft = noHeadLimit
			return h, nil
		case x.req.Interim != nil:
			x.req.Interim(h.status, h.header)
		}
	}
}

func (x *exchange) ready() bool { return x.conn.reader.Buffered() > 0 }

func (x *exchange) close() {
	unsent := x.req.Body != nil && !x.up.complete()
	if unsent || !x.body.ended || x.body.exceeded {
		x.last = true
		x.conn.cut() // what is still going on fails
	}
	x.up.end()
	if !x.stop() || x.last || x.conn.requests >= x.client.pool.keep.MaxRequests || x.conn.surplus() {
		x.conn.cut()
		return
	}
	x.client.pool.put(x.conn)
}
