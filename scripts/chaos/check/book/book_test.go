package book

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequests(t *testing.T) {
	dir := t.TempDir()
	want := []Request{
		{Sent: 1, Received: 2, Node: "node1", Limit: 3, Key: 4, Status: 200, Counted: true},
		{Sent: 5, Received: 6, Node: "node2"},
	}
	var text []byte
	for i := range want {
		text = want[i].AppendLine(text)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, RequestsFile), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []Request
	read := func() error {
		got = nil
		return ReadRequests(dir, func(r *Request) { got = append(got, *r) })
	}
	if err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, %v", got, err)
	}
	write(append(text, "1,2,no"...)) // a line that was being written
	if err := read(); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, line := range []string{"1,2,n,3,4,200\n", "x,2,n,3,4,200,true\n"} {
		write([]byte(line))
		if read() == nil {
			t.Errorf("%q is read", line)
		}
	}
}

func TestRunAndFaults(t *testing.T) {
	dir := t.TempDir()
	want := &Run{Seed: 7, Limits: []*Limit{{Name: "n", Terms: []Terms{{Asked: 1, Windows: []Window{{Unit: "minute", Max: 5}}}}}}}
	if err := WriteRun(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadRun(dir); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if fs, err := ReadFaults(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, %v", fs, err)
	}
	for text, w := range map[string]Window{
		"5 a minute":                    want.Limits[0].Terms[0].Windows[0],
		"9 in a sliding window of 30 s": {Unit: Sliding, Length: 30, Max: 9},
		"5 in 10 s and a burst of 3":    {Unit: Bucket, Length: 10, Max: 5, Burst: 3},
		"4 in flight":                   {Unit: InFlight, Max: 4},
	} {
		if w.String() != text {
			t.Errorf("%q, not %q", w, text)
		}
	}
}
