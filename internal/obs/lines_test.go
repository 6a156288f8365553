package obs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a file that can be made to hang or to fail.
type sink struct {
	mu     sync.Mutex
	b      bytes.Buffer
	writes int
	fail   func(p []byte) (int, error)

	hang atomic.Pointer[chan struct{}] // a write waits until it is closed
}

func (s *sink) Write(p []byte) (int, error) {
	if c := s.hang.Load(); c != nil {
		<-*c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.fail != nil {
		return s.fail(p)
	}
	return s.b.Write(p)
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *sink) setFail(f func(p []byte) (int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func logged() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return zap.New(core), logs
}

// TestLinesAreFlushed after a tenth of a second, in one write and in order.
func TestLinesAreFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		l := NewLines(out, "log", zap.NewNop())
		defer l.Close()
		for round := range 3 {
			before := out.text()
			var want strings.Builder
			for i := range 20 {
				line := fmt.Sprintf("round %d line %d\n", round, i)
				want.WriteString(line)
				if !l.Add(uint32(i), []byte(line)) {
					t.Fatal("dropped")
				}
			}
			time.Sleep(flushAfter - time.Millisecond)
			synctest.Wait()
			if out.text() != before {
				t.Error("written before its time")
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if got := strings.TrimPrefix(out.text(), before); got != want.String() {
				t.Errorf("written %q, want %q", got, want.String())
			}
			time.Sleep(time.Hour) // nothing happens
		}
		if out.writes != 3 {
			t.Errorf("%d writes, want 3", out.writes)
		}
	})
}

// TestLinesHalfFull: a busy log does not wait for the timer.
func TestLinesHalfFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		l := NewLines(out, "log", zap.NewNop())
		defer l.Close()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		n := 0
		for ; out.text() == ""; n++ {
			l.Add(3, line)
			synctest.Wait() // no time passes
			if n > shardSize/len(line) {
				t.Fatal("a full buffer is not written")
			}
		}
		if got := out.text(); got != strings.Repeat(string(line), n) {
			t.Errorf("%d bytes written of %d lines", len(got), n)
		}
	})
}

func TestLinesOfManyGoroutines(t *testing.T) {
	out := &sink{}
	l := NewLines(out, "log", zap.NewNop())
	const workers, each = 8, 2000
	var wg sync.WaitGroup
	var added [workers][]string
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				line := fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("y", (w*i)%300))
				if l.Add(uint32(w%3), []byte(line)) { // some share a shard
					added[w] = append(added[w], line)
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	var want []string
	for w := range added {
		want = append(want, added[w]...)
	}
	got := slices.Collect(strings.Lines(out.text()))
	if missing := workers*each - len(want); uint64(missing) != l.Dropped() {
		t.Errorf("%d lines refused, %d counted", missing, l.Dropped())
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d lines written, %d added, or they differ", len(got), len(want))
	}
}

// TestLinesOfAHangingDisk: adding never waits, what does not fit is counted and
// told once a minute, and what was taken is written when the disk comes back.
func TestLinesOfAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := logged()
		out, release := &sink{}, make(chan struct{})
		out.hang.Store(&release)
		l := NewLines(out, "access log", log)
		line := []byte(strings.Repeat("x", 500) + "\n")
		taken, refused := 0, uint64(0)
		add := func(n int) {
			for range n {
				if l.Add(uint32(taken), line) {
					taken++
				} else {
					refused++
				}
			}
		}
		add(10)
		time.Sleep(time.Second) // the writer hangs now
		synctest.Wait()
		add(2 * lineShards * shardSize / len(line))
		if refused == 0 || l.Dropped() != refused {
			t.Fatalf("%d dropped, %d refused", l.Dropped(), refused)
		}
		var told []uint64
		for range 4 {
			add(100)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			told = told[:0]
			for _, e := range logs.FilterMessage("access log: lines were dropped").All() {
				told = append(told, e.ContextMap()["lines"].(uint64))
			}
		}
		if len(told) != 2 || told[1] != 200 {
			t.Errorf("in two minutes it was told of %v dropped lines, want two times, the second of 200", told)
		}
		out.hang.Store(nil)
		close(release)
		l.Close()
		if n := strings.Count(out.text(), "\n"); n != taken || len(out.text()) != taken*len(line) {
			t.Errorf("%d lines written, %d taken", n, taken)
		}
		sum := uint64(0)
		for _, e := range logs.FilterMessage("access log: lines were dropped").All() {
			sum += e.ContextMap()["lines"].(uint64)
		}
		if sum != refused {
			t.Errorf("told of %d, dropped %d", sum, refused)
		}
	})
}

