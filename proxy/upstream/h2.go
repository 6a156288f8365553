package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// h2 speaks HTTP/2 to gRPC services, through net/http.
type h2 struct {
	clear, secure, verified *http.Transport
}

func newH2(cfg Config) *h2 {
	transport := func(verify, encrypted bool) *http.Transport {
		t := &http.Transport{
			DisableCompression: true, // what the service sends goes through as it is
			IdleConnTimeout:    cfg.Keepalive.complete().IdleTimeout,
			Protocols:          new(http.Protocols),
			TLSClientConfig: &tls.Config{RootCAs: cfg.RootCAs, InsecureSkipVerify: !verify,
				MinVersion: tls.VersionTLS12},
		}
		t.Protocols.SetHTTP2(encrypted)
		t.Protocols.SetUnencryptedHTTP2(!encrypted)
		return t
	}
	return &h2{clear: transport(false, false), secure: transport(false, true), verified: transport(true, true)}
}

func (h *h2) close() {
	for _, t := range []*http.Transport{h.clear, h.secure, h.verified} {
		t.CloseIdleConnections()
	}
}

// watch cancels an exchange in which nothing has moved for a while.
type watch struct {
	timeout time.Duration
	timer   *time.Timer
}

func (w *watch) moved() { w.timer.Reset(w.timeout) }

// watchedReader is a body whose progress keeps an exchange alive.
type watchedReader struct {
	io.Reader
	watch *watch
	wrap  error // for errors of the request's body
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.watch.moved()
	if err != nil && r.wrap != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", r.wrap, err)
	}
	return n, err
}

// requestBody lets the transport say when it has done with a body, which it
// may read after RoundTrip has returned.
type requestBody struct {
	watchedReader
	once sync.Once
	done chan struct{}
}

func (b *requestBody) Close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

func (h *h2) do(ctx context.Context, req *Request) (*Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{timeout: req.Read}
	w.timer = time.AfterFunc(req.Read, func() {
		cancel(fmt.Errorf("%w: nothing moved for %v", ErrTimeout, req.Read))
	})
	out, body := h.request(ctx, req, w)
	end := func() {
		w.timer.Stop()
		cancel(context.Canceled)
		if body != nil {
			req.StopBody()
			<-body.done
		}
	}
	transport := h.clear
	switch {
	case req.TLS && req.Verify:
		transport = h.verified
	case req.TLS:
		transport = h.secure
	}
	answer, err := transport.RoundTrip(out)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		end()
		return nil, dialError(err, req)
	}
	w.moved()
	answer.Header.Del("Transfer-Encoding")
	return &Response{
		Status: answer.StatusCode, Header: answer.Header, ContentLength: answer.ContentLength,
		Body:    &watchedReader{Reader: answer.Body, watch: w},
		Trailer: func() http.Header { return answer.Trailer },
		close: func() {
			// An error in closing what is given up means nothing.
			_ = answer.Body.Close()
			end()
		},
	}, nil
}

func (h *h2) request(ctx context.Context, req *Request, w *watch) (*http.Request, *requestBody) {
	scheme := "http"
	if req.TLS {
		scheme = "https"
	}
	header := http.Header{}
	for i := range req.Header.Len() {
		if f := req.Header.At(i); !isFraming(f.Name) {
			header.Add(f.Name, f.Value)
		}
	}
	if len(header["User-Agent"]) == 0 {
		header["User-Agent"] = []string{""} // or else net/http names itself
	}
	out := (&http.Request{
		Method: req.Method, Host: req.Authority, Header: header,
		URL: &url.URL{Scheme: scheme, Host: net.JoinHostPort(req.Host, strconv.Itoa(req.Port)), Opaque: req.URI},
	}).WithContext(ctx)
	switch {
	case req.Whole != nil:
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(req.Whole)), int64(len(req.Whole))
	case req.Body != nil:
		body := &requestBody{watchedReader: watchedReader{Reader: req.Body, watch: w, wrap: ErrBody}, done: make(chan struct{})}
		out.Body, out.ContentLength = body, req.ContentLength
		return out, body
	}
	return out, nil
}
