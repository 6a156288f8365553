package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLogSettings: JSON logs, rotated under load without the loss of a line, and
// a bound for request bodies.
func TestLogSettings(t *testing.T) {
	c := idleCluster(t, 1)
	n := c.nodes[0]
	n.args = []string{"--proxy-access-log", "logs/access.log json", "--admin-access-log", "logs/admin_access.log json",
		"--nginx-http-client-max-body-size", "1k", "--headers-upstream", "off"}
	n.start()
	c.waitReady()
	route(t, n, "/demo")

	if a, err := n.try("POST", n.proxyURL("/demo"), http.Header{}, strings.Repeat("x", 2000)); err != nil || a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d, %v", a.status, err)
	}
	const rounds, each = 5, 40
	path := filepath.Join(n.dir, "logs", "access.log")
	for i := range rounds {
		for j := range each {
			n.get(fmt.Sprintf("/rotated/%d/%d", i, j))
			if j == each/2 {
				if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
					t.Fatal(err)
				}
				n.signal([]syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1}[i%2])
				waitFor(t, "a new file", func() error { _, err := os.Stat(path); return err })
			}
		}
	}
	waitFor(t, "a JSON line of the Admin API", func() error {
		data, err := os.ReadFile(filepath.Join(n.dir, "logs", "admin_access.log"))
		if err == nil && !strings.Contains(string(data), `"uri":"/services","host":`) {
			err = errors.New("no line for /services")
		}
		return err
	})
	n.stop()

	type line struct {
		URI    string
		Status int
	}
	seen := map[line]int{}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != rounds+1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.Lines(string(data)) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil || !strings.HasSuffix(text, "\n") {
				t.Fatalf("%s: %q: %v", file, text, err)
			}
			seen[l]++
		}
	}
	for i := range rounds {
		for j := range each {
			if l := (line{fmt.Sprintf("/rotated/%d/%d", i, j), 404}); seen[l] != 1 {
				t.Errorf("%d lines for %s", seen[l], l.URI)
			}
		}
	}
	if seen[line{"/demo", 413}] != 1 {
		t.Error("no line for the large body")
	}
}

// TestAccessLogPipeThatNobodyReads holds up no request, no rotation and no stop.
func TestAccessLogPipeThatNobodyReads(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c := idleCluster(t, 1)
	n := c.nodes[0]
	n.args = []string{"--proxy-access-log", pipe}
	n.start()
	c.waitReady()
	long := strings.Repeat("x", 7000)
	dropped := func() bool {
		for text := range strings.Lines(string(n.admin("GET", "/metrics", nil).body)) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(text), "sluice_access_log_dropped_total "); ok {
				return value != "0"
			}
		}
		return false
	}
	for i := 0; i < 3000 && (i%50 != 0 || !dropped()); i++ { // 64 KiB in the pipe, 2 MiB here
		if a := n.get("/none?" + long); a.status != http.StatusNotFound {
			t.Fatalf("answer %d: %s", a.status, a.body)
		}
	}
	if !dropped() {
		t.Error("nothing was dropped")
	}
	n.signal(syscall.SIGHUP)
	if a := n.get("/none"); a.status != http.StatusNotFound {
		t.Errorf("after SIGHUP: %d", a.status)
	}
	n.stop()
	log, err := os.ReadFile(filepath.Join(n.dir, "logs", "error.log"))
	if err != nil || !strings.Contains(string(log), "access log: lines were dropped") {
		t.Errorf("error log does not tell of dropped lines (%v):\n%s", err, log)
	}
}

// TestAccessLogReaderDies: who reads the log from the standard output must not
// take the gateway along.
func TestAccessLogReaderDies(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := idleCluster(t, 1)
	n := c.nodes[0]
	n.args, n.stdout = []string{"--proxy-access-log", "/dev/stdout"}, w
	n.start()
	w.Close()
	c.waitReady()
	r.Close()
	waitFor(t, "the error in the log", func() error {
		if a := n.get("/none"); a.status != http.StatusNotFound {
			t.Fatalf("answer %d: %s", a.status, a.body)
		}
		log, err := os.ReadFile(filepath.Join(n.dir, "logs", "error.log"))
		if err == nil && !strings.Contains(string(log), "access log cannot be written") {
			err = errors.New("it does not say that the access log cannot be written")
		}
		return err
	})
	n.stop()
}
