package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load/limits"
)

func TestLack(t *testing.T) {
	none, all := tools{}, tools{h2load: "x", redis: "x"}
	for _, w := range works() {
		if text := none.lack(w.needs); (w.needs != "") != strings.Contains(text, "apt-get install") {
			t.Errorf("%s needs %q: %q", w.name, w.needs, text)
		}
		if text := all.lack(w.needs); text != "" {
			t.Errorf("%s: %q", w.name, text)
		}
	}
}

func TestLimitTables(t *testing.T) {
	list := limitWorks()
	steady := result{work: list[0], names: []string{"redis, call", "sluice, Go API", "redis behind sluice", "sluice"}, samples: make([][]*sample, 4)}
	for k := range steady.samples {
		for round := range 3 {
			steady.samples[k] = append(steady.samples[k], &sample{PerSecond: float64(1000*(k+1) + round), Admitted: 1990, Due: 2000, P50: 100 * time.Microsecond})
		}
	}
	killed := result{work: list[len(list)-1], names: []string{"redis", "redis, append only", "sluice"},
		samples: [][]*sample{{{Admitted: 10_000, Due: 6000, Over: 4000}}, {{Admitted: 6000, Due: 6000, Undecided: 12}}, {{Admitted: 5900, Due: 6000, Pause: 300 * time.Millisecond}}}}
	away := result{work: list[1], skipped: (&tools{}).lack("redis-server")}
	b := &bench{opts: options{rounds: 3, duration: time.Second}}
	text := b.report([]result{steady, away, killed}, time.Now())
	for _, want := range []string{
		"| figure | redis, call | sluice, Go API | redis behind sluice | sluice |",
		"| decisions/s at saturation | 1001 (1000 to 1002) | 2001 (2000 to 2002) | 3001 (3000 to 3002) | 4001 (4000 to 4002) |",
		"| admitted, % of what the limit allows | 99.5 | 99.5 |", "redis-server is not installed (apt-get install redis-server)",
		"| figure | redis | redis, append only | sluice |", "| admitted beyond the limit | 4000 | 0 | 0 |",
		"| requests without an answer | 0 | 12 | 0 |", "ms | 0 | 0 | 300 |", "one INCR in one round trip",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "| nginx |") {
		t.Error("works of limits are in the table of nginx")
	}
	if plot := plot([]result{steady, killed}); strings.Contains(plot, "INCR") || strings.Contains(plot, "one key") {
		t.Error("works of limits are in the plot of nginx")
	}
}

func TestLeaderOfAWholeCluster(t *testing.T) {
	node := func(name, state string, leads bool) string {
		return `{"name":"` + name + `","state":"` + state + `","leader":` + map[bool]string{true: "true", false: "false"}[leads] + `}`
	}
	for text, want := range map[string]string{
		`{"quorum":true,"nodes":[` + node("a", "alive", false) + `,` + node("b", "alive", true) + `,` + node("c", "alive", false) + `]}`:  "b",
		`{"quorum":true,"nodes":[` + node("a", "alive", false) + `,` + node("b", "alive", true) + `,` + node("c", "failed", false) + `]}`: "",
		`{"quorum":true,"nodes":[` + node("a", "alive", false) + `,` + node("b", "alive", false) + `,` + node("c", "alive", false) + `]}`: "",
		`{"quorum":false,"nodes":[` + node("a", "alive", true) + `,` + node("b", "alive", false) + `,` + node("c", "alive", false) + `]}`: "",
		`{"quorum":true,"nodes":[` + node("a", "alive", true) + `]}`:                                                                      "",
	} {
		var state clusterState
		if err := json.Unmarshal([]byte(text), &state); err != nil {
			t.Fatal(err)
		}
		if name, err := state.leader(); name != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, name, err)
		}
	}
}

// TestZipfIsTheSame: all rivals are asked for the same keys, under other names.
func TestZipfIsTheSame(t *testing.T) {
	a, b := zipf("a", zipfRate, time.Second), zipf("b", zipfRate, time.Second)
	counts := make([]int, zipfKeys)
	for i := range a.Order {
		if a.Order[i] != b.Order[i] {
			t.Fatal("two orders")
		}
		counts[a.Order[i]]++
	}
	if a.Keys[7] == b.Keys[7] || counts[0] < 10*counts[100] {
		t.Errorf("%s, %s; key 0 %d times, key 100 %d", a.Keys[7], b.Keys[7], counts[0], counts[100])
	}
}

// TestRedisForgetsWhenKilled is the whole way with real servers: the one
// without persistence begins anew after kill -9, the other goes on (or loses
// what it had not written while the disk was busy).
func TestRedisForgetsWhenKilled(t *testing.T) {
	found, err := findTools()
	if err != nil || found.redis == "" {
		t.Skip("redis-server is not installed:", err)
	}
	b := newTestBench(t, found, io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	for _, test := range []struct {
		appendOnly  string
		least, most int64 // admitted of ten after the kill, when three of five were before
	}{{"no", 5, 5}, {"yes", 2, 5}} {
		server, err := b.newRedis(test.appendOnly)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(server.start(b), server.await(ctx)); err != nil {
			t.Fatal(err)
		}
		var before, after int64
		for err = errMinute; errors.Is(err, errMinute); {
			key := rand.Text()
			err = withinMinute(ctx, time.Second, func() error {
				before = admit(ctx, t, server, key, 3)
				kill(server.process)
				err := errors.Join(server.start(b), server.await(ctx))
				after = admit(ctx, t, server, key, 10)
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		if before != 3 || after < test.least || after > test.most {
			t.Errorf("append only %s: admitted %d before the kill and %d after it", test.appendOnly, before, after)
		}
	}
}

// admit asks n times for a token of five.
func admit(ctx context.Context, t *testing.T, server *redisServer, key string, n int) (admitted int64) {
	t.Helper()
	d := &limits.Redis{Address: server.address, Limit: 5}
	defer d.Close()
	for range n {
		ok, err := d.Decide(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			admitted++
		}
	}
	return admitted
}

// TestAFailedStartLeavesNothing: the node ends at once, so the work fails, says
// why, and its Redis servers are gone.
func TestAFailedStartLeavesNothing(t *testing.T) {
	found, err := findTools()
	if err != nil || found.redis == "" {
		t.Skip("redis-server is not installed:", err)
	}
	b := newTestBench(t, found, io.Discard)
	b.opts.sluice = filepath.Join(b.dir, "sluice")
	if err := os.WriteFile(b.opts.sluice, []byte("#!/bin/sh\necho no such luck >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	rv := &rivals{b: b, memory: limits.NewMemory(limitNodes)}
	if err := rv.start(t.Context()); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("it does not say why: %v", err)
	}
	if err := rv.stop(); err != nil {
		t.Error(err)
	}
	for _, r := range rv.redis {
		select {
		case <-r.process.Ended():
		default:
			t.Error("a Redis server still runs")
		}
	}
	if _, err := b.startRivals(t.Context()); err == nil {
		t.Error("no error")
	}
}