// TestLinesCloseDoesNotHang although the file does.
func TestLinesCloseDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := logged()
		out, release := &sink{}, make(chan struct{})
		out.hang.Store(&release)
		l := NewLines(out, "access log", log)
		l.Add(0, []byte("a\n"))
		l.Close()
		if logs.FilterMessageSnippet("hangs").Len() != 1 {
			t.Errorf("logged: %v", logs.All())
		}
		close(release)
		<-l.ended
		if out.text() != "a\n" {
			t.Errorf("written: %q", out.text())
		}
	})
}

func TestLinesAfterClose(t *testing.T) {
	out := &sink{}
	l := NewLines(out, "log", zap.NewNop())
	l.Add(1, []byte("a\n"))
	l.Close()
	l.Close()
	if l.Add(1, []byte("b\n")) || out.text() != "a\n" || l.Dropped() != 1 {
		t.Errorf("after Close: %q written, %d dropped", out.text(), l.Dropped())
	}
	if n, err := l.Write([]byte("c\n")); n != 2 || err != nil {
		t.Errorf("Write after Close: %d, %v", n, err)
	}
}

// TestLinesOfAFailingDisk: the failure is told once, its lines are counted, and
// the log goes on when the disk does.
func TestLinesOfAFailingDisk(t *testing.T) {
	full := errors.New("disk full")
	for name, fail := range map[string]func(p []byte) (int, error){
		"error":              func([]byte) (int, error) { return 0, full },
		"error after a part": func([]byte) (int, error) { return 1, full },
		"short write":        func([]byte) (int, error) { return 1, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logs := logged()
				out := &sink{}
				out.setFail(fail)
				l := NewLines(out, "access log", log)
				add := func() {
					l.Add(0, []byte("one\n"))
					l.Add(0, []byte("two\n"))
					time.Sleep(time.Second)
					synctest.Wait()
				}
				add()
				add()
				if n := logs.FilterMessage("access log cannot be written").Len(); n != 1 || l.Dropped() != 4 {
					t.Errorf("told %d times, %d dropped", n, l.Dropped())
				}
				out.setFail(nil)
				add()
				if out.text() != "one\ntwo\n" || l.Dropped() != 4 {
					t.Errorf("after the failure %q was written, %d dropped", out.text(), l.Dropped())
				}
				out.setFail(fail)
				add()
				l.Close()
				if n := logs.FilterMessage("access log cannot be written").Len(); n != 2 {
					t.Errorf("the second failure: told %d times", n)
				}
			})
		})
	}
}

func TestLinesTooLong(t *testing.T) {
	out := &sink{}
	l := NewLines(out, "log", zap.NewNop())
	longest := strings.Repeat("x", MaxLine-1) + "\n"
	ok, tooLong := l.Add(0, []byte(longest)), l.Add(1, []byte("x"+longest))
	l.Close()
	if !ok || tooLong || out.text() != longest {
		t.Errorf("longest line taken: %t, a longer one: %t, %d bytes written", ok, tooLong, len(out.text()))
	}
}

// TestLinesDuringRotation: files are moved away and reopened while lines are
// written. None is lost, none is split between two files.
func TestLinesDuringRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	fs := NewFiles()
	l := NewLines(open(t, fs, path), "log", zap.NewNop())
	var added []string
	for i := range 40 {
		for j := range 300 {
			line := fmt.Sprintf("%d %d %s\n", i, j, strings.Repeat("z", 200))
			if l.Add(uint32(j), []byte(line)) {
				added = append(added, line)
			}
		}
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
			t.Fatal(err)
		}
		if err := fs.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 41 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var got []string
	for _, f := range files {
		text := read(t, f)
		if text != "" && !strings.HasSuffix(text, "\n") {
			t.Errorf("%s ends within a line", f)
		}
		got = slices.AppendSeq(got, strings.Lines(text))
	}
	slices.Sort(got)
	slices.Sort(added)
	if !slices.Equal(got, added) {
		t.Errorf("%d lines in the files, %d added, or they differ", len(got), len(added))
	}
}

func TestLinesAllocateNothing(t *testing.T) {
	l := NewLines(io.Discard, "log", zap.NewNop())
	defer l.Close()
	line := []byte(strings.Repeat("x", 200) + "\n")
	for i := range uint32(2 * lineShards) { // both buffers of each shard
		l.Add(i, line)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Add(1, line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLines: what adding a line of 200 bytes costs a request, while the
// writer keeps up.
func BenchmarkLines(b *testing.B) {
	l := NewLines(io.Discard, "log", zap.NewNop())
	defer l.Close()
	line := []byte(strings.Repeat("x", 200) + "\n")
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		if !l.Add(i, line) {
			runtime.Gosched() // the writer's turn
		}
	}
	b.ReportMetric(float64(l.Dropped())/float64(b.N), "dropped/op")
}
