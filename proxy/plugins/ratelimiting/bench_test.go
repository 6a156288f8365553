package ratelimiting

import (
	"testing"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// admit makes a function that sends an admitted request through the phases.
func admit(t testing.TB, config string, consumer *fsm.Consumer) func() {
	quota := &plugintest.Quota{Answer: &limiter.Decision{
		Admitted: true, Remaining: [limiter.MaxRates]int64{9, 4095, 4000}, Reset: [limiter.MaxRates]int64{1, 60, 3600},
	}}
	p := instance(t, quota, config)
	ex := plugintest.Exchange("GET", "/")
	ex.Consumer = consumer
	return func() {
		if serve(p, ex) != plugin.Continue {
			t.Fatal("refused")
		}
	}
}

func TestAdmissionAllocates(t *testing.T) {
	const config = `{"second":10,"minute":4096,"hour":123456}`
	for name, consumer := range map[string]*fsm.Consumer{"by consumer": {ID: "bob"}, "by address": nil} {
		if n := testing.AllocsPerRun(200, admit(t, config, consumer)); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAdmission(b *testing.B) {
	run := admit(b, `{"minute":5000}`, &fsm.Consumer{ID: "bob"})
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkAdmissionByAddress(b *testing.B) {
	run := admit(b, `{"minute":5000}`, nil)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
