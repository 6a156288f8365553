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
	"syscall"
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
// process's own streams, also where these devices cannot be opened (sockets).
func (fs *Files) Open(path string) (*File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.byPath[path]; f != nil {
		return f, nil
	}
	f := &File{path: path}
	file, err := f.first()
	if err != nil {
		return nil, err
	}
	if file != nil {
		f.out = newOutput(file)
	}
	fs.byPath[path] = f
	return f, nil
}

// first opens the file for the first time; nil discards.
func (f *File) first() (*os.File, error) {
	switch f.path {
	case "":
		return nil, nil
	case "/dev/stdout":
		return duplicate(os.Stdout)
	case "/dev/stderr":
		return duplicate(os.Stderr)
	}
	f.named = true
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return openLog(f.path, 0)
}

// duplicate gives another descriptor of a standard stream. Through the descriptors
// 1 and 2 themselves, a reader that has gone ends the process (os/signal,
// SIGPIPE); through any other the write fails, and a gateway goes on without its
// log.
func duplicate(stream *os.File) (*os.File, error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Dup(int(stream.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("log file %s: %w", stream.Name(), err)
	}
	return os.NewFile(uintptr(fd), stream.Name()), nil
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

func openLog(path string, flags int) (*os.File, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|flags, 0o644)
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
	named bool // by a path, and so reopened

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
	if !f.named {
		return nil
	}
	// A pipe without a reader is an error instead of a wait. Not under the lock:
	// also a file may take its time to open.
	file, err := openLog(f.path, syscall.O_NONBLOCK)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return file.Close()
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
	if f.out == nil {
		return nil
	}
	return f.out.retire()
}
