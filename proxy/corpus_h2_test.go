package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/sluicegate/sluice/internal/corpus"
)

// TestCorpusAnswersHTTP2 is TestCorpusAnswers for clients of HTTP/2, whose
// requests do not go through the engine, with and without TLS on both sides.
func TestCorpusAnswersHTTP2(t *testing.T) {
	cases, err := corpus.Load("testdata/corpus/responses")
	if err != nil {
		t.Fatal(err)
	}
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			w, roots := secure(t)
			upstreams := map[string]*corpus.Upstream{}
			for i := range cases {
				upstreams[cases[i].Name] = corpusService(w, &cases[i], corpusHost(&cases[i]), encrypted)
			}
			w.start()
			runCorpus(t, "testdata/corpus/responses", 100, func(t *testing.T, c *corpus.Case, done func(*corpus.Seen, error)) {
				ctx, cancel := context.WithTimeout(context.Background(), 12*corpusPatience)
				defer cancel()
				u := upstreams[c.Name]
				a := corpusH2{ctx: ctx, host: corpusHost(c), to: "http://" + w.proxy.Addrs()[3].String()}
				if encrypted {
					a.to = "https://" + w.proxy.Addrs()[2].String()
				}
				seen := a.answer(t, roots, c, u)
				seen.Upstream, _ = u.Records()
				done(seen, corpus.JudgeAnswer(c, seen))
			})
			w.awaitInFlight(0)
		})
	}
}

// corpusHost is a host of a case's own: all cases share one proxy.
func corpusHost(c *corpus.Case) string { return fmt.Sprintf("%x.example", c.Name) }

// corpusService puts the routes of a case for a host, and begins it.
func corpusService(w *world, c *corpus.Case, host string, encrypted bool) *corpus.Upstream {
	w.t.Helper()
	u, scheme := &corpus.Upstream{}, "http://"
	if encrypted {
		certificate, _ := w.config.Certificate(nil)
		u.TLS, scheme = &tls.Config{Certificates: []tls.Certificate{*certificate}}, "https://"
	}
	if err := u.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(u.Stop)
	u.Begin(c)
	timeout := int(corpusPatience.Milliseconds())
	for path, read := range map[string]int{corpus.FollowUpTarget: timeout, "/": timeout} {
		if c.Then == corpus.Hold && path == "/" {
			read = 50
		}
		service := w.service(scheme+u.Addr().String(), object{"read_timeout": read, "retries": 0})
		w.route(service, object{"hosts": []string{host}, "paths": []string{path}, "strip_path": false})
	}
	return u
}

// corpusH2 asks as a client of HTTP/2.
type corpusH2 struct {
	ctx      context.Context
	to, host string
	seen     corpus.Seen
}

// answer plays a case. A request that is reset leaves the connection to others.
func (a *corpusH2) answer(t *testing.T, roots *x509.CertPool, c *corpus.Case, u *corpus.Upstream) *corpus.Seen {
	connect := func() *http.Client {
		return protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP2(true); p.SetUnencryptedHTTP2(true) })
	}
	a.seen.End = corpus.EndOpen
	ask := c.Ask
	if len(ask) == 0 {
		ask = []byte("GET /case HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	client := connect()
	if got := a.ask(client, ask); got != nil {
		a.seen.Answers = append(a.seen.Answers, got)
	}
	u.Later(a.ctx)
	further := []byte("GET " + corpus.FollowUpTarget + " HTTP/1.1\r\nHost: x\r\n\r\n")
	if a.seen.FollowUp = a.ask(client, further); a.seen.FollowUp == nil {
		a.seen.FollowUp = &corpus.AnswerSeen{}
	}
	if a.seen.Next = a.ask(connect(), further); a.seen.Next == nil {
		t.Log(a.seen.Detail)
	}
	return &a.seen
}

// ask sends what is written as a request of HTTP/1.1; nil: no head has come.
func (a *corpusH2) ask(client *http.Client, wire []byte) *corpus.AnswerSeen {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		a.ended(err)
		return nil
	}
	length := req.ContentLength
	req, err = http.NewRequestWithContext(a.ctx, req.Method, a.to+req.RequestURI, req.Body)
	if err != nil {
		a.ended(err)
		return nil
	}
	req.Host, req.ContentLength = a.host, length
	resp, err := client.Transport.RoundTrip(req)
	if err != nil {
		a.ended(err)
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusNotModified && len(body) == 0 {
		err = nil // the client waits for what Content-Length announces
	}
	if err != nil {
		a.ended(err)
	}
	return &corpus.AnswerSeen{Status: resp.StatusCode, Whole: err == nil, Message: corpus.Message{
		Fields: corpusFields(resp.Header), Body: body, Trailer: corpusFields(resp.Trailer)}}
}

func (a *corpusH2) ended(err error) {
	if a.seen.Detail = err.Error(); errors.Is(err, context.DeadlineExceeded) {
		a.seen.End = corpus.EndSilent
	}
}

func corpusFields(h http.Header) (all []corpus.Field) {
	for name, values := range h {
		for _, v := range values {
			all = append(all, corpus.Field{Name: name, Value: v})
		}
	}
	return all
}
