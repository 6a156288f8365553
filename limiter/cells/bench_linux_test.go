package cells

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkZipfInFile(b *testing.B) {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 1<<20-1)
	benchmarkMany(b, open(b, path(b), Options{}), z.Uint64)
}

// BenchmarkOpen recovers a million cells.
func BenchmarkOpen(b *testing.B) {
	name := path(b)
	tab := open(b, name, Options{})
	fill(b, tab, 1<<20)
	for b.Loop() {
		closeTable(b, tab)
		tab = open(b, name, Options{})
		if !tab.Recovered() || tab.Len() != 1<<20 {
			b.Fatal("not recovered")
		}
	}
}
