package keyauth

import (
	"testing"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

// hit makes a function that sends the same accepted request again and again.
func hit(t testing.TB, config, target string, header ...string) func() {
	p := plugintest.Instance(t, plugintest.Env(nil), name, config).(plugin.Accessor)
	ex := plugintest.Exchange("GET", target, header...)
	ex.Directory = directory()
	return func() {
		if p.Access(ex) != plugin.Continue {
			t.Fatalf("refused: %s", ex.Response.Body)
		}
	}
}

func TestHeaderHitAllocates(t *testing.T) {
	for _, config := range []string{`{}`, `{"key_names":["x-key","apikey"]}`} {
		if n := testing.AllocsPerRun(200, hit(t, config, "/a?b=1", "apikey", "k1")); n != 0 {
			t.Errorf("%s: %v allocations", config, n)
		}
	}
}

func BenchmarkHeader(b *testing.B) {
	run := hit(b, `{}`, "/a", "apikey", "k1")
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkQuery(b *testing.B) {
	run := hit(b, `{}`, "/a?x=1&apikey=k1")
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
