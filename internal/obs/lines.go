package obs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// lineShards is how many buffers the lines are spread over, so that
	// processors do not wait for each other.
	lineShards = 8
	// shardSize bounds the lines that wait in one of them, in bytes. There are
	// two for each shard, the one that fills and the one that is written: 2 MiB
	// in all, of which a quiet node touches little.
	shardSize = 128 << 10
	// batchSize is about how much goes into the file in one write.
	batchSize = 64 << 10
	// flushAfter is how old a line may become before it is written.
	flushAfter = 100 * time.Millisecond
	// firstReport and reportEvery are when drops are told: soon after the first,
	// and then once a minute at most.
	firstReport = time.Second
	reportEvery = time.Minute
	// closeWait bounds Close: a pipe that nobody reads must not keep a process
	// from ending.
	closeWait = 2 * time.Second
	// headerSize is what precedes each line in a shard: its number and its
	// length.
	headerSize = 8 + 4
)

// MaxLine is how long a line of Lines may be, in bytes; longer ones are dropped.
const MaxLine = shardSize - headerSize

// Lines writes log lines through one goroutine. Adding a line costs a copy: no
// system call, no wait, and no goroutine wakes but for the first line after a
// flush (which starts a timer) and when a buffer is half full. A line that finds
// no room is dropped and counted, so a disk that hangs holds up nobody.
//
// Lines are written in the order they were added, except that those added
// within the microseconds of a flush may change places. Safe for concurrent use.
type Lines struct {
	out  io.Writer
	log  *zap.Logger
	name string

	next    atomic.Uint64 // number of the last line
	dropped atomic.Uint64
	shards  [lineShards]lineShard

	// armed says that the timer runs, or is about to: of all the lines after a
	// flush only the first starts it.
	armed   atomic.Bool
	timer   *time.Timer
	full    chan struct{} // holds a token when a shard is half full
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once

	// Of the writer alone.
	taken   [lineShards][]byte
	batch   []byte
	failing bool

	report dropReport
}

// lineShard is the lines of some processors.
type lineShard struct {
	mu     sync.Mutex
	lines  []byte
	closed bool
	_      [24]byte // the rest of a cache line
}

// NewLines starts a writer to out; name says in the error log which log it is
// about ("proxy access log"). It has to be closed.
func NewLines(out io.Writer, name string, log *zap.Logger) *Lines {
	l := &Lines{
		out: out, log: log, name: name,
		timer: time.NewTimer(time.Hour), full: make(chan struct{}, 1),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	l.timer.Stop()
	l.report.init(l)
	go l.run()
	return l
}

// Add adds one line, which ends in its only newline. shard may be any number;
// callers that run at the same time should have different ones. False means
// that the line was dropped.
func (l *Lines) Add(shard uint32, line []byte) bool {
	// A shard that somebody holds is passed over: to wait for the holder would
	// be a switch of goroutines. So is a full one.
	for i := range uint32(lineShards) {
		s := &l.shards[(shard+i)%lineShards]
		if s.mu.TryLock() && l.addTo(s, line) {
			return true
		}
	}
	s := &l.shards[shard%lineShards]
	s.mu.Lock()
	if l.addTo(s, line) {
		return true
	}
	l.drop(1)
	return false
}

// addTo adds a line to a shard that is locked, and unlocks it. False means that
// there is no room.
func (l *Lines) addTo(s *lineShard, line []byte) bool {
	before := len(s.lines)
	after := before + headerSize + len(line)
	if s.closed || after > shardSize {
		s.mu.Unlock()
		return false
	}
	if s.lines == nil {
		s.lines = make([]byte, 0, shardSize)
	}
	s.lines = binary.LittleEndian.AppendUint64(s.lines, l.next.Add(1))
	s.lines = binary.LittleEndian.AppendUint32(s.lines, uint32(len(line)))
	s.lines = append(s.lines, line...)
	s.mu.Unlock()
	if !l.armed.Load() && l.armed.CompareAndSwap(false, true) {
		l.timer.Reset(flushAfter)
	}
	if before < shardSize/2 && after >= shardSize/2 {
		select {
		case l.full <- struct{}{}:
		default: // it has been told
		}
	}
	return true
}

// Write adds one line, for those who know only io.Writer. It never fails: a
// dropped line is told in the error log.
func (l *Lines) Write(line []byte) (int, error) {
	l.Add(0, line)
	return len(line), nil
}

// Dropped counts the lines that were not written since the start: for want of
// room, because the file could not be written, or after Close.
func (l *Lines) Dropped() uint64 { return l.dropped.Load() }

func (l *Lines) drop(n uint64) {
	l.dropped.Add(n)
	l.report.schedule()
}

// Close writes what is there and ends the writer. After two seconds it gives up
// waiting for a file that hangs, and says so in the error log; the writer then
// ends with that write.
func (l *Lines) Close() {
	l.once.Do(func() {
		close(l.closing)
		patience := time.NewTimer(closeWait)
		defer patience.Stop()
		select {
		case <-l.ended:
		case <-patience.C:
			l.log.Error(l.name+" hangs: its last lines are lost", zap.Duration("after", closeWait))
		}
		l.report.end()
	})
}

// run is the writer. It sleeps while there is nothing to write.
func (l *Lines) run() {
	defer close(l.ended)
	defer l.timer.Stop()
	for {
		select {
		case <-l.timer.C:
		case <-l.full:
		case <-l.closing:
			l.flush(true)
			return
		}
		l.flush(false)
	}
}

// flush writes what the shards hold.
func (l *Lines) flush(last bool) {
	// In this order: a line that is added after its shard was taken finds the
	// timer free and starts it. Stopped later, that start could be undone.
	l.timer.Stop()
	l.armed.Store(false)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		l.taken[i], s.lines = s.lines, l.taken[i][:0]
		s.closed = last
		s.mu.Unlock()
	}
	l.merge()
	l.writeBatch()
}

// merge brings the taken lines into one order, a batch after the other.
func (l *Lines) merge() {
	rest := l.taken
	var heads [lineShards]uint64 // number of the first line of each
	for i := range rest {
		heads[i] = number(rest[i])
	}
	for {
		first := 0
		for i := range heads {
			if heads[i] < heads[first] {
				first = i
			}
		}
		lines := rest[first]
		if len(lines) == 0 {
			return
		}
		end := headerSize + int(binary.LittleEndian.Uint32(lines[8:]))
		l.batch = append(l.batch, lines[headerSize:end]...)
		if len(l.batch) >= batchSize {
			l.writeBatch()
		}
		rest[first] = lines[end:]
		heads[first] = number(rest[first])
	}
}

// number is that of the first of these lines, or more than any if there is none.
func number(lines []byte) uint64 {
	if len(lines) == 0 {
		return math.MaxUint64
	}
	return binary.LittleEndian.Uint64(lines)
}

// writeBatch writes the batch. Lines that the file does not take are dropped:
// to keep them would only delay the loss. A failure is told once, until a write
// succeeds.
func (l *Lines) writeBatch() {
	if len(l.batch) == 0 {
		return
	}
	n, err := l.out.Write(l.batch)
	if err == nil && n < len(l.batch) {
		err = io.ErrShortWrite
	}
	if err != nil {
		l.drop(uint64(bytes.Count(l.batch[max(0, n):], []byte{'\n'})))
		if !l.failing && !errors.Is(err, ErrClosed) {
			l.log.Error(l.name+" cannot be written", zap.Error(err))
		}
	}
	l.failing = err != nil
	l.batch = l.batch[:0]
}
