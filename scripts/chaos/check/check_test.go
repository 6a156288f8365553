package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// The forged runs are in a minute that begins at base, and the machine's clock
// shows base - ahead then.
const (
	base  = int64(1_780_000_020) * second
	ahead = base - 1000*second
	id    = "3a1e"
)

// forged is a run that is made up: a limit of 5 a minute and 3 a second of two
// keys, and a tolerant one of 2 a second.
type forged struct {
	t       *testing.T
	dir     string
	run     *book.Run
	faults  string
	clients strings.Builder
	records map[string][]audit.Record // by node
}

func forge(t *testing.T) *forged {
	terms := func(ws ...book.Window) []book.Terms { return []book.Terms{{Asked: 1, Confirmed: 2, Windows: ws}} }
	return &forged{t: t, dir: t.TempDir(), records: map[string][]audit.Record{}, run: &book.Run{
		ClusterID: "c", Begun: at(-100 * second), Ended: at(100 * second),
		Limits: []*book.Limit{
			{Name: "five", ID: id, Keys: []string{"a", "b"}, Terms: terms(book.Window{Unit: "minute", Max: 5})},
			{Name: "two", ID: id + "2", Keys: []string{"a"}, Tolerant: true, Terms: terms(book.Window{Unit: "second", Max: 2})},
		},
	}}
}

// at is the machine's time so long after base.
func at(after int64) int64 { return base + after - ahead }

// admit forges an admission on a node, of a limit's key, so long after base.
func (f *forged) admit(node string, limit, key int, after int64) *audit.Record {
	l := f.run.Limits[limit]
	k := keyOf(f.run.ClusterID, l.ID, l.Keys[key])
	w := l.Terms[0].Windows[0]
	start, _, err := kindOf(w).at(base + after)
	if err != nil {
		start = floor(base+after, second/4) // a slice
	}
	f.records[node] = append(f.records[node], audit.Record{
		KeyHi: k.hi, KeyLo: k.lo, Start: start, Unit: unitOf(w.Unit), Length: w.Length, Local: l.Local, Lo: base + after, Hi: base + after + 100,
		Mono: at(after), Incarnation: uint64(len(node)) + uint64(node[len(node)-1]), Version: 1, Max: w.Max, Burst: uint32(w.Burst), Tokens: 1,
	})
	return &f.records[node][len(f.records[node])-1]
}

// answer forges what a client heard.
func (f *forged) answer(node string, limit, key int, after int64, status int) {
	q := book.Request{Node: node, Limit: limit, Key: key, Sent: at(after) - 300, Received: at(after) + 300, Status: status, Counted: true}
	f.clients.Write(q.AppendLine(nil))
}

func (f *forged) path(node string) string {
	return filepath.Join(f.dir, node, book.AuditDir, "1"+audit.Extension)
}

// write writes all of it.
func (f *forged) write() {
	f.t.Helper()
	if err := book.WriteRun(f.dir, f.run); err != nil {
		f.t.Fatal(err)
	}
	f.put(filepath.Join(f.dir, book.FaultsFile), []byte(f.faults))
	f.put(filepath.Join(f.dir, book.RequestsFile), []byte(f.clients.String()))
	for node, records := range f.records {
		f.process(node, node, uint64(node[len(node)-1]), -50*second, records)
	}
}

// process writes the file of a node's process that began so long after base, into
// any directory.
func (f *forged) process(dir, node string, number uint64, begun int64, records []audit.Record) {
	f.t.Helper()
	h := audit.Header{Node: node, Name: node, Process: number, Number: 1, BegunMono: at(begun)}
	b, _ := h.AppendBinary(nil)
	for i := range records {
		b, _ = records[i].AppendBinary(b)
	}
	f.put(f.path(dir), append(b, make([]byte, 960)...)) // room that was not used
}

