package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxHead bounds the head of a request or of an answer.
const maxHead = 16 << 10

var (
	errHead    = errors.New("malformed head")
	errSurplus = errors.New("bytes after the answer")
)

// answer checks one answer as its bytes come in: status, Content-Length and
// every byte of the body. The zero value stands before an answer.
type answer struct {
	head []byte // of a head that is not complete yet
	body int    // bytes of the body that came, once in is set
	in   bool   // in the body
}

// feed takes the next bytes. It is done after the last byte of the body; an
// error means that this is not the answer that was asked for.
func (a *answer) feed(p []byte, status int, body []byte) (done bool, err error) {
	if !a.in {
		if len(a.head) > 0 {
			a.head = append(a.head, p...)
			p = a.head
		}
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end < 0 {
			if len(p) > maxHead {
				return false, errHead
			}
			if len(a.head) == 0 {
				a.head = append(a.head, p...)
			}
			return false, nil
		}
		if err := checkHead(p[:end+2], status, len(body)); err != nil {
			return false, err
		}
		a.in, p = true, p[end+4:]
	}
	if len(p) > len(body)-a.body {
		return false, errSurplus
	}
	if !bytes.Equal(p, body[a.body:a.body+len(p)]) {
		return false, errors.New("the body is not the one that was asked for")
	}
	if a.body += len(p); a.body < len(body) {
		return false, nil
	}
	a.in, a.body, a.head = false, 0, a.head[:0]
	return true, nil
}

// checkHead wants the status and exactly one Content-Length, of length. The
// head ends with the line end of its last line.
func checkHead(head []byte, status, length int) error {
	const version = "HTTP/1.1 "
	if len(head) < len(version)+3 || string(head[:len(version)]) != version {
		return errHead
	}
	if got, err := strconv.Atoi(string(head[len(version) : len(version)+3])); err != nil || got != status {
		return fmt.Errorf("status %s in place of %d", head[len(version):len(version)+3], status)
	}
	got, err := contentLength(head)
	if err == nil && got != length {
		err = fmt.Errorf("Content-Length %d in place of %d", got, length)
	}
	return err
}

// contentLength gives -1 if the head has none.
func contentLength(head []byte) (int, error) {
	const name = "content-length:"
	length := -1
	for rest := head; ; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return length, nil
		}
		line := rest[:end]
		rest = rest[end+1:]
		if len(line) <= len(name) || line[0]|0x20 != 'c' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
			continue
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		if err != nil || n < 0 || length >= 0 {
			return 0, errHead
		}
		length = n
	}
}
