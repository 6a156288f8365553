package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluicegate/sluice/internal/certs"
)

const (
	defaultAdminURL = "http://localhost:8001"
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 256 << 20
)

// tokenVariable has the token that commands send.
const tokenVariable = "SLUICE_ADMIN_TOKEN"

// adminOptions are the flags by which commands find a node's Admin API and get in.
type adminOptions struct {
	url               string
	tokenFile, caFile string
	cert, key         string
	insecure          bool
}

// bind adds the flags.
func (o *adminOptions) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.url, "admin", defaultAdminURL, "URL of a node's Admin API")
	o.bindAccess(flags)
}

// bindAccess adds all but the URL. The token itself is no flag: everybody on the host
// could read it from the list of processes.
func (o *adminOptions) bindAccess(flags *pflag.FlagSet) {
	flags.StringVar(&o.tokenFile, "token-file", "", "file with the token for the Admin API (default: the variable "+tokenVariable+")")
	flags.StringVar(&o.caFile, "ca-file", "", "file with the certificates (PEM) that an https Admin API is verified with (default: the system's)")
	flags.StringVar(&o.cert, "client-cert", "", "file with a client certificate (PEM) for the Admin API, instead of a token")
	flags.StringVar(&o.key, "client-key", "", "file with the key of --client-cert")
	flags.BoolVar(&o.insecure, "insecure", false, "do not verify the certificate of an https Admin API")
}

// client makes the client that the flags describe.
func (o *adminOptions) client() (*adminClient, error) {
	u, err := url.Parse(o.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--admin %q is not a URL like %s", o.url, defaultAdminURL)
	}
	token := strings.TrimSpace(os.Getenv(tokenVariable))
	if o.tokenFile != "" {
		data, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		if token = strings.TrimSpace(string(data)); token == "" {
			return nil, fmt.Errorf("--token-file %s is empty", o.tokenFile)
		}
	}
	security, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: security, ForceAttemptHTTP2: true}
	return &adminClient{base: strings.TrimSuffix(o.url, "/"), token: token, http: &http.Client{
		Timeout: 60 * time.Second, Transport: transport,
		// The API never redirects; whoever does must not be sent the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (o *adminOptions) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.insecure}
	if o.caFile != "" {
		pool, _, err := certs.Trust([]string{o.caFile})
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		c.RootCAs = pool
	}
	if (o.cert == "") != (o.key == "") {
		return nil, errors.New("--client-cert and --client-key go together")
	}
	if o.cert != "" {
		pair, err := certs.Pair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("--client-cert: %w", err)
		}
		c.Certificates = []tls.Certificate{*pair}
	}
	return c, nil
}

// adminClient talks to the Admin API of a node.
type adminClient struct {
	base  string
	token string // "" for none
	http  *http.Client
}

// adminError is an answer that is not a success.
type adminError struct {
	status  int
	message string
	body    []byte
}

func (e *adminError) Error() string {
	return fmt.Sprintf("the Admin API answered %d: %s", e.status, e.message)
}

// call sends one request with body as JSON (nil: none) and decodes the answer
// into out (nil: dropped). A status of 300 or above is an *adminError.
func (c *adminClient) call(ctx context.Context, method, path string, body, out any) error {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no answer from the Admin API at %s (is the node running? --admin names another): %w", c.base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("answer of the Admin API: %w", err)
	}
	if resp.StatusCode >= 300 {
		return &adminError{status: resp.StatusCode, message: messageOf(data), body: data}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("answer of the Admin API to %s %s: %w", method, path, err)
	}
	return nil
}

// messageOf takes the message out of an error body, else gives its beginning.
func messageOf(body []byte) string {
	var envelope struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &envelope) == nil && envelope.Message != "" {
		return envelope.Message
	}
	return strings.TrimSpace(string(body[:min(len(body), 200)]))
}
