package plugin

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluicegate/sluice/limiter"
)

// TestDecisions: versions of an instance count together, whatever their exchanges'
// shards, and instances that nobody has any more lose their series.
func TestDecisions(t *testing.T) {
	registry := prometheus.NewRegistry()
	env := &Env{Metrics: registry}
	d := env.Decisions()
	if env.Decisions() != d {
		t.Fatal("a second one")
	}
	admitted, failed := &limiter.Decision{Admitted: true}, &limiter.Decision{Err: limiter.ErrNoQuorum}
	one, again, gone := d.Of("p", "one"), d.Of("p", "one"), d.Of("p", "gone")
	for shard := range uint32(20) {
		one.Count(&Exchange{Shard: shard}, admitted)
	}
	again.Count(&Exchange{}, admitted)
	again.Count(&Exchange{Shard: 1}, &limiter.Decision{})
	one.Count(&Exchange{}, failed)
	one.Count(goneClient(), failed)
	gone.Count(&Exchange{}, failed)
	one.Count(goneClient(), failed)
	runtime.KeepAlive(gone)
	gone = nil
	_ = gone
	runtime.GC()
	want := `# HELP sluice_limit_decisions_total Requests by what a limit decided: admitted, refused, or error if nothing could be decided. limit is the plugin's id, empty for instances beyond the first 1000.
# TYPE sluice_limit_decisions_total counter
sluice_limit_decisions_total{decision="admitted",limit="one",plugin="p"} 21
sluice_limit_decisions_total{decision="error",limit="one",plugin="p"} 1
sluice_limit_decisions_total{decision="refused",limit="one",plugin="p"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(one)
}

// goneClient is an exchange whose client has gone.
func goneClient() *Exchange {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ex := &Exchange{}
	ex.SetContext(ctx)
	return ex
}

// TestDecisionsAreBounded: late instances are counted together, until there is room.
func TestDecisionsAreBounded(t *testing.T) {
	d := (&Env{}).Decisions()
	kept := make([]*DecisionCount, maxDecided)
	for i := range kept {
		kept[i] = d.Of("p", fmt.Sprint(i))
	}
	a, b := d.Of("p", "late"), d.Of("p", "later")
	if a != b || a == kept[0] || d.Of("p", "7") != kept[7] {
		t.Error("late instances are not counted together")
	}
	if n := testutil.CollectAndCount(d); n != 3*(maxDecided+1) {
		t.Errorf("%d series", n)
	}
	runtime.KeepAlive(kept)
	kept = nil
	_ = kept
	runtime.GC()
	if c := d.Of("p", "latest"); c == a {
		t.Error("there is room, and the next is late as well")
	}
}
