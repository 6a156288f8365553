package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// tunnel connects client and service after a switch of protocols, until both
// have ended, one has failed, nothing has moved for the service's read timeout
// (as in nginx), or the node stops.
func (x *exchange) tunnel(resp *upstream.Response) {
	x.Response.Source = plugin.FromService
	x.streaming = true
	x.takeHeader(resp.Header)
	x.filterHeader()
	x.proxy.headers.mark(x, time.Now())
	x.responseFields.Set("Connection", "Upgrade")
	x.responseFields.Set("Upgrade", x.upgrade)
	client, err := x.front.upgrade(&x.responseFields, x.route.timeouts.Read)
	if err != nil {
		x.cutAnswer(errors.Join(errClientGone, err))
		return
	}
	x.headSent = true
	stop := context.AfterFunc(x.Context(), func() { client.cut(); resp.Tunnel.Cut() })
	defer stop()
	defer client.cut()

	t := &tunnel{idle: x.route.timeouts.Read}
	t.moved.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	wg.Go(func() { t.copy(resp.Tunnel, client, client.cut, resp.Tunnel.Cut) })
	x.bodySent = t.copy(client, resp.Tunnel, client.cut, resp.Tunnel.Cut)
	wg.Wait()
	x.proxy.log.Debug("tunnel closed", zap.String("request_id", x.Request.ID))
}

// tunnel is the state that both directions share.
type tunnel struct {
	idle  time.Duration
	moved atomic.Int64 // when a byte moved last, unix nanoseconds
}

type halfCloser interface {
	io.Writer
	CloseWrite() error
}

// copy passes on one direction. The end of it is passed on too; a failure cuts
// both directions.
func (t *tunnel) copy(to halfCloser, from io.Reader, cut ...func()) (total int64) {
	buf := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			t.moved.Store(time.Now().UnixNano())
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			} else {
				total += int64(n)
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, upstream.ErrTimeout) && time.Since(time.Unix(0, t.moved.Load())) < t.idle:
			// This direction is quiet, the other is not.
		case errors.Is(err, io.EOF) && to.CloseWrite() == nil:
			return total
		default:
			for _, f := range cut {
				f()
			}
			return total
		}
	}
}
