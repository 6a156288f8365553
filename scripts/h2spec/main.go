// Command h2spec runs the HTTP/2 conformance tests of that name against
// bin/sluice, over TLS and with prior knowledge, with a route to a service of
// its own. It fails on what is not among the known failures, and on a known
// failure that has gone.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const tool = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// known are the failures that stay, by section and title, with the reason. The
// value is the only listener that has it, or both.
var known = map[string]string{
	// A listener that speaks HTTP/1.1 too takes anything but the preface for
	// that, and answers 400 in it before it closes.
	"http2/3.5 Sends invalid connection preface": "h2c",
	// x/net hangs up on a SETTINGS frame that has a parameter twice.
	"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE": both,
	// x/net answers 400, as RFC 9113, section 8.1.1 allows before a reset.
	"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field":                       both,
	"http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": both,
}

const both = "h2c and TLS"

func main() {
	binary := flag.String("sluice", "bin/sluice", "the program to test")
	flag.Parse()
	if err := run(*binary); err != nil {
		fmt.Fprintln(os.Stderr, "h2spec:", err)
		os.Exit(1)
	}
}

func run(binary string) (err error) {
	dir, err := os.MkdirTemp("", "h2spec")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	clear, secure, admin, cluster := ports[0], ports[1], ports[2], ports[3]
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what is missing of it is the test's
		_, _ = io.WriteString(w, strings.Repeat("hello ", 100))
	}))
	defer service.Close()
	var output bytes.Buffer
	cmd := exec.Command(binary, "start", "--data-dir", filepath.Join(dir, "data"),
		"--proxy-listen", fmt.Sprintf("127.0.0.1:%d http2, 127.0.0.1:%d http2 ssl", clear, secure),
		"--admin-listen", fmt.Sprintf("127.0.0.1:%d", admin), "--status-listen", "off",
		"--cluster-listen", fmt.Sprintf("127.0.0.1:%d", cluster))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
	}()
	if err := setUp(admin, clear, service.URL); err != nil {
		return fmt.Errorf("%w\n%s", err, output.String())
	}
	return errors.Join(
		against("h2c", filepath.Join(dir, "h2c.xml"), "--port", fmt.Sprint(clear)),
		against("TLS", filepath.Join(dir, "tls.xml"), "--port", fmt.Sprint(secure), "--tls", "--insecure"),
	)
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// setUp makes a route for every path and waits until it is served.
func setUp(admin, proxy int, service string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	base := fmt.Sprintf("http://127.0.0.1:%d", admin)
	for _, step := range []struct{ method, url string }{
		{http.MethodPut, base + "/services/h2spec"},
		{http.MethodPut, base + "/services/h2spec/routes/h2spec"},
		{http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", proxy)},
	} {
		body, err := json.Marshal(map[string]any{"url": service})
		if strings.HasSuffix(step.url, "/routes/h2spec") {
			body, err = json.Marshal(map[string]any{"paths": []string{"/"}})
		}
		if err != nil {
			return err
		}
		if err := until(ctx, step.method, step.url, body); err != nil {
			return err
		}
	}
	return nil
}

// until repeats a request until it succeeds.
func until(ctx context.Context, method, url string, body []byte) error {
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < 300 {
				return nil
			}
			err = fmt.Errorf("%s %s: %s", method, url, resp.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// report is h2spec's, in JUnit's form.
type report struct {
	Suites []struct {
		Cases []struct {
			Section string  `xml:"package,attr"`
			Title   string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// against runs h2spec against one listener and judges what it reports.
func against(listener, file string, args ...string) error {
	cmd := exec.Command("go", append([]string{"run", tool, "--host", "127.0.0.1", "--timeout", "5", "--junit-report", file}, args...)...)
	// It fails when a test does; what it has found is in the report.
	output, runErr := cmd.CombinedOutput()
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w: %w\n%s", listener, err, runErr, output)
	}
	var r report
	if err := xml.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("%s: %w", listener, err)
	}
	tests, failed := 0, map[string]bool{}
	for _, suite := range r.Suites {
		for _, c := range suite.Cases {
			tests++
			if c.Failure != nil || c.Error != nil {
				failed[c.Section+" "+c.Title] = true
			}
		}
	}
	var faults []error
	for name := range failed {
		if where := known[name]; where != both && where != listener {
			faults = append(faults, fmt.Errorf("%s: fails: %s", listener, name))
		}
	}
	for name, where := range known {
		if (where == both || where == listener) && !failed[name] {
			faults = append(faults, fmt.Errorf("%s: passes now, and is listed as a failure: %s", listener, name))
		}
	}
	fmt.Printf("h2spec over %s: %d tests, %d pass, %d known failures\n", listener, tests, tests-len(failed), len(failed)-len(faults))
	if tests == 0 {
		faults = append(faults, fmt.Errorf("%s: no test was run\n%s", listener, output))
	}
	return errors.Join(faults...)
}
