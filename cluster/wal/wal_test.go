package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// small has a new file every few entries.
var small = Options{SegmentSize: 2048, NoSync: true}

func create(t testing.TB, opts Options) *Log {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "log"), uuid.New(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // closed already where that matters
	return l
}

func reopen(t testing.TB, l *Log) *Log {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(l.dir, l.opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	return again
}

func entries(from, to uint64, size int) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1 + i/10, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, size)})
	}
	return out
}

func store(t testing.TB, l *Log, list ...*raft.Log) {
	t.Helper()
	if err := l.StoreLogs(list); err != nil {
		t.Fatal(err)
	}
}

// failer is a test, of rapid's or not.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func same(t failer, got, want []*raft.Log) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, e := range got {
		if !reflect.DeepEqual(e, want[i]) {
			t.Fatalf("entry %d of %d differs", e.Index, len(want))
		}
	}
}

// content reads all of a log.
func content(t failer, l *Log) []*raft.Log {
	t.Helper()
	first, err := l.FirstIndex()
	last, err2 := l.LastIndex()
	if err = errors.Join(err, err2); err != nil {
		t.Fatalf("%v", err)
	}
	var out []*raft.Log
	for i := first; last != 0 && i <= last; i++ {
		e := new(raft.Log)
		if err := l.GetLog(i, e); err != nil {
			t.Fatalf("entry %d of %d to %d: %v", i, first, last, err)
		}
		out = append(out, e)
	}
	for _, i := range []uint64{first - 1, last + 1} {
		if err := l.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d, beyond %d to %d: %v", i, first, last, err)
		}
	}
	return out
}

func TestEveryFieldComesBack(t *testing.T) {
	l := create(t, Options{NoSync: true})
	want := []*raft.Log{
		{Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("more"), AppendedAt: time.Unix(1700000000, 123456789)},
		{Index: 8, Term: 1 << 60, Type: raft.LogNoop},
		{Index: 9, Term: 1 << 60, Type: raft.LogCommand, Data: bytes.Repeat([]byte("large"), 2<<20)}, // more than a file has room for
		{Index: 10, Term: 1 << 60, Extensions: []byte("only")},
	}
	store(t, l, want[:2]...)
	store(t, l, want[2:]...)
	for range 2 {
		same(t, content(t, l), want)
		l = reopen(t, l)
	}
}

