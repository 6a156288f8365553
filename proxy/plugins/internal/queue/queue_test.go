package queue

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// usual is what a config says that says nothing.
var usual = Config{
	Plugin: "test", Target: "there", MaxBatch: 1, MaxDelay: time.Second, MaxEntries: 10000, MaxBytes: 1 << 20,
	MaxRetryTime: time.Minute, FirstRetry: 10 * time.Millisecond, MaxRetry: time.Minute, Senders: 1,
}

// place is where entries go, and tells of it.
type place struct {
	mu    sync.Mutex
	begin time.Time
	told  []event
	// down makes tries fail, slow makes them take time.
	down bool
	slow time.Duration
}

func (p *place) tell(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, event{time.Since(p.begin), fmt.Sprintf(format, args...)})
}

type event struct {
	at   time.Duration
	what string
}

// take gives what was told since the last time, in order; what happens at one
// moment happens in any.
func (p *place) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.told, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.what, b.what)) })
	var lines []string
	for _, e := range p.told {
		lines = append(lines, fmt.Sprintf("%v: %s", e.at, e.what))
	}
	p.told = nil
	return strings.Join(lines, "\n")
}

func (p *place) send(ctx context.Context, batch [][]byte) error {
	p.mu.Lock()
	down, slow := p.down, p.slow
	p.mu.Unlock()
	what := fmt.Sprintf("%s", batch)
	if slow > 0 {
		p.tell("begin %s", what)
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	if down {
		p.tell("fail %s", what)
		return errors.New("down")
	}
	p.tell("sent %s", what)
	return nil
}

// TestTranscripts runs testdata/*.txt: commands, then ----, then what happened in
// virtual time.
//
//	queue batch=2 delay=1s entries=3 bytes=10 retry=1s first=100ms longest=400ms senders=1
//	add a b c      entries
//	place down|up|slow=DURATION
//	wait DURATION
//	close DURATION the node stops and waits for no longer
//	counts
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				got := transcript(t, string(data))
				if strings.TrimSpace(got) == strings.TrimSpace(string(data)) {
					return
				}
				t.Errorf("this happened:\n%s", got)
				if *update {
					t.Error(os.WriteFile(file, []byte(strings.TrimSpace(got)+"\n"), 0o600))
				}
			})
		})
	}
}

func transcript(t *testing.T, text string) string {
	var (
		env   = &plugin.Env{Metrics: prometheus.NewRegistry()}
		there = &place{begin: time.Now()}
		q     *Queue
		got   strings.Builder
		block []string
	)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "----":
			for _, command := range block {
				run(t, env, there, &q, command)
			}
			synctest.Wait()
			fmt.Fprintln(&got, strings.Join(block, "\n")+"\n----")
			if told := there.take(); told != "" {
				fmt.Fprintln(&got, told)
			}
			fmt.Fprintln(&got)
			block = nil
		case line == "":
			block = nil // what was expected
		default:
			block = append(block, line)
		}
	}
	if err := env.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return got.String()
}

var update = flag.Bool("update", false, "write what happened into the transcripts that differ")

func run(t *testing.T, env *plugin.Env, there *place, q **Queue, command string) {
	verb, rest, _ := strings.Cut(command, " ")
	switch args := strings.Fields(rest); verb {
	case "queue":
		*q = Of(env, config(t, args), "", func() (Send, func()) {
			return there.send, func() { there.tell("closed") }
		})
	case "add":
		for _, entry := range args {
			(*q).Add([]byte(entry))
		}
	case "place":
		there.mu.Lock()
		switch value, isSlow := strings.CutPrefix(rest, "slow="); {
		case isSlow:
			there.slow = duration(t, value)
		default:
			there.down = rest == "down"
		}
		there.mu.Unlock()
	case "wait":
		time.Sleep(duration(t, rest))
	case "close":
		ctx, cancel := context.WithTimeout(t.Context(), duration(t, rest))
		defer cancel()
		there.tell("stopped: %v", env.Close(ctx))
	case "counts":
		var list []string
		for o := range outcomes {
			if n := (*q).counts[o].Load(); n > 0 {
				list = append(list, fmt.Sprintf("%s %d", names[o], n))
			}
		}
		(*q).mu.Lock()
		defer (*q).mu.Unlock()
		there.tell("%s; %d wait, %d and %d bytes, %d senders", strings.Join(list, ", "), (*q).count(), (*q).bytes, (*q).sending, (*q).senders)
	default:
		t.Fatalf("unknown command %q", command)
	}
}

