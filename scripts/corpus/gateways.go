package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// readTimeout is how long each gateway waits for the upstream. It matters only
// where an upstream stalls.
const readTimeout = 500 * time.Millisecond

// gateway is a program under test. Each is set up to pass every path on as it
// is, with the client's Host, kept connections to the upstream, no second try,
// and heads of up to 64 KiB.
type gateway struct {
	name    string
	binary  string
	version string
	start   func(g *gateway, dir string, port int, upstream *net.TCPAddr) (*exec.Cmd, error)
	ready   func(g *gateway, port int, upstream *net.TCPAddr) error // after start; nil for none
	admin   int
}

// findGateways gives those that are installed, and the names of those that are
// not.
func findGateways(sluice string) (found []*gateway, missing []string) {
	for _, g := range []*gateway{
		{name: "sluice", binary: sluice, start: startSluice, ready: setUpSluice},
		{name: "nginx", binary: "nginx", start: startNginx},
		{name: "haproxy", binary: "haproxy", start: startHAProxy},
	} {
		path, err := exec.LookPath(g.binary)
		if err != nil && g.name != "sluice" { // Debian's administrative programs
			path, err = exec.LookPath("/usr/sbin/" + g.binary)
		}
		if err != nil {
			missing = append(missing, g.name)
			continue
		}
		g.binary = path
		g.version = versionOf(g)
		found = append(found, g)
	}
	return found, missing
}

func versionOf(g *gateway) string {
	flag := map[string]string{"sluice": "version", "nginx": "-v", "haproxy": "-v"}[g.name]
	out, err := exec.Command(g.binary, flag).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	first = strings.TrimPrefix(first, "nginx version: nginx/")
	first = strings.TrimPrefix(strings.TrimPrefix(first, "HAProxy version "), "sluice ")
	first, _, _ = strings.Cut(first, " ")
	return first
}

// errStart is wrapped when a gateway could not be started.
var errStart = errors.New("it does not start")

// run starts the gateway, calls f with its address, and stops it. Another
// process may take a port that was free a moment ago, so it is tried again.
func (g *gateway) run(upstream *net.TCPAddr, f func(address string)) (err error) {
	for range 3 {
		if err = g.runOnce(upstream, f); !errors.Is(err, errStart) {
			return err
		}
	}
	return err
}

func (g *gateway) runOnce(upstream *net.TCPAddr, f func(address string)) error {
	dir, err := os.MkdirTemp("", "corpus-"+g.name)
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	cmd, err := g.start(g, dir, port, upstream)
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	var output lockedBuffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed or not: it is gone
		kill.Stop()
	}()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if err := g.await(address, port, upstream); err != nil {
		return fmt.Errorf("%s: %w: %w; it says %q", g.name, errStart, err, tail(&output))
	}
	f(address)
	if c, err := net.Dial("tcp", address); err != nil {
		return fmt.Errorf("%s does not listen any more: %w; it says %q", g.name, err, tail(&output))
	} else {
		c.Close()
	}
	return nil
}

// lockedBuffer takes a process's output while it runs.
type lockedBuffer struct {
	mu sync.Mutex
	b  []byte
}

// Write keeps the first 64 KiB.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = append(b.b, p[:min(len(p), 64<<10-len(b.b))]...)
	return len(p), nil
}

// tail is the end of what was written, where the reason of a failure is.
func tail(b *lockedBuffer) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b[max(0, len(b.b)-500):])
}

// await waits until the gateway answers through to the upstream.
func (g *gateway) await(address string, port int, upstream *net.TCPAddr) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	setUp := g.ready == nil
	for ctx.Err() == nil {
		if !setUp {
			if err = g.ready(g, port, upstream); err == nil {
				setUp = true
			}
		}
		if setUp {
			var resp *http.Response
			if resp, err = http.Get("http://" + address + "/ready"); err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return nil
				}
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

const nginxConf = `daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  large_client_header_buffers 4 16k;
  client_max_body_size 0;
  upstream up { server %s; keepalive 8; }
  server {
    listen 127.0.0.1:%d;
    server_name corpus.example;
    location / {
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_next_upstream off;
      proxy_read_timeout %dms;
    }
  }
}
`

func startNginx(g *gateway, dir string, port int, upstream *net.TCPAddr) (*exec.Cmd, error) {
	text := fmt.Sprintf(nginxConf, upstream, port, readTimeout.Milliseconds())
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(g.binary, "-p", dir, "-e", "stderr", "-c", "nginx.conf"), nil
}

const haproxyConf = `global
  tune.bufsize 81920
  tune.http.maxhdr 1001
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 10s
  timeout server %dms
  timeout http-request 10s
frontend in
  bind 127.0.0.1:%d
  default_backend up
backend up
  server s %s
`

func startHAProxy(g *gateway, dir string, port int, upstream *net.TCPAddr) (*exec.Cmd, error) {
	file := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(haproxyConf, readTimeout.Milliseconds(), port, upstream)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(g.binary, "-db", "-f", file), nil
}

func startSluice(g *gateway, dir string, port int, _ *net.TCPAddr) (*exec.Cmd, error) {
	clusterPort, err := freePort()
	if err != nil {
		return nil, err
	}
	if g.admin, err = freePort(); err != nil {
		return nil, err
	}
	return exec.Command(g.binary, "start", "--data-dir", dir,
		"--proxy-listen", fmt.Sprintf("127.0.0.1:%d", port),
		"--admin-listen", fmt.Sprintf("127.0.0.1:%d", g.admin), "--status-listen", "off",
		"--cluster-listen", fmt.Sprintf("127.0.0.1:%d", clusterPort)), nil
}

// setUpSluice makes the service and its route; it is called until it succeeds.
func setUpSluice(g *gateway, _ int, upstream *net.TCPAddr) error {
	service := fmt.Sprintf("http://127.0.0.1:%d/services/corpus", g.admin)
	if err := put(service, map[string]any{
		"url": "http://" + upstream.String(), "retries": 0, "read_timeout": readTimeout.Milliseconds(),
	}); err != nil {
		return err
	}
	return put(service+"/routes/corpus", map[string]any{
		"paths": []string{"/"}, "strip_path": false, "preserve_host": true,
	})
}

func put(url string, value map[string]any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // for the message only
		return fmt.Errorf("PUT %s: %d %s", url, resp.StatusCode, text)
	}
	return nil
}
