// Package obs is what a node tells its operator: log files that can be reopened
// after a rotation, zap loggers whose level can be changed while running, and
// the registry of metrics.
package obs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// ErrClosed is returned by writes after Files.Close.
var ErrClosed = errors.New("log file is closed")

// Files are the open log files of a process, each opened once however many logs
// go there. Safe for concurrent use.
type Files struct {
	mu     sync.Mutex
	byPath map[string]*File
}

// NewFiles makes an empty set.
func NewFiles() *Files { return &Files{byPath: map[string]*File{}} }

// Open gives the file of a path, made with its directory if need be and
// appended to. "" discards everything; /dev/stdout and /dev/stderr are the
// process's own, also where these devices cannot be opened (sockets).
func (fs *Files) Open(path string) (*File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.byPath[path]; f != nil {
		return f, nil
	}
	f := &File{path: path}
	switch path {
	case "":
	case "/dev/stdout":
		f.out = newOutput(os.Stdout)
	case "/dev/stderr":
		f.out = newOutput(os.Stderr)
	default:
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
		out, err := openLog(path)
		if err != nil {
			return nil, err
		}
		f.out, f.owned = newOutput(out), true
	}
	fs.byPath[path] = f
	return f, nil
}

// Reopen opens every file anew by its path, after something has moved the old
// ones away. A file that cannot be opened goes on with what it had.
func (fs *Files) Reopen() error {
	var errs []error
	for _, f := range fs.all() {
		errs = append(errs, f.reopen())
	}
	return errors.Join(errs...)
}

// Close closes every file; later writes return ErrClosed.
func (fs *Files) Close() error {
	var errs []error
	for _, f := range fs.all() {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

func (fs *Files) all() []*File {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	all := make([]*File, 0, len(fs.byPath))
	for _, f := range fs.byPath {
		all = append(all, f)
	}
	return all
}

func openLog(path string) (*os.File, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return out, nil
}

// File is one log's destination, an io.Writer and zapcore.WriteSyncer. Safe for
// concurrent use; each Write reaches one open file as a whole, so lines stay
// whole. A write that hangs holds up other writes, but neither Reopen nor Close.
type File struct {
	path  string
	owned bool // opened here, and so reopened and closed here

	mu     sync.Mutex // never held during a write
	out    *output    // nil discards
	closed bool
}

// Path is where the file is, "" if everything is discarded.
func (f *File) Path() string { return f.path }

// Write appends p.
func (f *File) Write(p []byte) (int, error) {
	for {
		out, err := f.current()
		switch {
		case err != nil:
			return 0, err
		case out == nil:
			return len(p), nil
		}
		if n, err := out.write(p); !errors.Is(err, errRetired) {
			return n, err
		}
		// It was reopened while this write waited for another one.
	}
}

func (f *File) current() (*output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, ErrClosed
	}
	return f.out, nil
}

// Sync does nothing: log lines are not worth a disk flush each.
func (f *File) Sync() error { return nil }

func (f *File) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.owned || f.closed {
		return nil
	}
	file, err := openLog(f.path)
	if err != nil {
		return err
	}
	old := f.out
	f.out = newOutput(file)
	return old.retire()
}

func (f *File) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	if f.owned {
		return f.out.retire()
	}
	return nil
}
