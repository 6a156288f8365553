package corpus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	const text = `# a comment
two
  rfc 9112 6.1
  why first
  why second
  > POST /case HTTP/1.1
  > X: {}
  >
  . {3*a\#}\x00\t\\\{\}
  then close
  with one y
  with other z
  reject 400 close
  forward
    request POST /a or /{}
    framing length
    body {2*b}
    has X: {}
    lacks Y
    trailer-lacks Z
    fault
`
	got, err := Parse("class", text)
	if err != nil {
		t.Fatal(err)
	}
	want := func(name, x string) Case {
		return Case{
			Name: "class/two/" + name, Class: "class", RFC: "9112 6.1", Why: "first second",
			Raw:  []byte("POST /case HTTP/1.1\r\nX: " + x + "\r\n\r\na0a1a2\x00\t\\{}"),
			Then: Close,
			Expect: []Expectation{
				{Kind: Reject, Statuses: []int{400, Silent}},
				{Kind: Forward, Fault: true, Messages: []Want{{
					Method: "POST", Targets: []string{"/a", "/" + x}, Framing: FramedLength, Body: []byte("bb"),
					Has: []Field{{"X", x}}, Lacks: []string{"Y"}, TrailerLacks: []string{"Z"},
				}}},
			},
		}
	}
	if diff := cmp.Diff([]Case{want("one", "y"), want("other", "z")}, got); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	const start = "a\n  rfc 1\n  why b\n  > x\n"
	for name, text := range map[string]string{
		"no case":               "  > x\n",
		"a name":                "A b\n" + start,
		"white space at an end": start + "  . x \n  reject 400\n",
		"nothing expected":      start,
		"no reason":             "a\n  > x\n  reject 400\n",
		"an unknown word":       start + "  reject 400\n  frob\n",
		"an unknown ending":     start + "  then fly\n  reject 400\n",
		"a status":              start + "  reject 4x0\n",
		"no status":             start + "  reject\n",
		"a status too many":     start + "  forward 200\n",
		"no request":            start + "  forward\n",
		"a body of nothing":     start + "  reject 400\n  body x\n",
		"an escape":             start + "  . \\q\n  reject 400\n",
		"a half escape":         start + "  . \\x4\n  reject 400\n",
		"a number outside":      start + "  . \\#\n  reject 400\n",
		"an open brace":         start + "  . {3*a\n  reject 400\n",
		"a closing brace":       start + "  . a}b\n  reject 400\n",
		"a huge repetition":     start + "  . {999999999*aaa}\n  reject 400\n",
		"no repetition":         start + "  . {x*a}\n  reject 400\n",
	} {
		if cases, err := Parse("class", text); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v", name, cases, err)
		}
	}
}

