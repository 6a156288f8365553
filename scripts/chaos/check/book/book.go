// Package book is what a chaos run writes down for whoever checks it, apart from
// what the nodes record themselves: what was configured, what was done to the
// nodes, and what clients were answered. Times are microseconds of the machine's
// monotonic clock, which runner and nodes have in common, whatever is done to
// their wall clocks.
package book

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Names of files in a run's directory. AuditDir is in each node's.
const (
	RunFile      = "run.json"
	FaultsFile   = "faults.jsonl"
	RequestsFile = "requests.csv"
	AuditDir     = "audit"
)

// Run is RunFile.
type Run struct {
	Seed      uint64
	ClusterID string
	// Begun and Ended bound the time in which there was load.
	Begun, Ended int64
	Limits       []*Limit
	// Network says what could be done to it.
	Network string
}

// Limit is one plugin.
type Limit struct {
	Name string
	// ID is what the limiter counts under, with a key's text; Plugin is the
	// plugin's id.
	ID, Plugin string
	Keys       []string
	// Tolerant limits may be exceeded where a node was cut off for long, which
	// the product says of them.
	Tolerant bool
	// Local limits are counted on each node by itself.
	Local bool
	// Hold is how long its requests take, in microseconds, on the average.
	Hold int64
	// Terms are the budgets it had, in the order in which they were asked for.
	Terms []Terms
}

// Terms are a limit's budgets from some time on.
type Terms struct {
	// Asked is when the configuration was sent, Confirmed when the answer came
	// that it was taken; 0 if none came, so that it may have been or not.
	Asked, Confirmed int64
	Windows          []Window
}

// Window is the budget of one kind of window.
type Window struct {
	// Unit is second, minute, hour, day, month or year; fixed or sliding, of so
	// many seconds; in-flight; or bucket, of which so many seconds bring Max back.
	Unit   string
	Length uint32
	Max    int64
	// Burst is what a bucket has when it is full.
	Burst int64
}

// String is for people: "5 a minute", "9 in a sliding window of 30 s".
func (w Window) String() string {
	switch {
	case w.Burst > 0:
		return fmt.Sprintf("%d in %d s and a burst of %d", w.Max, w.Length, w.Burst)
	case w.Unit == InFlight:
		return fmt.Sprintf("%d in flight", w.Max)
	case w.Length > 0:
		return fmt.Sprintf("%d in a %s window of %d s", w.Max, w.Unit, w.Length)
	}
	return fmt.Sprintf("%d a %s", w.Max, w.Unit)
}

// Units that are not the calendar's.
const (
	Fixed    = "fixed"
	Sliding  = "sliding"
	Bucket   = "bucket"
	InFlight = "in-flight"
)

// Fault is something that was done to the cluster.
type Fault struct {
	From, To int64
	Kind     string
	Nodes    []string
	Text     string
	// Isolates says that nodes of it could not speak with the others or were
	// not there.
	Isolates bool
	// Lost is when the nodes' cells were lost, so that what they counted by
	// themselves began anew; 0 if they were not.
	Lost int64
}

// Request is one request of a client, with its answer.
type Request struct {
	Sent, Received int64
	Node           string
	Limit, Key     int // places in Run.Limits and Limit.Keys
	// Status is 0 if there was no answer.
	Status int
	// Counted says that the answer had the fields of a limit. One that has none was
	// let through without a decision, or never came to the plugin.
	Counted bool
}

// WriteRun writes RunFile.
func WriteRun(dir string, r *Run) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("book: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, RunFile), append(text, '\n'), 0o644)
}

// ReadRun reads RunFile.
func ReadRun(dir string) (*Run, error) {
	text, err := os.ReadFile(filepath.Join(dir, RunFile))
	if err != nil {
		return nil, err
	}
	r := new(Run)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", RunFile, err)
	}
	return r, nil
}

// AppendLine appends the request to a buffer, as it is in RequestsFile.
func (r *Request) AppendLine(b []byte) []byte {
	b = strconv.AppendInt(b, r.Sent, 10)
	b = strconv.AppendInt(append(b, ','), r.Received, 10)
	b = append(append(b, ','), r.Node...)
	b = strconv.AppendInt(append(b, ','), int64(r.Limit), 10)
	b = strconv.AppendInt(append(b, ','), int64(r.Key), 10)
	b = strconv.AppendInt(append(b, ','), int64(r.Status), 10)
	b = strconv.AppendBool(append(b, ','), r.Counted)
	return append(b, '\n')
}

func parseRequest(line string) (r Request, err error) {
	fields := strings.Split(line, ",")
	if len(fields) != 7 {
		return r, fmt.Errorf("%d fields, not 7", len(fields))
	}
	number := func(i int) int64 {
		n, e := strconv.ParseInt(fields[i], 10, 64)
		err = errors.Join(err, e)
		return n
	}
	r = Request{
		Sent: number(0), Received: number(1), Node: fields[2], Limit: int(number(3)), Key: int(number(4)),
		Status: int(number(5)), Counted: fields[6] == "true",
	}
	return r, err
}

// ReadRequests calls each for every line of RequestsFile.
func ReadRequests(dir string, each func(*Request)) error {
	return readLines(filepath.Join(dir, RequestsFile), func(line string) error {
		r, err := parseRequest(line)
		if err == nil {
			each(&r)
		}
		return err
	})
}

// ReadFaults reads FaultsFile. It must be there, as RequestsFile must, even if it
// is empty: a run of which a part is missing cannot be judged.
func ReadFaults(dir string) (fs []Fault, err error) {
	err = readLines(filepath.Join(dir, FaultsFile), func(line string) error {
		var f Fault
		err := json.Unmarshal([]byte(line), &f)
		fs = append(fs, f)
		return err
	})
	return fs, err
}

func readLines(path string, each func(string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // a last line without an end was being written
		} else if err != nil {
			return err
		}
		if err := each(strings.TrimSuffix(line, "\n")); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
}