func config(t *testing.T, args []string) Config {
	cfg := usual
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		times := map[string]*time.Duration{"delay": &cfg.MaxDelay, "retry": &cfg.MaxRetryTime, "first": &cfg.FirstRetry, "longest": &cfg.MaxRetry}
		numbers := map[string]*int{"batch": &cfg.MaxBatch, "entries": &cfg.MaxEntries, "bytes": &cfg.MaxBytes, "senders": &cfg.Senders}
		if at := times[name]; at != nil {
			*at = duration(t, value)
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		*numbers[name] = n
	}
	return cfg
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestShared: a queue is found again by who wants the same of it, and forgotten
// when nobody does.
func TestShared(t *testing.T) {
	env := &plugin.Env{Metrics: prometheus.NewRegistry()}
	made := 0
	of := func(cfg Config, key string) *Queue {
		return Of(env, cfg, key, func() (Send, func()) {
			made++
			return func(context.Context, [][]byte) error { return nil }, nil
		})
	}
	a := of(usual, "a")
	other := usual
	other.MaxBatch = 2
	if of(usual, "a") != a || of(usual, "b") == a || of(other, "a") == a || made != 3 {
		t.Errorf("%d queues were made", made)
	}
	runtime.KeepAlive(a)
	a = nil
	for end := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		of(other, "c")
		if s := queuesOf(env); len(s.queues) <= 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("queues that nobody has are kept")
		}
	}
	if err := env.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	core, logs := observer.New(zap.WarnLevel)
	env := &plugin.Env{Metrics: registry, Logger: zap.New(core)}
	cfg := usual
	cfg.MaxBytes, cfg.MaxRetryTime = 3, 0
	q := Of(env, cfg, "", func() (Send, func()) {
		return func(_ context.Context, batch [][]byte) error {
			if string(batch[0]) == "bad" {
				return errors.New("refused")
			}
			return nil
		}, nil
	})
	for _, entry := range []string{"ok", "bad", "long", "longer"} {
		q.Add([]byte(entry))
		for end := time.Now().Add(10 * time.Second); ; {
			q.mu.Lock()
			idle := q.senders == 0
			q.mu.Unlock()
			if idle {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the queue does not become empty")
			}
			runtime.Gosched()
		}
	}
	if err := env.Close(t.Context()); err != nil {
		t.Error(err)
	}
	q.Add([]byte("x"))
	want := `
# HELP sluice_plugin_queue_entries_total Entries that plugins had to send elsewhere, by what became of them: sent, no_room (dropped for newer ones), too_large, failed (given up after tries), stopped (with the node).
# TYPE sluice_plugin_queue_entries_total counter
sluice_plugin_queue_entries_total{outcome="failed",plugin="test"} 1
sluice_plugin_queue_entries_total{outcome="no_room",plugin="test"} 0
sluice_plugin_queue_entries_total{outcome="sent",plugin="test"} 1
sluice_plugin_queue_entries_total{outcome="stopped",plugin="test"} 1
sluice_plugin_queue_entries_total{outcome="too_large",plugin="test"} 2
# HELP sluice_plugin_queue_waiting Entries of plugins that wait to be sent.
# TYPE sluice_plugin_queue_waiting gauge
sluice_plugin_queue_waiting{plugin="test"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	var told []string
	for _, entry := range logs.All() {
		told = append(told, entry.Message)
	}
	if want := []string{"entries are lost"}; !slices.Equal(told, want) {
		t.Errorf("the log has %q", told)
	}
}

// TestManyAdd: what is added at once by many is sent or counted, and nothing else.
func TestManyAdd(t *testing.T) {
	env := &plugin.Env{}
	cfg := usual
	cfg.MaxBatch, cfg.MaxEntries, cfg.MaxDelay, cfg.Senders = 7, 50, time.Millisecond, 3
	var got sync.Map
	q := Of(env, cfg, "", func() (Send, func()) {
		return func(_ context.Context, batch [][]byte) error {
			for _, entry := range batch {
				if _, twice := got.LoadOrStore(string(entry), true); twice {
					t.Errorf("%s came twice", entry)
				}
			}
			return nil
		}, nil
	})
	var wg sync.WaitGroup
	const each, adders = 500, 8
	for a := range adders {
		wg.Go(func() {
			for i := range each {
				q.Add(fmt.Appendf(nil, "%d-%d", a, i))
			}
		})
	}
	wg.Wait()
	if err := env.Close(t.Context()); err != nil {
		t.Error(err)
	}
	n := uint64(0)
	got.Range(func(any, any) bool { n++; return true })
	if sent, dropped := q.counts[sent].Load(), q.counts[noRoom].Load(); sent != n || sent+dropped != each*adders {
		t.Errorf("%d came, %d are counted as sent and %d as dropped", n, sent, dropped)
	}
	if q.bytes != 0 || q.sending != 0 || q.count() != 0 || q.senders != 0 {
		t.Errorf("left: %d bytes, %d entries, %d senders", q.bytes, q.count(), q.senders)
	}
}

func BenchmarkAdd(b *testing.B) {
	env := &plugin.Env{}
	cfg := usual
	cfg.MaxBatch = 100
	q := Of(env, cfg, "", func() (Send, func()) {
		return func(context.Context, [][]byte) error { return nil }, nil
	})
	entry := make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		q.Add(entry)
	}
	if err := env.Close(b.Context()); err != nil {
		b.Error(err)
	}
}
