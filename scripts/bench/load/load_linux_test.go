package load

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const shortly = 150 * time.Millisecond

func get(name string) []byte {
	return []byte("GET /r/" + name + " HTTP/1.1\r\nHost: bench\r\n\r\n")
}

// served starts a net/http server that answers like the service, and counts.
func served(t *testing.T, secure bool) (job Job, count *atomic.Int64) {
	t.Helper()
	count = new(atomic.Int64)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		if strings.HasSuffix(r.URL.Path, LargeName) {
			w.Header().Set("Content-Length", fmt.Sprint(len(LargeBody())))
			_, _ = w.Write(LargeBody())
			return
		}
		_, _ = w.Write(SmallBody())
	})
	server := httptest.NewUnstartedServer(handler)
	if secure {
		server.StartTLS()
		job.Roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		job.ServerName = "example.com"
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	job.Address = server.Listener.Addr().String()
	job.Connections, job.Status, job.Duration = 4, 200, shortly
	job.Requests, job.Body = [][]byte{get(SmallName)}, SmallBody()
	return job, count
}

func TestGeneratorAgainstNetHTTP(t *testing.T) {
	for name, change := range map[string]func(*Job){
		"closed":      func(*Job) {},
		"warmed":      func(j *Job) { j.Warm = shortly / 3 },
		"large":       func(j *Job) { j.Requests, j.Body = [][]byte{get(LargeName)}, LargeBody() },
		"even":        func(j *Job) { j.Rate = 200 },
		"overloaded":  func(j *Job) { j.Rate, j.Connections = 20_000, 1; j.Duration = 20 * time.Millisecond },
		"idle":        func(j *Job) { j.Idle, j.Connections = true, 20 },
		"in rotation": func(j *Job) { j.Requests = [][]byte{get(SmallName), get("2/" + SmallName)} },
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				job, count := served(t, secure)
				change(&job)
				var before, after int64
				result, err := Run(job, func() error { before = count.Load(); return nil }, func() error { after = count.Load(); return nil })
				if err != nil || result.Failed > 0 {
					t.Fatal(err, result.Fault)
				}
				want := int64(job.Rate * job.Duration.Seconds())
				if job.Idle {
					want = int64(job.Connections)
				}
				if want > 0 && (result.Requests != want || after-before != want) {
					t.Errorf("%d requests, %d served, want %d", result.Requests, after-before, want)
				}
				if result.Requests == 0 || result.Latency.Count() != uint64(result.Requests) || job.Rate == 0 && result.Elapsed < job.Duration {
					t.Errorf("%d requests, %d latencies, in %v", result.Requests, result.Latency.Count(), result.Elapsed)
				}
				if job.Rate > 0 && result.Late.Count() != uint64(want) {
					t.Errorf("%d of %d sends have a lateness", result.Late.Count(), want)
				}
			})
		}
	}
}

// A latency counts from when the request was due: a server that stands still
// for a while shows in every request that was due meanwhile, not in one only.
func TestNoCoordinatedOmission(t *testing.T) {
	const still = 100 * time.Millisecond
	release := make(chan struct{})
	var first sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first.Do(func() {
			timer := time.AfterFunc(still, func() { close(release) })
			t.Cleanup(func() { timer.Stop() })
		})
		<-release
		_, _ = w.Write(SmallBody())
	}))
	defer server.Close()
	result, err := Run(Job{Address: server.Listener.Addr().String(), Connections: 1, Requests: [][]byte{get(SmallName)}, Status: 200,
		Body: SmallBody(), Rate: 1000, Duration: still}, nil, nil)
	if err != nil || result.Failed > 0 {
		t.Fatal(err, result.Fault)
	}
	if middle := result.Latency.Quantile(0.5); middle < still/3 {
		t.Errorf("the median latency is %v although the server stood still for all of the %v", middle, still)
	}
}

func TestGeneratorCountsFailures(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 10 {
		case 3:
			w.WriteHeader(http.StatusBadGateway)
		case 6:
			panic(http.ErrAbortHandler)
		case 9:
			_, _ = io.WriteString(w, strings.Replace(string(SmallBody()), "hello", "hullo", 1))
			return
		}
		_, _ = w.Write(SmallBody())
	}))
	defer server.Close()
	result, err := Run(Job{Address: server.Listener.Addr().String(), Connections: 2, Requests: [][]byte{get(SmallName)}, Status: 200,
		Body: SmallBody(), Rate: 500, Duration: 200 * time.Millisecond}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if result.Failed != 30 || result.Requests != 70 {
		t.Errorf("%d failed, %d right, first fault %q; 30 of 100 were wrong", result.Failed, result.Requests, result.Fault)
	}
}

func TestRunRefuses(t *testing.T) {
	good := Job{Address: "127.0.0.1:1", Connections: 1, Requests: [][]byte{get("x")}, Duration: shortly}
	for name, change := range map[string]func(*Job){
		"no connection": func(j *Job) { j.Connections = 0 },
		"no request":    func(j *Job) { j.Requests = nil },
		"no time":       func(j *Job) { j.Duration = 0 },
		"a name":        func(j *Job) { j.Address = "localhost:1" },
		"no trust":      func(j *Job) { j.Roots = []byte("x") },
		"nobody there":  func(*Job) {},
	} {
		job := good
		change(&job)
		if _, err := Run(job, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// startService runs a service until the end of the test.
func startService(t *testing.T) string {
	t.Helper()
	service, address, err := NewService(false)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopper, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- service.Serve(int(stop.Fd())) }()
	t.Cleanup(func() {
		_ = stopper.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = stop.Close()
	})
	return "http://" + address
}

func TestService(t *testing.T) {
	base := startService(t)
	post := func(body []byte) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return http.Post(base+"/any/"+EchoName, "text/plain", strings.NewReader(string(body)))
		}
	}
	from := func(path string) func() (*http.Response, error) {
		return func() (*http.Response, error) { return http.Get(base + path) }
	}
	wrong := EchoBody()
	wrong[5000]++
	for name, test := range map[string]struct {
		ask    func() (*http.Response, error)
		status int
		body   string
	}{
		"small":     {from("/r1/" + SmallName), 200, string(SmallBody())},
		"large":     {from("/r1/" + LargeName), 200, string(LargeBody())},
		"echo":      {post(EchoBody()), 200, string(EchoAnswer())},
		"a byte":    {post(wrong), 400, ""},
		"shorter":   {post(wrong[:100]), 400, ""},
		"longer":    {post(append(EchoBody(), 'x')), 400, ""},
		"GET echo":  {from("/" + EchoName), 400, ""},
		"elsewhere": {from("/"), 400, ""},
		"long name": {from("/" + strings.Repeat("x", 100)), 400, ""},
	} {
		resp, err := test.ask()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || test.body != "" && string(body) != test.body {
			t.Errorf("%s: status %d, %d bytes, %v", name, resp.StatusCode, len(body), err)
		}
	}
}

func TestServiceUnderTheGenerator(t *testing.T) {
	address := strings.TrimPrefix(startService(t), "http://")
	request := fmt.Appendf(nil, "POST /%s HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s", EchoName, len(EchoBody()), EchoBody())
	result, err := Run(Job{Address: address, Connections: 8, Requests: [][]byte{request}, Status: 200, Body: EchoAnswer(), Duration: shortly}, nil, nil)
	if err != nil || result.Failed > 0 || result.Requests == 0 {
		t.Fatal(err, result.Fault, result.Requests)
	}
}
