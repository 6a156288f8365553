package obs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

// errRetired: the file was closed before this write had its turn.
var errRetired = errors.New("log file was reopened")

// pipeWrite is how much goes into a pipe in one write: what POSIX promises not
// to mix with the writes of others (PIPE_BUF on Linux). Standard output and
// standard error are often the same pipe.
const pipeWrite = 4096

// output is one open file. It is closed by whoever sees last that it is
// retired, so that a write in progress ends in the file it began in, and nobody
// waits for a write that hangs.
type output struct {
	file    *os.File
	pipe    bool
	retired atomic.Bool

	mu     sync.Mutex // held during a write
	closed bool
	// torn says that the file ends within a line, because a write was cut short
	// (a full disk).
	torn bool
}

func newOutput(file *os.File) *output {
	info, err := file.Stat()
	return &output{file: file, pipe: err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0}
}

// write appends whole lines. What a write that was cut short has left behind
// becomes a line of its own and harms no other.
func (o *output) write(p []byte) (int, error) {
	defer o.closeRetired() // after the lock is free
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.retired.Load() {
		return 0, errRetired
	}
	if o.torn {
		if _, err := o.file.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		o.torn = false
	}
	n, err := o.writePieces(p)
	o.torn = err != nil && n > 0 && p[n-1] != '\n'
	return n, err
}

func (o *output) writePieces(p []byte) (int, error) {
	if !o.pipe {
		return o.file.Write(p)
	}
	done := 0
	for done < len(p) {
		n, err := o.file.Write(piece(p[done:]))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// piece is as many whole lines as fit in a write to a pipe, or one longer line.
func piece(p []byte) []byte {
	if len(p) <= pipeWrite {
		return p
	}
	if end := bytes.LastIndexByte(p[:pipeWrite], '\n'); end >= 0 {
		return p[:end+1]
	}
	if end := bytes.IndexByte(p, '\n'); end >= 0 {
		return p[:end+1]
	}
	return p
}

// retire closes the file, at once or after the write in progress.
func (o *output) retire() error {
	o.retired.Store(true)
	return o.closeRetired()
}

// closeRetired closes a retired file if nobody is writing to it; who does comes
// here afterwards.
func (o *output) closeRetired() error {
	if !o.retired.Load() || !o.mu.TryLock() {
		return nil
	}
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	return o.file.Close()
}
