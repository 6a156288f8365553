package load

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
)

// Service answers requests over HTTP/1.1 and keeps its connections.
type Service struct {
	*acceptor
	peers   map[int32]*peer
	buffer  []byte
	answers map[string][]byte
	refusal []byte
	echo    []byte
}

// peer is one connection of a proxy.
type peer struct {
	fd  int
	in  []byte // a request that is not complete yet
	out []byte // what is left to send
}

// NewService listens on a free port of loopback and gives the address. alone
// says that the process does nothing else.
func NewService(alone bool) (*Service, string, error) {
	a, address, err := listen("127.0.0.1:0", alone)
	s := &Service{acceptor: a, peers: map[int32]*peer{}, buffer: make([]byte, scratchSize), echo: EchoBody(),
		refusal: response("400 Bad Request", []byte("not a request of the benchmark")),
		answers: map[string][]byte{
			"GET " + SmallName: response("200 OK", SmallBody()),
			"GET " + LargeName: response("200 OK", LargeBody()),
			"POST " + EchoName: response("200 OK", EchoAnswer()),
		}}
	return s, address, err
}

// response has the fields that a small service sends.
func response(status string, body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nServer: service\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// Serve answers until stop, a file descriptor, has something to read or ends.
func (s *Service) Serve(stop int) error {
	defer s.close()
	if err := s.poll.add(stop); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	for {
		events, err := s.poll.wait(-1)
		if err != nil {
			return err
		}
		for i := range events {
			switch fd := events[i].Fd; {
			case fd == int32(stop):
				return nil
			case fd == int32(s.fd):
				err = s.accept()
			default:
				s.handle(s.peers[fd], events[i].Events)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (s *Service) close() {
	for _, p := range s.peers {
		_ = syscall.Close(p.fd)
	}
	s.acceptor.close()
}

func (s *Service) accept() error {
	return s.each(func(fd int) error {
		s.peers[int32(fd)] = &peer{fd: fd}
		return nil
	})
}

func (s *Service) handle(p *peer, events uint32) {
	if p == nil {
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		if !s.write(p, true) {
			return
		}
	}
	if events&^syscall.EPOLLOUT == 0 {
		return
	}
	n, errno := rawRead(p.fd, s.buffer)
	if errno == syscall.EAGAIN {
		return
	}
	if errno != 0 || n == 0 {
		s.drop(p)
		return
	}
	request := s.buffer[:n]
	if len(p.in) > 0 {
		p.in = append(p.in, request...)
		request = p.in
	}
	answer, complete := s.respond(request)
	if !complete {
		if len(p.in) == 0 {
			p.in = append(p.in, request...)
		}
		return
	}
	p.in, p.out = p.in[:0], answer
	s.write(p, false)
}

// write reports whether the peer is still there.
func (s *Service) write(p *peer, waited bool) bool {
	for len(p.out) > 0 {
		n, errno := rawWrite(p.fd, p.out)
		if errno == syscall.EAGAIN {
			break
		} else if errno != 0 {
			s.drop(p)
			return false
		}
		p.out = p.out[n:]
	}
	if blocked := len(p.out) > 0; blocked != waited && s.poll.wantWrite(p.fd, blocked) != nil {
		s.drop(p)
		return false
	}
	return true
}

func (s *Service) drop(p *peer) {
	delete(s.peers, int32(p.fd))
	_ = syscall.Close(p.fd)
}

// respond reads one request; a proxy sends no second one before the answer.
func (s *Service) respond(request []byte) (answer []byte, complete bool) {
	end := bytes.Index(request, []byte("\r\n\r\n"))
	if end < 0 {
		return s.refusal, len(request) > maxHead
	}
	head, body := request[:end+2], request[end+4:]
	length, err := contentLength(head)
	if err != nil || length > len(s.echo) {
		return s.refusal, true
	}
	if len(body) < length {
		return nil, false
	}
	method, target, _ := bytes.Cut(head[:bytes.IndexByte(head, '\r')], []byte(" "))
	target, version, _ := bytes.Cut(target, []byte(" "))
	var key [16]byte // a map's key of bytes that do not escape costs nothing
	name := append(append(append(key[:0], method...), ' '), target[bytes.LastIndexByte(target, '/')+1:]...)
	answer, ok := s.answers[string(name)]
	wanted := 0
	if strings.HasPrefix(string(method), "POST") {
		wanted = len(s.echo)
	}
	if !ok || string(version) != "HTTP/1.1" || len(body) != wanted || !bytes.Equal(body, s.echo[:wanted]) {
		return s.refusal, true
	}
	return answer, true
}