func TestReadRequest(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       *Request
		err        error
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			&Request{"GET", "/", "HTTP/1.1", Message{Fields: []Field{{"Host", "x"}}, Framing: FramedNone}}, nil},
		{"length", "POST / HTTP/1.1\r\nHost:x\r\nContent-Length: 2\r\n\r\nhi",
			&Request{"POST", "/", "HTTP/1.1", Message{Fields: []Field{{"Host", "x"}, {"Content-Length", "2"}}, Framing: FramedLength, Body: []byte("hi")}}, nil},
		{"chunked", "POST / HTTP/1.1\r\nHost:x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\nA: b\r\n\r\n",
			&Request{"POST", "/", "HTTP/1.1", Message{Fields: []Field{{"Host", "x"}, {"Transfer-Encoding", "chunked"}}, Framing: FramedChunked, Body: []byte("hi"), Trailer: []Field{{"A", "b"}}}}, nil},
		{"nothing", "", nil, io.EOF},
		{"a part", "GET /", nil, io.ErrUnexpectedEOF},
		{"a part of the body", "POST / HTTP/1.1\r\nHost:x\r\nContent-Length: 3\r\n\r\nhi", nil, io.ErrUnexpectedEOF},
		{"no last chunk", "POST / HTTP/1.1\r\nHost:x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n", nil, io.ErrUnexpectedEOF},
		{"bare LF", "GET / HTTP/1.1\nHost: x\r\n\r\n", nil, ErrWire},
		{"bare CR", "GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", nil, ErrWire},
		{"leading CRLF", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", nil, ErrWire},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", nil, ErrWire},
		{"version", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", nil, ErrWire},
		{"method", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", nil, ErrWire},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", nil, ErrWire},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", nil, ErrWire},
		{"fold", "GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", nil, ErrWire},
		{"space before the colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", nil, ErrWire},
		{"NUL", "GET / HTTP/1.1\r\nHost: x\r\nY: \x00z\r\n\r\n", nil, ErrWire},
		{"both", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", nil, ErrWire},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", nil, ErrWire},
		{"signed length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx", nil, ErrWire},
		{"coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", nil, ErrWire},
		{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", nil, ErrWire},
		{"chunk size", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nh\r\n0\r\n\r\n", nil, ErrWire},
		{"chunk extension", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nh\r\n0\r\n\r\n", nil, ErrWire},
		{"chunk end", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhX\r\n0\r\n\r\n", nil, ErrWire},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadRequest(bufio.NewReader(strings.NewReader(c.wire)))
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); c.err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestThroughNothing plays cases against the upstream itself, without a gateway
// between: what the client sees and the judge says is known then.
func TestThroughNothing(t *testing.T) {
	for _, c := range []struct {
		name, request, expect string
		fault                 string // part of what the judge says; "" for right
	}{
		{"forward", "GET /case HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "forward\n    request GET /case", ""},
		{"another target", "GET /x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "forward\n    request GET /case", "it is GET /x"},
		{"body", "POST /case HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\n\\r\\nhi", "forward\n    request POST /case\n    body hi", ""},
		{"no body", "POST /case HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\n\\r\\nhi", "forward\n    request POST /case", "its body is 2 bytes"},
		{"two", "{2*GET /case HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n}", "forward\n    request GET /case\n    request GET /case", ""},
		{"one too many", "{2*GET /case HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n}", "forward\n    request GET /case", "2 requests reached"},
		{"not refused", "GET /case HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "reject 400", "status 200"},
		{"not refused silently", "bad\\r\\n\\r\\n", "reject 400 close", "the upstream got"},
		{"a part", "POST /case HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nhi", "break close", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "a\n  rfc none\n  why test\n  . " + c.request + "\n  " + c.expect + "\n"
			if c.name == "a part" {
				text += "  then close\n"
			}
			cases, err := Parse("class", text)
			if err != nil {
				t.Fatal(err)
			}
			var u Upstream
			if err := u.Start(); err != nil {
				t.Fatal(err)
			}
			defer u.Stop()
			client := Client{Address: u.Addr().String(), Patience: 10 * time.Second}
			seen := client.Request(&cases[0])
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if seen.Upstream, err = u.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			err = JudgeRequest(&cases[0], seen)
			if c.fault == "" && err != nil || c.fault != "" && !strings.Contains(fmt.Sprint(err), c.fault) {
				t.Fatalf("judged %v, want %q; seen %s", err, c.fault, seen)
			}
		})
	}
}

func TestAnswersThroughNothing(t *testing.T) {
	for _, c := range []struct{ name, text, fault string }{
		{"pass", "  . HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi\n  pass 200\n    body hi\n", ""},
		{"another body", "  . HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi\n  pass 200\n", "its body is 2 bytes"},
		{"cut", "  . HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nhi\n  then close\n  cut\n", ""},
		{"not cut", "  . HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi\n  then close\n  cut\n", "looks whole"},
		{"unasked", "  . HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi\n  + HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nwrong\n  pass 200\n    body hi\n", "the further request got 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cases, err := Parse("class", "a\n  rfc none\n  why test\n"+c.text)
			if err != nil {
				t.Fatal(err)
			}
			var u Upstream
			if err := u.Start(); err != nil {
				t.Fatal(err)
			}
			defer u.Stop()
			u.Begin(&cases[0])
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			client := Client{Address: u.Addr().String(), Patience: 10 * time.Second}
			seen := client.Answer(ctx, &cases[0], &u)
			err = JudgeAnswer(&cases[0], seen)
			if c.fault == "" && err != nil || c.fault != "" && !strings.Contains(fmt.Sprint(err), c.fault) {
				t.Fatalf("judged %v, want %q; seen %s", err, c.fault, seen)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a\n  rfc 1\n  why b\n  > {3*x\\#}\n  with c d\n  reject 400\n")
	f.Add("a\n  rfc 1\n  why b\n  . {}\n  with c {2*{3*a}}\n  forward\n    request GET /{}\n")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := Parse("class", text)
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("an error of another kind: %v", err)
		}
		for _, c := range cases {
			if len(c.Expect) == 0 || c.RFC == "" || len(c.Raw) > maxRaw {
				t.Fatalf("an incomplete case: %+v", c)
			}
		}
	})
}

// FuzzReadRequest: what is read strictly, and written again in the one way that
// there is, is read as the same.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		q, err := ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		again, err := ReadRequest(bufio.NewReader(bytes.NewReader(q.wire())))
		if err != nil {
			t.Fatalf("%v of %q", err, q.wire())
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func (q *Request) wire() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s %s\r\n", q.Method, q.Target, q.Proto)
	for _, f := range q.Fields {
		fmt.Fprintf(&out, "%s: %s\r\n", f.Name, f.Value)
	}
	out.WriteString("\r\n")
	if q.Framing != FramedChunked {
		out.Write(q.Body)
		return out.Bytes()
	}
	if len(q.Body) > 0 {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(q.Body), q.Body)
	}
	out.WriteString("0\r\n")
	for _, f := range q.Trailer {
		fmt.Fprintf(&out, "%s: %s\r\n", f.Name, f.Value)
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

func TestOutcomes(t *testing.T) {
	whole := func(status int, body string) *AnswerSeen {
		return &AnswerSeen{Status: status, Message: Message{Body: []byte(body)}, Whole: true}
	}
	ours := whole(200, Echo("GET", FollowUpTarget, 0))
	got := func(targets ...string) []Record {
		rec := Record{Raw: []byte("x")}
		for _, target := range targets {
			rec.Requests = append(rec.Requests, &Request{Method: "GET", Target: target})
		}
		return []Record{rec}
	}
	c := &Case{}
	for _, tt := range []struct {
		name string
		seen Seen
		want Outcome
	}{
		{"refused", Seen{End: EndClosed, Answers: []*AnswerSeen{whole(400, "")}}, Refused},
		{"closed", Seen{End: EndClosed}, Refused},
		{"a part", Seen{End: EndClosed, Upstream: []Record{{Fault: io.ErrUnexpectedEOF}}}, Refused},
		{"forwarded", Seen{End: EndOpen, Answers: []*AnswerSeen{whole(200, "")}, FollowUp: ours, Upstream: got("/case", FollowUpTarget)}, Clear},
		{"hidden", Seen{End: EndOpen, FollowUp: ours, Upstream: got("/case", smuggledTarget)}, Ambiguous},
		{"two for one", Seen{End: EndOpen, FollowUp: ours, Upstream: got("/case", "/other")}, Ambiguous},
		{"not strict", Seen{End: EndClosed, Upstream: []Record{{Fault: ErrWire}}}, Ambiguous},
		{"another's answer", Seen{End: EndOpen, FollowUp: whole(200, "other"), Upstream: got("/case")}, Ambiguous},
		{"silent", Seen{End: EndSilent}, Unanswered},
	} {
		if outcome := tt.seen.RequestOutcome(c); outcome != tt.want {
			t.Errorf("request %s: %s, want %s", tt.name, outcome, tt.want)
		}
	}
	for _, tt := range []struct {
		name string
		seen Seen
		want Outcome
	}{
		{"passed", Seen{End: EndOpen, Answers: []*AnswerSeen{whole(200, "")}, FollowUp: ours, Next: ours}, Passed},
		{"refused", Seen{End: EndOpen, Answers: []*AnswerSeen{whole(502, "")}, FollowUp: ours, Next: ours}, Refused},
		{"cut", Seen{End: EndClosed, Answers: []*AnswerSeen{{Status: 200}}, Next: ours}, Broken},
		{"crossed", Seen{End: EndOpen, Answers: []*AnswerSeen{whole(200, "")}, FollowUp: whole(200, "wrong"), Next: ours}, Crossed},
		{"crossed on another connection", Seen{End: EndClosed, Next: whole(200, "wrong")}, Crossed},
		{"malformed", Seen{End: EndBroken, Next: ours}, Malformed},
		{"silent", Seen{End: EndSilent, Next: ours}, Unanswered},
	} {
		if outcome := tt.seen.AnswerOutcome(); outcome != tt.want {
			t.Errorf("answer %s: %s, want %s", tt.name, outcome, tt.want)
		}
	}
}
