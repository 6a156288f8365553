package audit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_APPEND"); dir != "" {
		appendForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

func sample(n uint64) Record {
	return Record{
		KeyHi: n, KeyLo: n + 1, Start: 60e6, Unit: Fixed, Length: 7, Local: n%2 == 1, Lo: -3, Hi: 4, Incarnation: 5,
		Version: 6, Max: 1 << 40, Burst: 1<<32 - 1, Tokens: 1 - 2*int32(n%2),
	}
}

func open(t testing.TB, dir string) *Writer {
	t.Helper()
	w, err := Open(dir, Who{ID: "id", Name: "name", Warn: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// readAll reads all files of a directory.
func readAll(t testing.TB, dir string) (all []Record, sums []Summary) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+Extension))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		s, err := Read(path, func(r *Record) { all = append(all, *r) })
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, s)
	}
	return all, sums
}

func TestWhatIsAppendedIsThere(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	want := make([]Record, 3)
	for i := range want {
		want[i] = sample(uint64(i))
		w.Append(&want[i])
	}
	check := func() {
		t.Helper()
		got, sums := readAll(t, dir)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		s := sums[0]
		if len(sums) != 1 || s.Node != "id" || s.Name != "name" || s.Number != 1 || s.Records != 3 || s.Torn+s.Damaged != 0 || s.Lost != 0 {
			t.Fatalf("%+v", sums)
		}
		if m := want[0].Mono; m < s.BegunMono || m > want[2].Mono {
			t.Fatalf("times %d, %d, %d", s.BegunMono, m, want[2].Mono)
		}
	}
	check() // while it is open
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check()
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	if info, err := os.Stat(paths[0]); err != nil || info.Size() != headerSize+3*recordSize {
		t.Errorf("%v %v: what is not used is not given back", info, err)
	}
	late := sample(9)
	w.Append(&late) // is not recorded, and harms nothing
	open(t, dir).Append(&late)
	if got, sums := readAll(t, dir); len(got) != 4 || len(sums) != 2 || sums[0].Process == sums[1].Process {
		t.Errorf("the next process's: %d records, %+v", len(got), sums)
	}
}

// TestManyFiles: every record is there once, whoever appends how fast, and files
// follow each other.
func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	const each, writers = 5 * firstRoom, 4
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for j := range each {
				r := sample(uint64(i*each + j))
				w.Append(&r)
			}
		})
	}
	all.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	got, sums := readAll(t, dir)
	for i := range got {
		seen[got[i].KeyHi] = true
	}
	if len(got) != each*writers || len(seen) != each*writers || len(sums) < 3 {
		t.Errorf("%d records of %d, %d files", len(got), len(seen), len(sums))
	}
}

// TestNoRoom: what cannot be recorded is counted, and recording goes on when it
// can.
func TestNoRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	w := open(t, dir)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	const lost = 10
	for i := range uint64(firstRoom + lost) {
		r := sample(i)
		w.Append(&r)
	}
	got, sums := readAll(t, dir+".away")
	if len(got) != firstRoom || sums[0].Lost != lost {
		t.Fatalf("%d records, %d lost", len(got), sums[0].Lost)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.failed = w.failed.Add(-retryAfter)
	w.mu.Unlock()
	r := sample(0)
	w.Append(&r)
	if got, _ := readAll(t, dir); len(got) != firstRoom+1 {
		t.Errorf("%d records", len(got))
	}
}

func TestOpenFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Who{}); err == nil {
		t.Error("a file is a directory")
	}
}

// appendForEver tells the number of each record once it is appended.
func appendForEver(dir string) {
	w, err := Open(dir, Who{})
	if err != nil {
		os.Exit(1)
	}
	for n := uint64(0); ; n++ {
		r := sample(n)
		w.Append(&r)
		if _, err := os.Stdout.WriteString(strconv.FormatUint(n, 10) + "\n"); err != nil {
			os.Exit(1)
		}
	}
}

// TestKill: after a kill -9 every record is there that the process has told of.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AUDIT_TEST_APPEND="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for buf := make([]byte, 4096); text.Len() < 40_000; {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buf[:n])
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	told := strings.Count(text.String(), "\n")
	got, sums := readAll(t, dir)
	if len(got) < told {
		t.Errorf("%d records, %d told of", len(got), told)
	}
	for i := range got {
		if got[i].KeyHi != uint64(i) {
			t.Fatalf("record %d is that of %d", i, got[i].KeyHi)
		}
	}
	for _, s := range sums {
		if s.Torn+s.Damaged > 0 {
			t.Errorf("%+v", s)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	w := open(b, b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		r := sample(1)
		w.Append(&r)
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	w := open(b, b.TempDir())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := sample(1)
			w.Append(&r)
		}
	})
}

// BenchmarkWrite is what a record costs with a system call.
func BenchmarkWrite(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r := sample(1)
	for b.Loop() {
		line, _ := r.AppendBinary(nil)
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}