func (f *forged) put(path string, data []byte) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// check wants so many violations, all of them with the text.
func (f *forged) check(violations int, text string) *Result {
	f.t.Helper()
	r, err := Check(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	if r.Violations != violations {
		f.t.Errorf("%d violations, not %d: %q", r.Violations, violations, r.Told)
	}
	for _, line := range r.Told {
		if !strings.Contains(line, text) {
			f.t.Errorf("told %q, not %q", line, text)
		}
	}
	return r
}

// fill admits all five of a minute, on both nodes.
func (f *forged) fill() {
	for i := range int64(5) {
		node := fmt.Sprintf("node%d", i%2+1)
		f.admit(node, 0, 0, i*second)
		f.answer(node, 0, 0, i*second, 200)
	}
}

func TestNothingWrong(t *testing.T) {
	f := forge(t)
	f.fill()
	f.answer("node1", 0, 0, 6*second, 429)
	f.answer("node1", 0, 0, 61*second, 429) // of the next minute, which has no demand for five
	f.write()
	r := f.check(0, "")
	if r.Admitted != 5 || r.Records != 5 || r.Refused != 2 || r.Windows != 1 || r.Processes != 2 || r.Unheard != 0 {
		t.Errorf("%+v", r)
	}
	if u := r.Usages[0]; u.All.Windows != 1 || u.All.Of() != 1 || u.Quiet.Windows != 1 {
		t.Errorf("%+v", u)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "violations  0") || !strings.Contains(text.String(), "100.0 %") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestOneTooMany(t *testing.T) {
	f := forge(t)
	f.fill()
	f.admit("node2", 0, 0, 59*second)
	f.admit("node2", 0, 0, 60*second) // of the next minute
	f.admit("node2", 0, 1, 59*second) // of another key
	f.write()
	r := f.check(1, "6 admitted of 5")
	if r.Unheard != 3 || r.Usages[0].Over != 1 {
		t.Errorf("%+v", r)
	}
}

func TestTornEnd(t *testing.T) {
	f := forge(t)
	f.fill()
	f.write()
	whole, err := os.ReadFile(f.path("node2"))
	if err != nil {
		t.Fatal(err)
	}
	const used = 512 + 2*96
	torn := append(append([]byte(nil), whole[:used]...), whole[used-96:used-10]...)
	torn[used] ^= 1 // another checksum than that of the last record
	f.put(f.path("node2"), torn[:used+50])
	f.check(0, "") // cut in the middle of a record
	f.put(f.path("node2"), append(torn, make([]byte, 10)...))
	if r := f.check(0, ""); r.Torn != 1 {
		t.Errorf("%d torn", r.Torn)
	}
	f.put(f.path("node2"), whole[:used-96])
	f.check(1, "not recorded") // the client heard of what is cut off now
	f.put(f.path("node2"), nil)
	f.check(2, "not recorded")
}

func TestWrongRecords(t *testing.T) {
	for _, tt := range []struct {
		name, told string
		count      int
		change     func(*audit.Record)
	}{
		{"unknown key", "no limit has", 1, func(r *audit.Record) { r.KeyLo ^= 1 }},
		{"time before the window", "(I2)", 1, func(r *audit.Record) { r.Lo = r.Start - 1 }},
		{"time after the window", "(I2)", 1, func(r *audit.Record) { r.Hi = r.Start + 60*second }},
		{"no such window", "begins at", 1, func(r *audit.Record) { r.Start += second }},
		{"no limit by the hour", "by the hour", 1, func(r *audit.Record) { r.Unit, r.Start = audit.Hour, floor(r.Start, 3600*second) }},
		{"limit of nobody's", "nobody had asked for", 1, func(r *audit.Record) { r.Max = 7 }},
		{"incarnation of another", "is of node1 and of node2", 1, func(r *audit.Record) { r.Incarnation = 5 + uint64('1') }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := forge(t)
			f.admit("node1", 0, 0, second)
			tt.change(f.admit("node2", 0, 0, second))
			f.write()
			f.check(tt.count, tt.told)
		})
	}
}

// TestClocksApart: nodes that knew different times at the same moment are found,
// unless there are too few records to be sure.
func TestClocksApart(t *testing.T) {
	for records, violations := range map[int]int{fewest: 1, fewest - 1: 0} {
		f := forge(t)
		for i := range records {
			f.admit("node1", 0, i%2, second)
		}
		r := f.admit("node2", 1, 0, second)
		r.Lo, r.Hi = r.Lo+300_000, r.Hi+300_000
		f.write()
		f.check(violations, "differently")
	}
}

func TestTwoProcessesAtOnce(t *testing.T) {
	f := forge(t)
	f.admit("node1", 0, 0, second)
	f.admit("another1", 0, 0, 2*second).Incarnation = 5 + uint64('1')
	f.write()
	h := audit.Header{Node: "node1", Name: "node1", Process: 77, BegunMono: at(0)}
	b, _ := h.AppendBinary(nil)
	f.put(f.path("another1"), b)
	f.check(1, "a process begun")
}

func TestLostRecords(t *testing.T) {
	f := forge(t)
	h := audit.Header{Node: "node1", Name: "node1", Process: 77, Lost: 3}
	b, _ := h.AppendBinary(nil)
	f.write()
	f.put(f.path("node1"), b)
	f.check(1, "3 admissions could not be recorded")
	f.put(f.path("node1"), []byte("something else, of which there is as much as of a header"))
	if _, err := Check(f.dir); err == nil {
		t.Error("a file that is none of audit's is read")
	}
}

// TestTerms: a limit that was changed allows the larger one in the windows in
// which both were in force, and then the new one only.
func TestTerms(t *testing.T) {
	f := forge(t)
	l := f.run.Limits[0]
	l.Terms = append(l.Terms, book.Terms{Asked: at(10 * second), Confirmed: at(10*second + 100), Windows: []book.Window{{Unit: "minute", Max: 2}}})
	f.fill()
	for i := range int64(3) {
		f.admit("node1", 0, 0, 70*second+i).Max = 2
	}
	f.write()
	f.check(1, "3 admitted of 2")

	// What was not confirmed may be in force at any later time.
	l.Terms[1].Confirmed = 0
	f.write()
	f.check(0, "")
}

// TestTolerant: a tolerant limit may be exceeded where a node was cut off for
// long, and only there.
func TestTolerant(t *testing.T) {
	f := forge(t)
	for i := range int64(3) {
		f.admit("node1", 1, 0, i)
	}
	f.write()
	f.check(1, "3 admitted of 2")
	for length, violations := range map[int64]int{second: 1, 4 * second: 0} {
		f.faults = fmt.Sprintf(`{"From":%d,"To":%d,"Isolates":true}`+"\n", at(-2*second), at(-2*second)+length)
		f.write()
		if r := f.check(violations, "3 admitted of 2"); r.Tolerated != 1-violations {
			t.Errorf("%d tolerated", r.Tolerated)
		}
	}
}

func TestFixedAndLocal(t *testing.T) {
	f := forge(t)
	l := f.run.Limits[0]
	l.Terms[0].Windows[0] = book.Window{Unit: "fixed", Length: 30, Max: 2}
	l.Local = true
	for i := range int64(2) {
		f.admit("node1", 0, 0, i)
		f.admit("node2", 0, 0, i)
		f.admit("node1", 0, 0, 30*second+i)
	}
	f.write()
	f.check(0, "")
	f.admit("node2", 0, 0, 2)
	f.write()
	f.check(1, "on node2: 3 admitted of 2 in the fixed window of 30 s")
	l.Local = false
	f.write()
	if r, err := Check(f.dir); err != nil || r.Violations != 7 {
		t.Errorf("%v, %+v", err, r)
	}
}
