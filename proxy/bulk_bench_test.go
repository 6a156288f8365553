//go:build linux

package proxy

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// endless is the length of a body that no benchmark comes to the end of.
const endless = 1 << 50

// bulkService answers GET with an endless body, and takes one after anything
// else.
func bulkService(t testing.TB, moved *atomic.Int64) string {
	return rawService(t, func(c net.Conn) {
		piece := make([]byte, 256<<10)
		n, err := c.Read(piece)
		if err != nil {
			return
		}
		if string(piece[:3]) == "GET" {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", endless)
			for err == nil {
				_, err = c.Write(piece)
			}
			return
		}
		for err == nil {
			moved.Add(int64(n))
			n, err = c.Read(piece)
		}
	})
}

// bulkClient downloads or uploads until it is closed.
func bulkClient(c net.Conn, download bool, moved *atomic.Int64) {
	piece := make([]byte, 256<<10)
	if download {
		_, _ = io.WriteString(c, "GET /bulk HTTP/1.1\r\nHost: a\r\n\r\n")
	} else {
		_, _ = fmt.Fprintf(c, "POST /bulk HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", endless)
	}
	for n, err := 0, error(nil); err == nil; {
		if download {
			n, err = c.Read(piece)
			moved.Add(int64(n))
		} else {
			_, err = c.Write(piece)
		}
	}
}

// BenchmarkBesideBulk: the latency of small requests next to bulk transfers
// through the same loop, and what those move. The threads have processors of the
// runtime to spare, as in a node; client and service share the machine with the
// proxy.
func BenchmarkBesideBulk(b *testing.B) {
	for _, bench := range []struct {
		name      string
		transfers int
		download  bool
	}{{"none", 0, false}, {"downloads", 2, true}, {"uploads", 2, false}} {
		b.Run(bench.name, func(b *testing.B) { besideBulk(b, bench.transfers, bench.download) })
	}
}

func besideBulk(b *testing.B, transfers int, download bool) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	w := newWorld(b)
	w.config.Loops, w.config.Hold = 1, 8*time.Millisecond
	var moved atomic.Int64
	w.route(w.service(bulkService(b, &moved), nil), object{"paths": []string{"/bulk"}})
	w.route(w.service(fixedService(b, smallAnswer(100)), nil), object{"paths": []string{"/r"}})
	w.start()
	var wg sync.WaitGroup
	var bulk []net.Conn
	for range transfers {
		c, err := net.Dial("tcp", w.addr())
		if err != nil {
			b.Fatal(err)
		}
		bulk = append(bulk, c)
		wg.Go(func() { bulkClient(c, download, &moved) })
	}
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		b.Fatal(err)
	}
	for transfers > 0 && moved.Load() < 64<<20 {
		time.Sleep(time.Millisecond)
	}
	before := moved.Load()
	var took []time.Duration
	buf := make([]byte, 64<<10)
	for b.Loop() {
		begun := time.Now()
		if _, err := io.WriteString(c, smallGet); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil { // one piece
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
		time.Sleep(500 * time.Microsecond)
	}
	b.ReportMetric(float64(moved.Load()-before)/(1<<20)/b.Elapsed().Seconds(), "bulk-MB/s")
	c.Close()
	for _, c := range bulk {
		c.Close()
	}
	wg.Wait()
	slices.Sort(took)
	for _, percent := range []int{50, 99} {
		b.ReportMetric(float64(took[len(took)*percent/100].Microseconds()), fmt.Sprintf("p%d-µs", percent))
	}
	b.ReportMetric(0, "ns/op") // is mostly sleep
}
