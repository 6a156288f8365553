package limits

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/limiter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a Redis server that knows INCR and EXPIRE, and no time: names count
// without their last part, the minute.
type store struct {
	listener net.Listener
	refusal  atomic.Pointer[string] // in place of any answer
	done     sync.WaitGroup

	mu      sync.Mutex
	counts  map[string]int64
	expires []string
}

func newStore(t *testing.T) *store {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &store{listener: l, counts: map[string]int64{}}
	s.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.done.Wait() // clients have closed: their cleanups came first
	})
	return s
}

func (s *store) address() string { return s.listener.Addr().String() }

func (s *store) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); ; {
		words, err := readCommand(in)
		if err != nil {
			return
		}
		answer := s.answer(words)
		if text := s.refusal.Load(); text != nil {
			answer = *text
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (s *store) answer(words []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := words[1][:strings.LastIndexByte(words[1], ':')]
	switch words[0] {
	case "INCR":
		s.counts[name]++
		return fmt.Sprintf(":%d\r\n", s.counts[name])
	case "EXPIRE":
		s.expires = append(s.expires, name+" "+words[2])
		return ":1\r\n"
	}
	return "-ERR unknown command\r\n"
}

// readCommand reads the form that the protocol's description gives.
func readCommand(in *bufio.Reader) (words []string, err error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	for range n {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		words = append(words, string(text[:size]))
	}
	return words, nil
}

// decide gives + for what is admitted, - for what is refused, ! for errors.
func decide(t *testing.T, d Decider, key string, n int) string {
	t.Helper()
	var text strings.Builder
	for range n {
		admitted, err := d.Decide(t.Context(), key)
		switch {
		case err != nil:
			t.Log(err)
			text.WriteByte('!')
		case admitted:
			text.WriteByte('+')
		default:
			text.WriteByte('-')
		}
	}
	return text.String()
}

func TestRedisAdmitsTheLimit(t *testing.T) {
	s := newStore(t)
	d := &Redis{Address: s.address(), Limit: 3}
	defer d.Close()
	if got := decide(t, d, "a", 5) + decide(t, d, "b:c", 4); got != "+++--"+"+++-" {
		t.Error(got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{"rl:a 120", "rl:b:c 120"}; !slices.Equal(s.expires, want) {
		t.Errorf("expire: %q, want %q", s.expires, want)
	}
}

func TestRedisAfterAnError(t *testing.T) {
	s := newStore(t)
	d := &Redis{Address: s.address(), Limit: 9}
	defer d.Close()
	loading := "-LOADING Redis is loading the dataset in memory\r\n"
	got := decide(t, d, "a", 1) // its EXPIRE is still to be sent
	s.refusal.Store(&loading)
	got += decide(t, d, "a", 2)
	s.refusal.Store(nil)
	if got += decide(t, d, "a", 2); got != "+!!++" {
		t.Error(got)
	}
}

func TestServiceBehindAGateway(t *testing.T) {
	s := newStore(t)
	service, err := NewService(s.address())
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	addresses := []string{gone.Addr().String(), service.Address}
	for _, test := range []struct {
		first            int
		path, key, wants string
	}{
		{1, CountedPath + "2/x", "a", "++--"},
		{0, CountedPath + "2/x", "b", "!++-"}, // the first node is down
		{1, "/ample/x", "a", "++++"},
		{1, CountedPath + "none/x", "a", "!!!!"}, // and every second try meets the dead node
		{1, CountedPath + "0/x", "a", "!!!!"},
	} {
		d := &Gateway{Addresses: addresses, First: test.first, Path: test.path}
		if got := decide(t, d, test.key, 4); got != test.wants {
			t.Errorf("%s: %s, want %s", test.path, got, test.wants)
		}
		d.Close()
	}
	down := "-ERR\r\n"
	s.refusal.Store(&down)
	d := &Gateway{Addresses: addresses[1:], Path: CountedPath + "2/x"}
	defer d.Close()
	if got := decide(t, d, "c", 1); got != "!" {
		t.Errorf("the counter is away, and the answer is %s", got)
	}
}

// loose admits limit+extra of each key, and fails every bad-th decision.
type loose struct {
	limit, extra int64
	bad          int64
	asked        *sync.Map // key to *atomic.Int64
	n            *atomic.Int64
}

func (l loose) Decide(_ context.Context, key string) (bool, error) {
	if n := l.n.Add(1); l.bad > 0 && n%l.bad == 0 {
		return false, errors.New("away")
	}
	count, _ := l.asked.LoadOrStore(key, new(atomic.Int64))
	return count.(*atomic.Int64).Add(1) <= l.limit+l.extra, nil
}

func (loose) Close() {}

func TestRunCounts(t *testing.T) {
	// 1,000 decisions: of key a 750, of b 250.
	for _, test := range []struct {
		name                          string
		limit, extra, bad             int64
		admitted, due, over, withoutA int64
	}{
		{"exact", 100, 0, 0, 200, 200, 0, 0},
		{"over", 100, 7, 0, 214, 200, 14, 0},
		{"under", 100, -10, 0, 180, 200, 0, 0},
		{"not all is asked for", 600, 0, 0, 850, 850, 0, 0},
		{"errors", 100, 0, 10, 200, 200, 0, 100},
	} {
		shared := loose{test.limit, test.extra, test.bad, &sync.Map{}, &atomic.Int64{}}
		r, err := Run(t.Context(), Job{Open: func(int) Decider { return shared }, Workers: 4, Keys: []string{"a", "b"}, Order: []int32{0, 0, 1, 0},
			Limit: test.limit, Rate: 20_000, Duration: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if r.Decided+r.Undecided != 1000 || r.Undecided != test.withoutA || r.Admitted != test.admitted || r.Due != test.due || r.Over != test.over {
			t.Errorf("%s: %+v", test.name, r)
		}
		if r.Latency.Count() != uint64(r.Decided) || (r.Undecided > 0) != (r.Fault == "away") {
			t.Errorf("%s: %d latencies, fault %q", test.name, r.Latency.Count(), r.Fault)
		}
	}
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	shared := loose{1, 0, 0, &sync.Map{}, &atomic.Int64{}}
	job := Job{Open: func(int) Decider { cancel(); return shared }, Workers: 2, Keys: []string{"a"}, Order: []int32{0}, Limit: 1, Duration: time.Hour}
	if _, err := Run(ctx, job); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	job.Order = []int32{1}
	if _, err := Run(t.Context(), job); err == nil {
		t.Error("a key that is not there was taken")
	}
}

// TestMemoryIsStrict asks three nodes at once for more than there is.
func TestMemoryIsStrict(t *testing.T) {
	m := NewMemory(3)
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	lim := &limiter.Limit{ID: "yearly", Version: 1, Rates: []limiter.Rate{{Period: limiter.Year, Max: 50}}}
	keys, order := make([]string, 10), make([]int32, 10)
	for i := range keys {
		keys[i], order[i] = strconv.Itoa(i), int32(i)
	}
	r, err := Run(t.Context(), Job{Open: func(w int) Decider { return m.Decider(w, lim) }, Workers: 6, Keys: keys, Order: order,
		Limit: 50, Rate: 5000, Duration: 200 * time.Millisecond})
	if err != nil || r.Over != 0 || r.Undecided != 0 || r.Admitted == 0 || r.Due != 500 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReadAnswer(t *testing.T) {
	for text, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 2\r\n\r\nokHTTP": 200,
		"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n":     429,
		"HTTP/1.1 200 OK\r\n\r\n":                                             0,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok":                      0,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok": 0,
		"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok":                     0,
		"HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 0\r\n\r\n":            0,
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                        0,
		"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n":                        0,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n":     0,
		"": 0,
	} {
		in := bufio.NewReaderSize(strings.NewReader(text), 4096)
		status, err := readAnswer(in)
		if want == 0 != (err != nil) || err == nil && status != want {
			t.Errorf("%.60q: %d, %v", text, status, err)
		}
		if rest, _ := io.ReadAll(in); want == 200 && string(rest) != "HTTP" {
			t.Errorf("%q is left", rest)
		}
	}
}

func FuzzReadNumber(f *testing.F) {
	for _, seed := range []string{":1\r\n", ":-7\r\n", "-ERR\r\n", "$-1\r\n", ":9223372036854775808\r\n", ":\r\n", ":1\n", "+OK\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readNumber(bufio.NewReaderSize(strings.NewReader(text), 4096))
		line, _, ended := strings.Cut(text, "\n")
		digits, colon := strings.CutPrefix(strings.TrimSuffix(line, "\r"), ":")
		want, fault := strconv.ParseInt(digits, 10, 64)
		if ok := ended && strings.HasSuffix(line, "\r") && colon && fault == nil; ok != (err == nil) && len(line) < 4000 || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	})
}

// FuzzHeads: whatever comes, an answer or a request that is taken says the same
// when it is cut into pieces, and nothing behind it is touched.
func FuzzHeads(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f.Add("GET /redis/5/x HTTP/1.1\r\nX-Key: a\r\n\r\n")
	f.Add("GET /x HTTP/1.1\r\nX-Key\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		const behind = "behind"
		if len(text) > 4000 {
			return
		}
		whole := func(in io.Reader) string {
			r := bufio.NewReaderSize(in, 8192)
			status, err := readAnswer(r)
			rest, _ := io.ReadAll(r)
			q := bufio.NewReaderSize(strings.NewReader(text+behind), 8192)
			limit, key, fault := readRequest(q)
			if fault == nil && limit < 0 {
				t.Errorf("a limit of %d", limit)
			}
			return fmt.Sprint(status, err == nil, len(rest) > 0, limit, key, fault == nil)
		}
		if once, bytewise := whole(strings.NewReader(text+behind)), whole(iotest.OneByteReader(strings.NewReader(text+behind))); once != bytewise {
			t.Errorf("%s, in pieces %s", once, bytewise)
		}
	})
}
