package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// apiKey is the key-auth credential that every request of the works with
// plugins has, also those to nginx.
const apiKey = "d3b07384d113edec49eaa6238ad5ff00"

func startSluice(ctx context.Context, b *bench, s setup) (*target, error) {
	t, err := b.newTarget("sluice", s)
	if err != nil {
		return nil, err
	}
	t.admin = "http://" + t.inner[0]
	access := "off"
	if s.AccessLog {
		access = filepath.Join(t.dir, "access.log")
	}
	path, err := filepath.Abs(b.opts.sluice)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "start")
	cmd.Dir = t.dir
	cmd.Env = append(withoutSettings(os.Environ()),
		"KONG_PROXY_LISTEN="+t.plain+" reuseport backlog=4096, "+t.tls+" http2 ssl reuseport backlog=4096",
		"KONG_ADMIN_LISTEN="+t.inner[0], "KONG_STATUS_LISTEN=off", "SLUICE_CLUSTER_LISTEN="+t.inner[1],
		"SLUICE_DATA_DIR="+filepath.Join(t.dir, "data"), "SLUICE_MANAGER_LISTEN=off",
		"KONG_PROXY_ACCESS_LOG="+access, "KONG_ADMIN_ACCESS_LOG=off",
		"KONG_PROXY_ERROR_LOG="+filepath.Join(t.dir, "error.log"), "KONG_ADMIN_ERROR_LOG="+filepath.Join(t.dir, "error.log"),
		"KONG_SSL_CERT="+b.cert.certFile, "KONG_SSL_CERT_KEY="+b.cert.keyFile)
	t.configure = func(ctx context.Context) error { return configureSluice(ctx, t, s) }
	if err := b.launch(ctx, t, cmd, s, syscall.SIGKILL); err != nil {
		return nil, err
	}
	return t, nil
}

// withoutSettings keeps settings of whoever runs the benchmark out of it.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "KONG_") && !strings.HasPrefix(e, "SLUICE_") {
			kept = append(kept, e)
		}
	}
	return kept
}

func configureSluice(ctx context.Context, t *target, s setup) error {
	if err := await(ctx, t, func() error { return t.api(ctx, http.MethodGet, "/status", nil) }); err != nil {
		return err
	}
	if err := t.api(ctx, http.MethodPost, "/services", url.Values{"name": {"bench"}, "url": {"http://" + s.Service}}); err != nil {
		return err
	}
	if err := t.routes(ctx, s.Routes); err != nil {
		return err
	}
	if !s.plugins {
		return nil
	}
	for _, step := range []struct {
		path   string
		fields url.Values
	}{
		{"/consumers", url.Values{"username": {"bench"}}},
		{"/consumers/bench/key-auth", url.Values{"key": {apiKey}}},
		{"/services/bench/plugins", url.Values{"name": {"key-auth"}}},
		{"/services/bench/plugins", url.Values{"name": {"rate-limiting"}, "config.minute": {"1000000000"}, "config.policy": {"local"}}},
		{"/plugins", url.Values{"name": {"prometheus"}, "config.status_code_metrics": {"true"}, "config.latency_metrics": {"true"},
			"config.bandwidth_metrics": {"true"}, "config.per_consumer": {"true"}}},
	} {
		if err := t.api(ctx, http.MethodPost, step.path, step.fields); err != nil {
			return err
		}
	}
	return nil
}

// routes makes the routes, several at a time.
func (t *target) routes(ctx context.Context, paths []string) error {
	const atATime = 16
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next, fault := make(chan string), make(chan error, atATime)
	var all sync.WaitGroup
	for range atATime {
		all.Go(func() {
			for path := range next {
				err := t.api(ctx, http.MethodPost, "/services/bench/routes",
					url.Values{"name": {strings.Trim(path, "/")}, "paths[]": {path}, "strip_path": {"false"}})
				if err != nil {
					fault <- err
					cancel()
					return
				}
			}
		})
	}
	for _, path := range paths {
		select {
		case next <- path:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	select {
	case err := <-fault:
		return err
	default:
		return ctx.Err()
	}
}

// api asks the Admin API; an answer of 300 and above is an error.
func (t *target) api(ctx context.Context, method, path string, fields url.Values) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, t.admin+path, strings.NewReader(fields.Encode()))
	if err != nil {
		return err
	}
	if fields != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return err
}
