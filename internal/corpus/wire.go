package corpus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrWire is wrapped by every breach of RFC 9112 that is read. A connection
// that ends gives io.EOF between two messages and io.ErrUnexpectedEOF within
// one.
var ErrWire = errors.New("not strict HTTP/1.1")

const (
	maxLine = 1 << 20
	maxBody = 64 << 20
)

// The framings of a message.
const (
	FramedNone    = "none"
	FramedLength  = "length"
	FramedChunked = "chunked"
	FramedClose   = "close" // answers only: up to the end of the connection
)

// Request is what the upstream has read.
type Request struct {
	Method, Target, Proto string
	Message
}

// Message is what requests and answers have in common.
type Message struct {
	Fields  []Field
	Framing string
	Body    []byte
	Trailer []Field
}

// Values gives the values of all lines with a name, whatever its case.
func (m *Message) Values(name string) []string {
	var all []string
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// HasToken says whether a list field has an element.
func (m *Message) HasToken(name, token string) bool {
	for _, v := range m.Values(name) {
		for element := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// AnswerSeen is what a client has read.
type AnswerSeen struct {
	Status int
	Proto  string
	Message
	Whole bool // the end of the body was there
	Last  bool // nothing follows on the connection
}

func breach(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrWire, fmt.Errorf(format, args...))
}

// ReadRequest reads one request: exactly one reading is right, and everything
// that could have a second one is refused.
func ReadRequest(r *bufio.Reader) (*Request, error) {
	line, err := readLine(r, true)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return nil, breach("request line %.60q", line)
	}
	q := &Request{Method: parts[0], Target: parts[1], Proto: parts[2]}
	switch {
	case !isToken(q.Method):
		return nil, breach("method %.60q", q.Method)
	case q.Target == "" || strings.ContainsFunc(q.Target, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return nil, breach("target %.60q", q.Target)
	case q.Proto != "HTTP/1.1" && q.Proto != "HTTP/1.0":
		return nil, breach("version %.60q", q.Proto)
	}
	if q.Fields, err = readFields(r); err != nil {
		return nil, err
	}
	hosts := q.Values("Host")
	if len(hosts) > 1 || len(hosts) == 0 && q.Proto == "HTTP/1.1" {
		return nil, breach("Host %.60q", hosts)
	}
	if err := q.frame(q.Proto, FramedNone); err != nil {
		return nil, err
	}
	return q, q.readBody(r)
}

// ReadAnswer reads one answer to a request of a method. The answer is given
// together with an error once its head was read.
func ReadAnswer(r *bufio.Reader, method string) (*AnswerSeen, error) {
	line, err := readLine(r, true)
	if err != nil {
		return nil, err
	}
	a := &AnswerSeen{}
	if len(line) < 12 || len(line) > 12 && line[12] != ' ' || line[8] != ' ' {
		return nil, breach("status line %.60q", line)
	}
	a.Proto = line[:8]
	if a.Status, err = strconv.Atoi(line[9:12]); err != nil || a.Status < 100 || a.Proto != "HTTP/1.1" && a.Proto != "HTTP/1.0" {
		return nil, breach("status line %.60q", line)
	}
	if a.Fields, err = readFields(r); err != nil {
		return nil, err
	}
	a.Last = a.HasToken("Connection", "close") || a.Proto == "HTTP/1.0" && !a.HasToken("Connection", "keep-alive")
	if err := a.frame(a.Proto, FramedClose); err != nil {
		return a, err
	}
	switch {
	case a.Status < 200, a.Status == 204:
		if a.Framing != FramedClose {
			return a, breach("framing with status %d", a.Status)
		}
		a.Framing, a.Whole, a.Last = FramedNone, true, a.Last && a.Status >= 200
		return a, nil
	case method == "HEAD", a.Status == 304:
		a.Framing, a.Whole = FramedNone, true
		return a, nil
	}
	err = a.readBody(r)
	a.Whole = err == nil
	a.Last = a.Last || a.Framing == FramedClose
	return a, err
}

// frame finds the framing (RFC 9112, section 6.3); none is what a message
// without a field for it has.
func (m *Message) frame(proto, none string) error {
	lengths, codings := m.Values("Content-Length"), m.Values("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return breach("Content-Length %.60q, Transfer-Encoding %.60q", lengths, codings)
	case len(codings) == 1 && (proto != "HTTP/1.1" || !strings.EqualFold(codings[0], "chunked")):
		return breach("Transfer-Encoding %.60q in %s", codings[0], proto)
	case len(codings) == 1:
		m.Framing = FramedChunked
	case len(lengths) == 1 && (lengths[0] == "" || len(lengths[0]) > 15 || strings.Trim(lengths[0], "0123456789") != ""):
		return breach("Content-Length %.60q", lengths[0])
	case len(lengths) == 1:
		m.Framing = FramedLength
	default:
		m.Framing = none
	}
	return nil
}

func (m *Message) readBody(r *bufio.Reader) (err error) {
	switch m.Framing {
	case FramedLength:
		n, err := strconv.ParseInt(m.Values("Content-Length")[0], 10, 64)
		if err != nil {
			return breach("Content-Length: %w", err)
		}
		m.Body, err = readN(r, n)
		return err
	case FramedClose:
		m.Body, err = io.ReadAll(io.LimitReader(r, maxBody))
		return err
	case FramedChunked:
		return m.readChunks(r)
	}
	return nil
}

func (m *Message) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r, false)
		if err != nil {
			return err
		}
		size, _, extended := strings.Cut(line, ";")
		if size == "" || len(size) > 15 || strings.Trim(size, "0123456789abcdefABCDEF") != "" || extended {
			return breach("chunk size %.60q", line)
		}
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return breach("chunk size: %w", err)
		}
		if n == 0 {
			m.Trailer, err = readFields(r)
			return err
		}
		data, err := readN(r, n)
		m.Body = append(m.Body, data...)
		if err != nil {
			return err
		}
		end, err := readN(r, 2)
		if err != nil {
			return err
		}
		if string(end) != "\r\n" {
			return breach("chunk ends with %q", end)
		}
	}
}

// readN gives what was there also when the connection ends.
func readN(r *bufio.Reader, n int64) ([]byte, error) {
	if n > maxBody {
		// Whoever announces that much does not mean to send it.
		_, err := io.CopyN(io.Discard, r, n)
		return nil, unexpected(err)
	}
	data, err := io.ReadAll(io.LimitReader(r, n))
	if err == nil && int64(len(data)) < n {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

// readFields reads up to the empty line.
func readFields(r *bufio.Reader) ([]Field, error) {
	var all []Field
	for {
		line, err := readLine(r, false)
		if err != nil || line == "" {
			return all, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, breach("field line %.60q", line)
		}
		value = strings.Trim(value, " \t")
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil, breach("field value %.60q", value)
		}
		all = append(all, Field{name, value})
	}
}

// readLine reads up to CRLF; a CR or LF of its own is a breach.
func readLine(r *bufio.Reader, first bool) (string, error) {
	var line []byte
	for {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && first && len(line) == 0:
			return "", io.EOF
		case err != nil:
			return "", unexpected(err)
		case b == '\n' && len(line) > 0 && line[len(line)-1] == '\r':
			return string(line[:len(line)-1]), nil
		case b == '\n', len(line) > 0 && line[len(line)-1] == '\r':
			return "", breach("bare CR or LF after %.60q", line)
		case len(line) == maxLine:
			return "", breach("a line of more than %d bytes", maxLine)
		}
		line = append(line, b)
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}
