package obs

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func open(t *testing.T, fs *Files, path string) *File {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, f *File, line string) {
	t.Helper()
	if n, err := f.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("write %q: %d, %v", line, n, err)
	}
}

func TestReopenAfterRotation(t *testing.T) {
	fs := NewFiles()
	path := filepath.Join(t.TempDir(), "deep", "er", "error.log")
	f := open(t, fs, path)
	if open(t, fs, path) != f {
		t.Error("two logs with one path are two files")
	}
	write(t, f, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "two\n")
	if err := fs.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, f, "three\n")
	if got := read(t, path+".1"); got != "one\ntwo\n" {
		t.Errorf("rotated file holds %q", got)
	}
	if got := read(t, path); got != "three\n" {
		t.Errorf("new file holds %q", got)
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if err := errors.Join(fs.Reopen(), fs.Close()); err != nil {
		t.Errorf("reopen and second close: %v", err)
	}
}

// TestReopenFails: a log whose directory has gone goes on in its old file.
func TestReopenFails(t *testing.T) {
	fs := NewFiles()
	dir := filepath.Join(t.TempDir(), "logs")
	f := open(t, fs, filepath.Join(dir, "error.log"))
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Reopen(); err == nil {
		t.Error("Reopen found nothing wrong with a directory that is gone")
	}
	write(t, f, "still here\n")
	if got := read(t, filepath.Join(dir+".gone", "error.log")); got != "still here\n" {
		t.Errorf("old file holds %q", got)
	}
}

func TestAppendsToWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	for range 2 {
		fs := NewFiles()
		write(t, open(t, fs, path), "line\n")
		fs.Close()
	}
	if got := read(t, path); got != "line\nline\n" {
		t.Errorf("file holds %q", got)
	}
}

func TestPlaces(t *testing.T) {
	fs := NewFiles()
	for path, own := range map[string]*os.File{"/dev/stdout": os.Stdout, "/dev/stderr": os.Stderr} {
		want, err := own.Stat()
		got, gotErr := open(t, fs, path).out.file.Stat()
		if err != nil || gotErr != nil || !os.SameFile(got, want) {
			t.Errorf("%s is not this process's own: %v, %v", path, err, gotErr)
		}
	}
	write(t, open(t, fs, ""), "to nowhere")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Open(filepath.Join(file, "x.log")); err == nil || !strings.HasPrefix(err.Error(), "log file: ") {
		t.Errorf("a log below a file: %v", err)
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdout.WriteString(""); err != nil {
		t.Errorf("Close closed the process's stdout: %v", err)
	}
}

func TestLinesStayWhole(t *testing.T) {
	fs := NewFiles()
	path := filepath.Join(t.TempDir(), "a.log")
	f := open(t, fs, path)
	line := strings.Repeat("x", 99) + "\n"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				f.Write([]byte(line))
			}
		})
	}
	for range 5 {
		if err := fs.Reopen(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if got := read(t, path); got != strings.Repeat(line, 400) {
		t.Errorf("%d bytes, want %d; or lines were mixed", len(got), 400*len(line))
	}
}

func TestLogger(t *testing.T) {
	fs := NewFiles()
	path := filepath.Join(t.TempDir(), "error.log")
	level := zap.NewAtomicLevelAt(zapcore.InfoLevel)
	log := NewLogger(open(t, fs, path), level).Named("proxy")
	log.Debug("hidden")
	log.Info("shown", zap.String("route", "r1"))
	level.SetLevel(zapcore.ErrorLevel)
	log.Warn("hidden as well")
	level.SetLevel(zapcore.DebugLevel)
	log.Debug("now shown")

	lines := bytes.Split(bytes.TrimSpace([]byte(read(t, path))), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("log holds %d lines, want 2:\n%s", len(lines), read(t, path))
	}
	var first struct{ Ts, Level, Logger, Msg, Route string }
	if err := json.Unmarshal(lines[0], &first); err != nil {
		t.Fatal(err)
	}
	if first.Level != "info" || first.Logger != "proxy" || first.Msg != "shown" || first.Route != "r1" || !strings.HasSuffix(first.Ts, "Z") {
		t.Errorf("first line: %+v", first)
	}
}

func TestParseLevel(t *testing.T) {
	order := []string{"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"}
	last := zapcore.DebugLevel
	for _, name := range order {
		level, err := ParseLevel(name)
		if err != nil || level < last {
			t.Errorf("%s is %v, %v; the one before is %v", name, level, err, last)
		}
		last = level
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("loud is a level")
	}
}

func TestRegistry(t *testing.T) {
	families, err := NewRegistry("1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range families {
		names[f.GetName()] = f.String()
	}
	if !strings.Contains(names["sluice_build_info"], "1.2.3") || names["go_goroutines"] == "" {
		t.Errorf("metrics: %v", names["sluice_build_info"])
	}
}
