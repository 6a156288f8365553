package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultAdminURL = "http://localhost:8001"
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 256 << 20
)

// adminClient talks to the Admin API of a node.
type adminClient struct {
	base string
	http *http.Client
}

func newAdminClient(base string) (*adminClient, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--admin %q is not a URL like %s", base, defaultAdminURL)
	}
	return &adminClient{base: strings.TrimSuffix(base, "/"), http: &http.Client{Timeout: 60 * time.Second}}, nil
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