func TestWhatLeavesAHoleIsRefused(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(5, 9, 10)...)
	for name, list := range map[string][]*raft.Log{
		"a gap behind the last": entries(11, 12, 10), "the last again": entries(9, 10, 10),
		"a gap within": {entries(10, 10, 1)[0], entries(12, 12, 1)[0]},
	} {
		if err := l.StoreLogs(list); !errors.Is(err, errOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.DeleteRange(6, 7); !errors.Is(err, errOrder) {
		t.Errorf("a hole: %v", err)
	}
	if got := content(t, l); len(got) != 5 {
		t.Errorf("%d entries", len(got))
	}
	if err := create(t, small).StoreLogs([]*raft.Log{{Index: 0}}); !errors.Is(err, errOrder) {
		t.Errorf("index 0: %v", err)
	}
}

// TestFilesAreRemoved: what was deleted at the beginning takes no room for long.
func TestFilesAreRemoved(t *testing.T) {
	l := create(t, small)
	for i := uint64(1); i <= 1000; i += 4 {
		store(t, l, entries(i, i+3, 100)...)
		if i > 20 {
			if err := l.DeleteRange(1, i-20); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir(l.dir)
	if err != nil || len(files) > 6 {
		t.Errorf("%d files for 24 entries (%v)", len(files), err)
	}
	if got := content(t, reopen(t, l)); got[len(got)-1].Index != 1000 {
		t.Errorf("the last entry is %d", got[len(got)-1].Index)
	}
}

// TestRewriteLeavesNothing: of what was deleted no byte is left in the files.
func TestRewriteLeavesNothing(t *testing.T) {
	l := create(t, Options{NoSync: true})
	old, kept := bytes.Repeat([]byte("old secret"), 10), bytes.Repeat([]byte("new secret"), 10)
	for i := uint64(1); i <= 50; i++ {
		data := old
		if i > 40 {
			data = kept
		}
		store(t, l, &raft.Log{Index: i, Term: 1, Data: data})
	}
	if err := l.DeleteRange(1, 40); err != nil {
		t.Fatal(err)
	}
	want := content(t, l)
	if err := l.Rewrite(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		same(t, content(t, l), want)
		for name, data := range image(t, l.dir) {
			if bytes.Contains(data, old) {
				t.Errorf("%s still has what was deleted", name)
			}
		}
		l = reopen(t, l)
	}
}

// TestDamageIsNoShorterLog: a bit that flips in what was once on the disk is told.
func TestDamageIsNoShorterLog(t *testing.T) {
	l := create(t, small)
	for i := uint64(1); i <= 40; i++ {
		store(t, l, entries(i, i, 60)...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good := image(t, l.dir)
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range good {
			if !yield(name) {
				return
			}
		}
	})
	// The last batch of all may be taken for one that was under way: whether it
	// was there nobody can tell.
	lastOne := recordSize(entries(40, 40, 60)[0])
	end := len(bytes.TrimRight(good[names[len(names)-1]], "\x00"))
	for n, name := range names {
		for at := 0; at < len(good[name]); at += 7 {
			if n == len(names)-1 && at >= end-lastOne-recordHead {
				break
			}
			if at >= 56 && at < segmentHead { // filling
				continue
			}
			bad := maps(good)
			bad[name] = bytes.Clone(bad[name])
			bad[name][at] ^= 0x40
			dir := laid(t, bad)
			got, err := Open(dir, small)
			if err == nil && len(content(t, got)) == 40 { // it hit the filling of a record
				_ = got.Close()
				continue
			}
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d of %s: %v", at, name, err)
			}
			if after := image(t, dir); !cmp.Equal(after, bad) {
				t.Fatalf("byte %d of %s: a damaged log was changed", at, name)
			}
		}
	}
	for _, name := range names[1 : len(names)-1] {
		bad := maps(good)
		delete(bad, name)
		if _, err := Open(laid(t, bad), small); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir(), small); !errors.Is(err, ErrNone) {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestDiskThatFails: after a failed write nothing is stored any more.
func TestDiskThatFails(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(1, 2, 10)...)
	f := l.segments[0].file
	readOnly, err := os.Open(l.segments[0].path)
	if err != nil {
		t.Fatal(err)
	}
	l.segments[0].file = readOnly
	_ = f.Close() // all is written
	first := l.StoreLogs(entries(3, 3, 10))
	if first == nil {
		t.Fatal("it was stored")
	}
	if err := l.StoreLogs(entries(3, 3, 10)); !errors.Is(err, first) {
		t.Errorf("the next one: %v", err)
	}
	if err := l.DeleteRange(1, 2); !errors.Is(err, first) {
		t.Errorf("delete: %v", err)
	}
	if got := content(t, reopen(t, l)); len(got) != 2 {
		t.Errorf("%d entries", len(got))
	}
}

// TestNoRoomForAFile: that passes.
func TestNoRoomForAFile(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(1, 10, 100)...)
	l.makers.Wait()
	dir := l.dir
	l.dir = filepath.Join(dir, "nowhere")
	for f := range channel(l.spare) {
		_ = f.Close() // not to be used
	}
	l.making = true // no other
	if err := l.StoreLogs(entries(11, 20, 100)); err == nil {
		t.Fatal("it was stored")
	}
	l.dir, l.making = dir, false
	store(t, l, entries(11, 20, 100)...)
	if got := content(t, reopen(t, l)); len(got) != 20 {
		t.Errorf("%d entries", len(got))
	}
}

// TestAFileThatMayBeThere: where it is not known whether the next file has its name,
// nothing is written to the one before, which would be void after a restart.
func TestAFileThatMayBeThere(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(1, 8, 100)...) // more than half: the next one is made
	l.makers.Wait()
	dir := l.dir
	l.dir = filepath.Join(dir, "nowhere")
	first := l.StoreLogs(entries(9, 20, 100))
	l.dir = dir
	if first == nil {
		t.Fatal("it was stored")
	}
	if err := l.StoreLogs(entries(9, 9, 1)); err == nil || !errors.Is(first, errors.Unwrap(err)) {
		t.Errorf("the next one, for which there is room: %v, after %v", err, first)
	}
	if got := content(t, reopen(t, l)); len(got) != 8 {
		t.Errorf("%d entries", len(got))
	}
}

func channel(c chan *os.File) func(func(*os.File) bool) {
	return func(yield func(*os.File) bool) {
		select {
		case f := <-c:
			yield(f)
		default:
		}
	}
}

// TestTheOldestFilesAreGone: who takes them away has a log that begins later, and
// where nothing is left, one that begins anywhere.
func TestTheOldestFilesAreGone(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(1, 16, 60)...)
	store(t, l, entries(17, 20, 60)...)
	if err := l.DeleteRange(17, 20); err != nil { // a file of its own, still empty
		t.Fatal(err)
	}
	for _, path := range []string{segmentPath(l.dir, 1), segmentPath(l.dir, 2)} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	l = reopen(t, l)
	store(t, l, entries(900, 901, 60)...)
	if got := content(t, reopen(t, l)); len(got) != 2 || got[0].Index != 900 {
		t.Errorf("%d entries", len(got))
	}
}

