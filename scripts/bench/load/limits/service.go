package limits

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// CountedPath begins the path of requests that the service counts itself: the
// limit follows, and a slash.
const CountedPath = "/redis/"

// Service is what stands behind the gateways. A GET of CountedPath it decides by
// a Redis counter, each connection with a connection of its own to the server;
// anything else it answers with 200 at once. So the way of a request is the same
// whether the gateway or the counter decides. It closes with Close.
type Service struct {
	Address  string
	redis    string
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// NewService listens on a free port of loopback; redis is the server's address.
func NewService(redis string) (*Service, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Service{Address: listener.Addr().String(), redis: redis, listener: listener, conns: map[net.Conn]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.done.Go(s.accept)
	return s, nil
}

func (s *Service) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // Close, or no more files: the gateway's errors tell
		}
		if !s.keep(conn) {
			_ = conn.Close()
			return
		}
		s.done.Go(func() {
			s.serve(conn)
			s.drop(conn)
		})
	}
}

func (s *Service) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Service) drop(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	_ = conn.Close()
}

// Close ends the service and all its connections.
func (s *Service) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.cancel()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

const bodyText = `{"message":"hello from the service"}`

func response(status string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nServer: service\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(bodyText), bodyText)
}

// serve answers the requests of one connection until it ends or a request is
// not one of the benchmark's.
func (s *Service) serve(conn net.Conn) {
	counter := &Redis{Address: s.redis}
	defer counter.Close()
	ok, refused, failed := response("200 OK"), response("429 Too Many Requests"), response("500 Internal Server Error")
	for in := bufio.NewReaderSize(conn, 4096); ; {
		limit, key, err := readRequest(in)
		if err != nil {
			return
		}
		answer := ok
		if limit > 0 {
			counter.Limit = limit
			admitted, err := counter.Decide(s.ctx, key)
			if err != nil {
				answer = failed
			} else if !admitted {
				answer = refused
			}
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readRequest gives the limit of a counted request, 0 of others, and its key.
func readRequest(in *bufio.Reader) (limit int64, key string, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, "", err
	}
	path, _, ok := strings.Cut(strings.TrimPrefix(string(line), "GET "), " HTTP/1.1\r\n")
	if !ok || !strings.HasPrefix(path, "/") {
		return 0, "", fmt.Errorf("not a request: %q", line)
	}
	if rest, counted := strings.CutPrefix(path, CountedPath); counted {
		text, _, _ := strings.Cut(rest, "/")
		if limit, err = strconv.ParseInt(text, 10, 64); err != nil || limit < 1 {
			return 0, "", fmt.Errorf("no limit in %q", path)
		}
	}
	err = eachField(in, func(name, value []byte) error {
		if strings.EqualFold(string(name), KeyHeader) {
			key = string(value)
		}
		return nil
	})
	return limit, key, err
}
