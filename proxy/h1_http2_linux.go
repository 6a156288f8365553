package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/sluicegate/sluice/internal/evloop"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// forwardHTTP2 asks a service that speaks HTTP/2, through net/http. That waits,
// and so does everything up to the end of the answer.
func (x *h1) forwardHTTP2() {
	x.c.task.Detach()
	x.blocking = true
	x.c.state = connAnswer
	if x.outgoing.Body == nil {
		x.body.polling = false
		x.ask(x.proxy.client.Do)
	} else {
		x.askDuplex()
	}
	x.blocking = false
	if x.aborted {
		x.end()
		return
	}
	if x.down.chunked && !x.down.marked {
		x.frameEnd()
	}
}

// askDuplex is ask for a request whose body is streamed.
func (x *h1) askDuplex() {
	d := &duplex{x: x, source: x.outgoing.Body}
	d.changed.L = &d.mu
	d.body.init(&x.c.task)
	x.duplex = d
	defer d.end()
	x.ask(d.do)
}

// duplex has a goroutine of its own for net/http, which waits for a body and for
// an answer at once. The connection to the client stays with the owner of the
// task: it moves the body while it waits for the answer, or for the client to
// take more of that. Where nothing else is said, methods are the owner's.
type duplex struct {
	x      *h1
	source io.Reader
	body   bodyPipe
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // on mu, for the goroutine
	interims []interimAnswer
	answer   *upstream.Response
	err      error
	answered bool
	closing  bool
	// into is what the goroutine is to read a piece of the answer into, nil for
	// nothing; got and readErr say what became of it.
	into    []byte
	got     int
	readErr error
}

type interimAnswer struct {
	status int
	header http.Header
}

// do is upstream.Client's Do. The context is not used: the owner watches the
// client itself.
func (d *duplex) do(_ context.Context, q *upstream.Request) (*upstream.Response, error) {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	q.Body, q.StopBody = &d.body, d.body.stop
	send := q.Interim
	q.Interim = d.interim
	d.asking.Go(func() { d.ask(ctx, q) })
	err := d.await(func() bool { return d.answered }, send)
	if err != nil {
		d.cancel()
		d.end()
		if d.answer != nil {
			d.answer.Close()
		}
		return nil, err
	}
	if d.err != nil {
		return nil, d.err
	}
	resp := *d.answer
	resp.Body = d
	return &resp, nil
}

// ask is the goroutine.
func (d *duplex) ask(ctx context.Context, q *upstream.Request) {
	resp, err := d.x.proxy.client.Do(ctx, q)
	d.tell(func() { d.answer, d.err, d.answered = resp, err, true })
	if err != nil {
		return
	}
	for {
		into := d.awaitRead()
		if into == nil {
			return
		}
		n, err := resp.Body.Read(into)
		d.tell(func() { d.into, d.got, d.readErr = nil, n, err })
	}
}

// tell changes something that the owner may wait for; for the goroutine.
func (d *duplex) tell(change func()) {
	d.mu.Lock()
	change()
	d.mu.Unlock()
	d.x.c.task.Poke()
}

// interim takes an interim answer from the goroutine.
func (d *duplex) interim(status int, header http.Header) {
	d.tell(func() { d.interims = append(d.interims, interimAnswer{status, header}) })
}

// awaitRead gives what a piece of the answer is to be read into, nil at the end;
// for the goroutine.
func (d *duplex) awaitRead() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.into == nil && !d.closing {
		d.changed.Wait()
	}
	if d.closing {
		return nil
	}
	return d.into
}

// Read implements io.Reader for the answer's body.
func (d *duplex) Read(p []byte) (int, error) {
	d.mu.Lock()
	d.into = p
	d.changed.Broadcast()
	d.mu.Unlock()
	if err := d.await(func() bool { return d.into == nil }, nil); err != nil {
		d.cancel()
		d.end() // p is not ours
		return 0, err
	}
	return d.got, d.readErr
}

