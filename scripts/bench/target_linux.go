package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// startLimit is for a proxy to start and take its configuration.
const startLimit = 90 * time.Second

// setup is what a work asks of a proxy.
type setup struct {
	Cores     []int    // it runs on these, with a worker or thread each
	Service   string   // address
	Routes    []string // paths, matched by prefix
	AccessLog bool
	plugins   bool // of Sluice: key-auth, rate-limiting, prometheus
}

// routePaths are /r0/, /r1/ and so on.
func routePaths(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("/r%d/", i)
	}
	return paths
}

// target is one proxy that runs.
type target struct {
	name       string
	dir        string // its own, temporary
	plain, tls string // addresses
	// inner are two more, found together with these: one found later could be one
	// of these, as nobody listens there yet.
	inner      []string
	admin      string // of Sluice: URL of the Admin API
	configure  func(context.Context) error
	process    *machine.Process
	pids       []int
	head       string // of its first answer
	routeCount int
}

func (b *bench) newTarget(name string, _ setup) (*target, error) {
	dir, err := os.MkdirTemp(b.dir, name)
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddresses(4)
	if err != nil {
		return nil, err
	}
	return &target{name: name, dir: dir, plain: addrs[0], tls: addrs[1], inner: addrs[2:]}, nil
}

// freeAddresses gives addresses of loopback on which nobody listens.
func freeAddresses(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at the end, so that none comes twice
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// render writes a configuration file.
func (b *bench) render(conf *template.Template, path string, t *target, s setup) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = conf.Execute(file, struct {
		setup
		Root                       bool
		OpenFiles                  uint64
		Dir, Plain, TLS            string
		CertFile, KeyFile, PEMFile string
	}{s, isRoot(), openFiles(), t.dir, t.plain, t.tls, b.cert.certFile, b.cert.keyFile, b.cert.pemFile})
	return errors.Join(err, file.Close())
}

// launch starts the proxy, configures it and waits until it proxies.
func (b *bench) launch(ctx context.Context, t *target, cmd *exec.Cmd, s setup, orphaned syscall.Signal) (err error) {
	if cmd.Stderr == nil {
		output, err := os.Create(filepath.Join(t.dir, "output"))
		if err != nil {
			return err
		}
		defer func() { _ = output.Close() }()
		cmd.Stdout, cmd.Stderr = output, output
	}
	if t.process, err = b.starter.Start(t.name, cmd, s.Cores, orphaned); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			output, _ := os.ReadFile(filepath.Join(t.dir, "output"))
			t.process.Stop()
			err = fmt.Errorf("%s: %w\n%s", t.name, err, output)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if t.configure != nil {
		if err := t.configure(ctx); err != nil {
			return err
		}
	}
	if err := await(ctx, t, func() error { return t.ask(ctx, s) }); err != nil {
		return err
	}
	t.pids, err = machine.Group(t.process.PID)
	return err
}

// await tries until there is no error, the process has ended or the context.
func await(ctx context.Context, t *target, try func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-t.process.Ended():
			return fmt.Errorf("it has ended (%v), before: %w", t.process.Wait(), err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// ask sends one request through the last route, and keeps the answer's head.
func (t *target) ask(ctx context.Context, s setup) error {
	path := s.Routes[len(s.Routes)-1] + load.SmallName
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.plain+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("apikey", apiKey)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(body) != string(load.SmallBody()) {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	var head strings.Builder
	_, _ = fmt.Fprintf(&head, "%s %s\n", resp.Proto, resp.Status)
	_ = resp.Header.Write(&head) // a builder takes everything
	t.head = strings.ReplaceAll(head.String(), "\r\n", "\n")
	return nil
}
