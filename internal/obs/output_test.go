package obs

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestTornLine: what a full disk has cut off spoils no other line.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f := open(t, NewFiles(), path)
	write(t, f, "whole\nto")
	f.out.torn = true // as after a write that was cut short
	write(t, f, "next\n")
	write(t, f, "last\n")
	if got := read(t, path); got != "whole\nto\nnext\nlast\n" {
		t.Errorf("file holds %q", got)
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	f := open(t, NewFiles(), "/dev/full")
	for range 2 {
		if n, err := f.Write([]byte("line\n")); n != 0 || err == nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
}

// TestPipeThatHangs: a write to a pipe that nobody reads holds up neither Reopen
// nor Close, and ends whole when somebody does.
func TestPipeThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	fs := NewFiles()
	f := open(t, fs, path)
	const lines = 1000
	line := strings.Repeat("x", 999) + "\n"
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := f.Write([]byte(strings.Repeat(line, lines))); n != lines*len(line) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	})
	r := bufio.NewReader(reader)
	if got, err := r.ReadString('\n'); got != line || err != nil { // the write has begun
		t.Fatalf("read %q, %v", got, err)
	}
	if err := fs.Reopen(); err != nil {
		t.Error(err)
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	for i := range lines - 1 {
		if got, err := r.ReadString('\n'); got != line || err != nil {
			t.Fatalf("line %d: %q, %v", i, got, err)
		}
	}
	wg.Wait()
}

// TestReopenOfAPipeWithoutReader does not wait for one.
func TestReopenOfAPipeWithoutReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fs := NewFiles()
	f := open(t, fs, path)
	reader.Close()
	if err := fs.Reopen(); err == nil {
		t.Error("a pipe that nobody reads was opened")
	}
	if _, err := f.Write([]byte("x\n")); err == nil {
		t.Error("and written to")
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
}

func TestPieces(t *testing.T) {
	long := strings.Repeat("y", pipeWrite) + "\n"
	for _, c := range []struct{ text, want string }{
		{"a\nb\n", "a\nb\n"},
		{"a\n" + long, "a\n"},
		{long + "a\n", long},
		{strings.Repeat("y", pipeWrite+1), strings.Repeat("y", pipeWrite+1)},
		{strings.Repeat("ab\n", pipeWrite), strings.Repeat("ab\n", pipeWrite/3)},
	} {
		if got := string(piece([]byte(c.text))); got != c.want {
			t.Errorf("of %d bytes %d are a piece, want %d", len(c.text), len(got), len(c.want))
		}
	}
}