// await moves the body until something is so, which is asked under the lock, and
// passes on interim answers that come before it. The error means that the client
// has gone.
func (d *duplex) await(so func() bool, send func(int, http.Header)) error {
	x := d.x
	for {
		d.pump()
		d.mu.Lock()
		interims, ready := d.interims, so()
		d.interims = nil
		d.mu.Unlock()
		for _, i := range interims {
			send(i.status, i.header)
		}
		switch {
		case x.aborted || x.gone():
			return errLeft
		case ready:
			return nil
		case len(interims) > 0:
			continue // it took a while
		}
		if !x.headSent {
			x.flushOut() // a 100
		}
		x.setDeadline()
		x.c.task.Wait()
	}
}

// pump moves on what has come of the body, if the service can take it.
func (d *duplex) pump() {
	x := d.x
	if x.overdue(waitClientRead) {
		d.failed(x.body.timedOut())
	}
	for d.body.wants() {
		if x.expect && x.headSent && !x.body.continued {
			return // answered before the client was asked for it
		}
		n, err := d.source.Read(d.body.room())
		if n == 0 && errors.Is(err, evloop.ErrAgain) {
			x.wait(waitClientRead, x.proxy.cfg.BodyTimeout)
			return
		}
		if err != nil && !errors.Is(err, io.EOF) {
			d.failed(err)
			return
		}
		x.arrived(waitClientRead)
		d.body.put(n, err)
	}
	x.arrived(waitClientRead)
}

// failed ends a body that is not what it should be.
func (d *duplex) failed(err error) {
	x := d.x
	x.keepAlive = false
	x.arrived(waitClientRead)
	if x.c.conn.HungUp() {
		err = errLeft
	}
	d.body.put(0, err)
}

// end waits for the goroutine. The answer has been closed, or its context
// cancelled. It may be called again.
func (d *duplex) end() {
	d.body.stop()
	d.mu.Lock()
	d.closing = true
	d.changed.Broadcast()
	d.mu.Unlock()
	d.asking.Wait()
	d.body.release()
	if d.cancel != nil {
		d.cancel()
	}
	d.x.duplex = nil
	d.x.arrived(waitClientRead)
}

// bodyPipe is a body between the owner of a task, who must not wait for the
// service, and a goroutine that waits for the client. It holds one piece.
type bodyPipe struct {
	task *evloop.Task

	mu      sync.Mutex
	changed sync.Cond
	buf     *[uploadPiece]byte // from the pool
	at, n   int                // of buf, not taken yet
	wanted  bool               // someone has asked for it
	ended   error              // after the piece
}

func (b *bodyPipe) init(t *evloop.Task) {
	b.task = t
	b.changed.L = &b.mu
	b.buf = uploadPieces.Get().(*[uploadPiece]byte)
}

// Read implements io.Reader, for the goroutine.
func (b *bodyPipe) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.at == b.n {
		if b.ended != nil {
			return 0, b.ended
		}
		if !b.wanted {
			b.wanted = true
			b.task.Poke()
		}
		b.changed.Wait()
	}
	n := copy(p, b.buf[b.at:b.n])
	if b.at += n; b.at < b.n {
		return n, nil
	}
	if b.ended == nil {
		b.task.Poke()
	}
	return n, b.ended
}

// stop makes Read fail. Safe for concurrent use.
func (b *bodyPipe) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.n
	b.ended = errBodyStopped
	b.changed.Broadcast()
}

// wants says whether there is room for a piece that someone waits for.
func (b *bodyPipe) wants() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wanted && b.at == b.n && b.ended == nil
}

// room is where a piece that is wanted goes, until put says how long it is.
func (b *bodyPipe) room() []byte { return b.buf[:] }

func (b *bodyPipe) put(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		b.at, b.n, b.ended = 0, n, err
		b.changed.Broadcast()
	}
}

// release gives the buffer back. Nobody reads any more.
func (b *bodyPipe) release() {
	if b.buf != nil {
		uploadPieces.Put(b.buf)
		b.buf = nil
	}
}