// TestReadChangesNothing: what only reads leaves also what a crash has left.
func TestReadChangesNothing(t *testing.T) {
	l := create(t, small)
	store(t, l, entries(1, 3, 10)...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	torn := image(t, l.dir)
	name := filepath.Base(segmentPath("", 1))
	end := len(bytes.TrimRight(torn[name], "\x00"))
	torn[name][end-1] ^= 1
	torn["left.tmp"] = []byte("of a file that was not finished")
	dir := laid(t, torn)
	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, r); len(got) != 2 || r.Name() != l.Name() {
		t.Errorf("%d entries of %s", len(got), r.Name())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(image(t, dir), torn) {
		t.Error("it was changed")
	}
}

// image gives the files of a directory.
func image(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func maps(of map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for name, data := range of {
		out[name] = data
	}
	return out
}

// laid makes a directory of files.
func laid(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestModel compares a log with a list, through restarts and losses of power: of a
// batch that was under way then a part is there from its beginning on, and all else
// is as it was.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: t, rt: rt}
		m.begin()
		defer func() { _ = m.log.Close() }()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			m.step()
			m.compare()
		}
	})
}

type model struct {
	t    *testing.T
	rt   *rapid.T
	log  *Log
	want []*raft.Log
	next uint64
	term uint64
}

func (m *model) begin() {
	l, err := Create(filepath.Join(m.t.TempDir(), "log"), uuid.New(), small)
	if err != nil {
		m.rt.Fatal(err)
	}
	m.log, m.next = l, rapid.Uint64Range(1, 1<<40).Draw(m.rt, "first")
}

// batch makes the next entries.
func (m *model) batch() []*raft.Log {
	m.term++
	var out []*raft.Log
	for i := range rapid.IntRange(1, 6).Draw(m.rt, "entries") {
		size := rapid.SampledFrom([]int{0, 1, 7, 64, 300, 3000}).Draw(m.rt, "size")
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(m.term) + byte(j)
		}
		e := &raft.Log{Index: m.next + uint64(i), Term: m.term, Type: raft.LogCommand}
		if size > 0 {
			e.Data = data
		}
		out = append(out, e)
	}
	return out
}

func (m *model) step() {
	switch kind := rapid.IntRange(0, 9).Draw(m.rt, "step"); {
	case kind <= 3:
		list := m.batch()
		m.must(m.log.StoreLogs(list))
		m.want, m.next = append(m.want, list...), m.next+uint64(len(list))
	case kind == 4:
		m.crash(m.batch())
	case kind == 5:
		m.must(m.log.Close())
		m.open(m.log.dir)
	case kind == 6:
		m.must(m.log.Rewrite())
	case len(m.want) == 0:
		m.next = rapid.Uint64Range(1, 1<<40).Draw(m.rt, "first") // after a snapshot of a leader's
	case kind == 7: // from the beginning on
		n := rapid.IntRange(1, len(m.want)).Draw(m.rt, "oldest")
		m.must(m.log.DeleteRange(m.want[0].Index, m.want[n-1].Index))
		m.want = m.want[n:]
	default: // to the end
		n := rapid.IntRange(0, len(m.want)-1).Draw(m.rt, "newest")
		m.must(m.log.DeleteRange(m.want[n].Index, m.want[len(m.want)-1].Index))
		if m.want = m.want[:n]; n > 0 {
			m.next = m.want[n-1].Index + 1
		}
	}
}

// crash stores a batch of which the power leaves some sectors.
func (m *model) crash(list []*raft.Log) {
	m.log.makers.Wait()
	before := image(m.t, m.log.dir)
	m.must(m.log.StoreLogs(list))
	m.log.makers.Wait()
	after := image(m.t, m.log.dir)
	m.must(m.log.Close())
	const sector = 512
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(m.rt, "seed"), 0))
	for name, now := range after {
		old, ok := before[name]
		if !ok { // a new file was there in full, with its head, before it was written to
			old = make([]byte, len(now))
			copy(old, now[:min(len(now), segmentHead)])
		}
		for at := 0; at < len(now); at += sector {
			if rng.IntN(2) == 0 {
				copy(now[at:min(at+sector, len(now))], old[at:min(at+sector, len(old))])
			}
		}
	}
	m.open(laid(m.t, after))
	last, err := m.log.LastIndex()
	m.must(err)
	for len(list) > 0 && list[0].Index <= last { // what is there of the batch
		m.want, m.next, list = append(m.want, list[0]), m.next+1, list[1:]
	}
}

func (m *model) open(dir string) {
	l, err := Open(dir, small)
	m.must(err)
	m.log = l
}

func (m *model) must(err error) {
	m.rt.Helper()
	if err != nil {
		m.rt.Fatal(err)
	}
}

// compare: after a restart there may be entries again that were deleted at the
// beginning, and no other difference.
func (m *model) compare() {
	got := content(m.rt, m.log)
	switch extra := len(got) - len(m.want); {
	case extra < 0:
		m.rt.Fatalf("%d entries of %d", len(got), len(m.want))
	case extra > 0 && len(m.want) > 0 && got[extra].Index == m.want[0].Index:
		m.must(m.log.DeleteRange(got[0].Index, got[extra-1].Index))
		got = got[extra:]
	}
	same(m.rt, got, m.want)
}
