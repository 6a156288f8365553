package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/proxy/http1"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/upstream"
)

// pieces holds the buffers that answers are relayed with.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// answer sends an answer made here: Response has its status, fields and body.
func (x *exchange) answer() {
	x.Response.Source = plugin.FromKong
	x.filterHeader()
	x.deliver()
}

// deliver sends an answer made here, after the header filters.
func (x *exchange) deliver() {
	x.streaming = false
	body := x.Response.Body
	if x.Request.Method != http.MethodHead {
		body = x.filterBody(body, true)
	}
	x.proxy.headers.mark(x, time.Now())
	length := int64(len(body))
	if !bodyAllowed(x.Response.Status) {
		length, body = -1, nil
	}
	x.sendHead(length)
	if x.Request.Method == http.MethodHead {
		return
	}
	if err := x.send(body); err != nil {
		x.cutAnswer(err)
	}
}

// bodyAllowed says whether an answer of a status can have a body (RFC 9110,
// section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// sendHead sends status and fields. The length is the only thing that frames
// the body; what a service or a plugin says about it is left out.
func (x *exchange) sendHead(length int64) {
	x.headSent = true
	x.responseFields.Del("Content-Length")
	x.responseFields.Del("Transfer-Encoding")
	x.responseFields.Del("Connection")
	x.front.sendHead(x.Response.Status, &x.responseFields, length)
}

// send writes a piece of the answer. The error means that the client has gone.
func (x *exchange) send(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := x.front.write(p); err != nil {
		return errors.Join(errClientGone, err)
	}
	x.bodySent += int64(len(p))
	return nil
}

// relay passes the service's answer to the client.
func (x *exchange) relay(resp *upstream.Response) {
	x.Response.Source = plugin.FromService
	x.streaming = true
	x.takeHeader(resp.Header)
	x.filterHeader()
	if x.Response.Source == plugin.FromKong { // a header filter has answered instead
		x.deliver()
		return
	}
	x.proxy.headers.mark(x, time.Now())
	empty := x.emptyAnswer()
	// HTTP/1.1 has trailers in chunked messages only.
	trailed := x.Request.ProtoMajor == 1 && x.responseFields.Has("Trailer")
	switch {
	case x.outgoing.Method == http.MethodHead && !empty: // a plugin has made it of another method
		resp.ContentLength = 0
	case (x.filtersBody || trailed) && !empty:
		resp.ContentLength = -1
	}
	x.sendHead(resp.ContentLength)
	if empty {
		return
	}
	if err := x.relayBody(resp); err != nil {
		x.cutAnswer(err)
		return
	}
	if resp.Trailer != nil {
		if t := fromHTTP(resp.Trailer()); t.Len() > 0 {
			t.KeepTrailer()
			x.front.sendTrailer(t)
		}
	}
}

// emptyAnswer says whether the service's answer has no body whatever its fields
// say.
func (x *exchange) emptyAnswer() bool {
	return x.Request.Method == http.MethodHead || !bodyAllowed(x.Response.Status)
}

// takeFields makes the service's fields those of the answer, and may leave none
// behind. Fields that plugins have set in the access phase stay as they are.
func (x *exchange) takeFields(from *http1.Fields) {
	removeHopByHop(from)
	into := &x.responseFields
	set := into.Len()
	if set == 0 {
		into.MoveFrom(from)
		return
	}
	for i := range from.Len() {
		f := from.At(i)
		if _, next, ok := into.Next(f.Name, 0); !ok || next > set {
			into.Add(f.Name, f.Value)
		}
	}
}

// takeHeader is takeFields for fields in net/http's form.
func (x *exchange) takeHeader(h http.Header) {
	x.answered.Reset()
	addHTTP(&x.answered, h)
	x.takeFields(&x.answered)
}

// fromHTTP gives fields from net/http's form, by name.
func fromHTTP(h http.Header) *http1.Fields {
	f := new(http1.Fields)
	addHTTP(f, h)
	return f
}

func addHTTP(f *http1.Fields, h http.Header) {
	var space [32]string
	names := space[:0]
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			f.Add(name, value)
		}
	}
}

// relayBody passes the body on piece by piece: the client's pace is the
// service's.
func (x *exchange) relayBody(resp *upstream.Response) error {
	buf := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(buf)
	prompt := x.prompt(resp)
	if prompt && !resp.Ready() {
		if err := x.flush(); err != nil { // the head does not wait for the body
			return err
		}
	}
	for {
		n, err := resp.Body.Read(buf[:])
		last := errors.Is(err, io.EOF)
		if n > 0 || last {
			if serr := x.send(x.filterBody(buf[:n], last)); serr != nil {
				return serr
			}
		}
		switch {
		case last:
			return nil
		case err != nil:
			return err
		case prompt && !resp.Ready():
			if ferr := x.flush(); ferr != nil {
				return ferr
			}
		}
	}
}

// prompt says whether each piece is sent as it comes. With buffering on, an
// answer of known length is sent in as few writes as possible.
func (x *exchange) prompt(resp *upstream.Response) bool {
	return resp.ContentLength < 0 || !x.route.entity.ResponseBuffering ||
		strings.HasPrefix(x.Response.Header.Get("Content-Type"), "text/event-stream")
}

func (x *exchange) flush() error {
	if err := x.front.flush(); err != nil {
		return errors.Join(errClientGone, err)
	}
	return nil
}

// cutAnswer ends an answer that cannot be completed: the client must not take
// the part for the whole.
func (x *exchange) cutAnswer(err error) {
	x.front.abort()
	if errors.Is(err, errClientGone) || x.gone() {
		x.Response.Status = statusClientGone
		return
	}
	x.proxy.log.Warn("answer of service is cut", zap.String("request_id", x.Request.ID),
		zap.String("host", x.Upstream.Host), zap.Int("port", x.Upstream.Port), zap.Error(err))
}
