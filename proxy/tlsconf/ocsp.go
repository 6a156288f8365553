package tlsconf

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// maxAnswer bounds a responder's answer, in bytes; real ones have 500 to
	// 3000.
	maxAnswer = 64 << 10
	// maxResponders is how many of a certificate's responders are asked.
	maxResponders = 2
	// askTimeout is for one question, redirects included.
	askTimeout = 10 * time.Second
	// clockSkew is by how much a responder's clock may be ahead.
	clockSkew = 5 * time.Minute
	// unboundedStaple is how long an answer without an end is used.
	unboundedStaple = 24 * time.Hour
)

// Reasons for having no staple, besides ErrRevoked.
var (
	errNoIssuer  = errors.New("the chain lacks the certificate of the issuer, without which its responder cannot be asked")
	errUnknown   = errors.New("the responder does not know the certificate")
	errStale     = errors.New("the responder's answer is not of now")
	errResponder = errors.New("the answer is signed by a certificate that may not sign it")
	errNotHTTP   = errors.New("the responder's address is not http")
)

// httpClient asks responders where the caller gives no client of its own.
func httpClient() *http.Client {
	return &http.Client{
		Timeout:   askTimeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: askTimeout},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
}

// features is the TLS feature extension (RFC 7633) and the feature in it that
// asks for staples: status_request.
func features() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24} }

const statusRequest = 5

// mustStaple says whether clients are to refuse the certificate without a
// staple.
func mustStaple(leaf *x509.Certificate) bool {
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(features()) {
			continue
		}
		var wanted []int
		_, err := asn1.Unmarshal(extension.Value, &wanted)
		return err == nil && slices.Contains(wanted, statusRequest)
	}
	return false
}

// wantsStaple says whether there is anybody to ask about a pair.
func wantsStaple(p *keyPair) bool { return len(p.bare.Leaf.OCSPServer) > 0 }

// ask gets an answer about a pair from one of its responders. Only one that says
// "good", for now, signed by the issuer or by whom it has appointed, is given.
func ask(ctx context.Context, client *http.Client, p *keyPair, now time.Time) (answer []byte, until time.Time, err error) {
	leaf := p.bare.Leaf
	if len(p.bare.Certificate) < 2 {
		return nil, until, errNoIssuer
	}
	issuer, err := x509.ParseCertificate(p.bare.Certificate[1])
	if err != nil {
		return nil, until, fmt.Errorf("issuer: %w", err)
	}
	question, err := ocsp.CreateRequest(leaf, issuer, nil)
	if err != nil {
		return nil, until, fmt.Errorf("ocsp request: %w", err)
	}
	var errs []error
	for _, responder := range leaf.OCSPServer[:min(len(leaf.OCSPServer), maxResponders)] {
		body, err := post(ctx, client, responder, question)
		if err == nil {
			if until, err = judge(body, leaf, issuer, now); err == nil {
				return body, until, nil
			}
		}
		errs = append(errs, fmt.Errorf("responder %s: %w", responder, err))
		if errors.Is(err, ErrRevoked) {
			break
		}
	}
	return nil, until, errors.Join(errs...)
}

func post(ctx context.Context, client *http.Client, responder string, question []byte) ([]byte, error) {
	if u, err := url.Parse(responder); err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errNotHTTP
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, responder, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answers %d (%s)", resp.StatusCode, kind)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("answers more than %d bytes", maxAnswer)
	}
	return body, err
}

// judge says until when an answer may be sent along.
func judge(body []byte, leaf, issuer *x509.Certificate, now time.Time) (until time.Time, err error) {
	answer, err := ocsp.ParseResponseForCert(body, leaf, issuer)
	if err != nil {
		return until, err
	}
	switch answer.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		return until, fmt.Errorf("%w, since %s", ErrRevoked, answer.RevokedAt.UTC().Format(time.RFC3339))
	default:
		return until, errUnknown
	}
	if !mayAnswer(answer.Certificate, issuer, now) {
		return until, errResponder
	}
	until = answer.NextUpdate
	if until.IsZero() {
		until = now.Add(unboundedStaple)
	}
	if answer.ThisUpdate.After(now.Add(clockSkew)) || !until.After(now) {
		return until, errStale
	}
	return until, nil
}

// mayAnswer says whether a certificate that came with an answer, and that the
// issuer has signed, may sign answers (RFC 6960, section 4.2.2.2). None came
// where the issuer has signed the answer itself.
func mayAnswer(signer, issuer *x509.Certificate, now time.Time) bool {
	if signer == nil || signer.Equal(issuer) {
		return true
	}
	return slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) && !now.Before(signer.NotBefore) && now.Before(signer.NotAfter)
}
