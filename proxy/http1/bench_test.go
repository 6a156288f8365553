package http1

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// steady is the work of a pass-through exchange once its values have been used.
func steady(b testing.TB) (request, response, questions, edit, chunks, encode func()) {
	var (
		req        Request
		resp       Response
		body       Chunked
		out        = make([]byte, 0, 4096)
		copied     Fields
		head       = []byte(browser)
		answerHead = []byte(answer)
		coded      = []byte("5;a=b\r\nhello\r\n3\r\n!!!\r\n0\r\nGrpc-Status: 0\r\n\r\n")
		absolute   = []byte("GET http://[::1]:8000/%41 HTTP/1.1\r\nHost: [::1]:8000\r\nTransfer-Encoding: chunked\r\n\r\n")
		malformed  = []byte("GET / HTTP/1.1\r\nHost : a\r\n\r\n")
	)
	request = func() {
		for at := 16; at < len(head); at += 100 {
			if n, err := req.Parse(head[:at], Limits{}); n != 0 || err != nil {
				b.Fatal(n, err)
			}
		}
		if _, err := req.Parse(malformed, Limits{}); err == nil {
			b.Fatal("accepted")
		}
		if n, err := req.Parse(absolute, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
		if n, err := req.Parse(head, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
		if _, err := req.Framing(); err != nil {
			b.Fatal(err)
		}
		req.PathQuery()
	}
	response = func() {
		if n, err := resp.Parse(answerHead, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
		if _, err := resp.Framing("GET"); err != nil {
			b.Fatal(err)
		}
	}
	questions = func() {
		if req.Fields.Get("apikey") == "" || req.Fields.Has("Authorization") || req.Fields.HasToken("Connection", "close") ||
			req.Fields.Joined("Accept") == "" || req.Fields.Size() == 0 {
			b.Fatal("fields")
		}
	}
	edit = func() {
		copied.CopyFrom(&req.Fields)
		copied.Del("Connection")
		copied.Set("X-Forwarded-For", "127.0.0.1")
		copied.Add("Via", "1.1 kong/3.9.3")
	}
	chunks = func() {
		body.Reset()
		for in := coded; !body.Done(); {
			_, n, err := body.Next(in)
			if err != nil {
				b.Fatal(err)
			}
			in = in[n:]
		}
	}
	encode = func() {
		out = AppendRequestLine(out[:0], req.Method, req.Target)
		out = copied.AppendTo(out)
		out = AppendField(out, "Host", "upstream:5000")
		out = AppendStatusLine(out, 200)
		out = AppendStatusLine(out, 299)
		out = AppendChunkSize(out, 65536)
	}
	return request, response, questions, edit, chunks, encode
}

func TestNothingIsAllocated(t *testing.T) {
	request, response, questions, edit, chunks, encode := steady(t)
	for _, work := range []struct {
		name string
		f    func()
	}{
		{"request", request}, {"response", response}, {"questions", questions}, {"edit", edit}, {"chunks", chunks}, {"encode", encode},
	} {
		work.f()
		if n := testing.AllocsPerRun(100, work.f); n != 0 {
			t.Errorf("%s: %v allocations", work.name, n)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	var r Request
	buf := []byte(browser)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkRequestMix parses heads that differ in the order and length of their
// fields, so that the processor cannot learn one by heart.
func BenchmarkRequestMix(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lines := strings.SplitAfter(strings.TrimSuffix(browser, "\r\n"), "\r\n")[1:9]
	heads := make([][]byte, 512)
	for i := range heads {
		rnd.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		head := "GET /" + strings.Repeat("x", rnd.IntN(40)) + " HTTP/1.1\r\n"
		for _, line := range lines {
			head += line
		}
		heads[i] = []byte(head + "\r\n")
	}
	var r Request
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(heads[i%len(heads)], Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
		i++
	}
}

func BenchmarkResponse(b *testing.B) {
	var r Response
	buf := []byte(answer)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, Limits{}); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkAbsent asks for fields that are not there.
func BenchmarkAbsent(b *testing.B) {
	var r Request
	if n, err := r.Parse([]byte(browser), Limits{}); n == 0 || err != nil {
		b.Fatal(n, err)
	}
	for _, name := range []string{"X-Real-IP", "Keep-Alive"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if r.Fields.Has(name) {
					b.Fatal("there")
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	request, _, _, edit, _, encode := steady(b)
	request()
	b.ReportAllocs()
	for b.Loop() {
		edit()
		encode()
	}
}

func BenchmarkChunks(b *testing.B) {
	_, _, _, _, chunks, _ := steady(b)
	b.ReportAllocs()
	for b.Loop() {
		chunks()
	}
}
