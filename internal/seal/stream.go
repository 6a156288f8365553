package seal

import (
	"bufio"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// chunkSize is how much of a stream is sealed at once, in bytes. All chunks but
// the last are of this size.
const chunkSize = 64 << 10

// Writer seals a stream. Each chunk is sealed with its number, and the last one
// with a mark that it is: so a stream that was cut, or of which chunks were left
// out, doubled or moved, does not open. Not safe for concurrent use.
type Writer struct {
	w      io.Writer
	aead   cipher.AEAD
	buf    []byte // of the chunk that is not written yet
	out    []byte
	number uint64
	err    error
}

// NewWriter begins a sealed stream; the header is written with the first chunk.
// Close ends it, and does not close w.
func (k *Key) NewWriter(w io.Writer, kind Kind) *Writer {
	head := make([]byte, headerSize, headerSize+chunkSize+tagSize)
	k.header(head, formStream, kind)
	return &Writer{w: w, aead: k.aead(head), buf: make([]byte, 0, chunkSize), out: head}
}

// Write implements io.Writer.
func (s *Writer) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 && s.err == nil {
		if len(s.buf) == chunkSize { // and more comes: it is not the last
			s.flush(false)
			continue
		}
		taken := min(len(p), chunkSize-len(s.buf))
		s.buf = append(s.buf, p[:taken]...)
		p, n = p[taken:], n+taken
	}
	return n, s.err
}

// Close writes the last chunk. A stream without it does not open.
func (s *Writer) Close() error {
	if s.err == nil {
		s.flush(true)
	}
	if s.err != nil {
		return s.err
	}
	s.err = errClosed
	return nil
}

var errClosed = errors.New("the sealed stream is closed")

func (s *Writer) flush(last bool) {
	s.out = s.aead.Seal(s.out, chunkNonce(s.number, last), s.buf, nil)
	_, s.err = s.w.Write(s.out)
	s.number, s.buf, s.out = s.number+1, s.buf[:0], s.out[:0]
}

// Reader opens a sealed stream. It gives nothing that it has not checked; what it
// has given is the beginning of what was sealed, and all of it once it gives
// io.EOF. Not safe for concurrent use.
type Reader struct {
	r      *bufio.Reader
	aead   cipher.AEAD
	buf    []byte
	plain  []byte // of buf: what is not read yet
	number uint64
	last   bool
	err    error
}

// NewReader begins to open a stream. Errors are those of Open, or the reader's.
func (ks *Keys) NewReader(r io.Reader, kind Kind) (*Reader, error) {
	in := bufio.NewReaderSize(r, chunkSize+tagSize)
	head := make([]byte, headerSize)
	if n, err := io.ReadFull(in, head); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		head = head[:n]
	}
	aead, err := ks.opener(head, formStream, kind)
	if err != nil {
		return nil, err
	}
	return &Reader{r: in, aead: aead, buf: make([]byte, chunkSize+tagSize)}, nil
}

// Read implements io.Reader.
func (s *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.plain) == 0 && s.err == nil {
		if s.last {
			s.err = io.EOF
			break
		}
		s.err = s.next()
	}
	if s.err != nil {
		return 0, s.err
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

// Err is the error that Read gave, other than io.EOF: a reader on the way may have
// hidden it.
func (s *Reader) Err() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// next opens a chunk. The last one is the one behind which nothing comes.
func (s *Reader) next() error {
	n, err := io.ReadFull(s.r, s.buf)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.last = true
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	case err != nil:
		return err
	default:
		if _, err := s.r.Peek(1); errors.Is(err, io.EOF) {
			s.last = true
		} else if err != nil {
			return err
		}
	}
	s.plain, err = s.aead.Open(s.buf[:0], chunkNonce(s.number, s.last), s.buf[:n], nil)
	if err != nil {
		return fmt.Errorf("%w: chunk %d is not what was sealed, or not in its place", ErrDamaged, s.number)
	}
	if s.last && s.number > 0 && len(s.plain) == 0 {
		return fmt.Errorf("%w: an empty last chunk", ErrDamaged) // no writer makes one
	}
	s.number++
	return nil
}
