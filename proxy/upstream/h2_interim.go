package upstream

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
)

// interims bounds the interim answers of an exchange and brings them to the
// goroutine that waits for it: net/http tells of them on the one that reads for
// all exchanges of a connection, which must not wait for a client.
type interims struct {
	count atomic.Int64
	told  chan interim
}

type interim struct {
	status int
	header http.Header
}

func newInterims() *interims { return &interims{told: make(chan interim, maxInterim)} }

// noUpgrade is any request over HTTP/2, as far as interim answers go.
var noUpgrade Request

// traced makes a context's exchanges tell of interim answers.
func (i *interims) traced(ctx context.Context, watch *watch) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			watch.moved()
			kind, err := noUpgrade.Head(status, int(i.count.Add(1)-1), "")
			if err == nil && kind == InterimHead { // net/http sends the body itself
				i.told <- interim{status, http.Header(header)} // there is room
			}
			return err
		},
	})
}

// roundTrip is the transport's, and gives pass the interim answers meanwhile.
func (i *interims) roundTrip(t *http.Transport, req *http.Request, pass func(int, http.Header)) (*http.Response, error) {
	var answer *http.Response
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err = t.RoundTrip(req)
	}()
	for {
		select {
		case in := <-i.told:
			pass(in.status, in.header)
			continue
		case <-done:
		}
		for len(i.told) > 0 {
			in := <-i.told
			pass(in.status, in.header)
		}
		return answer, err
	}
}
