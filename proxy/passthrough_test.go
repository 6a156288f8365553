package proxy

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
)

// fixedService answers every head that ends in a piece of its own with the same
// bytes, and allocates nothing.
func fixedService(t testing.TB, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, answer := make([]byte, 64<<10), []byte(answer)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						continue
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

const smallGet = "GET /r/a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n" +
	"X-Custom: value\r\nCookie: session=0123456789abcdef\r\n\r\n"

func smallAnswer(size int) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: s\r\nDate: Wed, 25 Nov 2026 20:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		size, strings.Repeat("x", size))
}

// passThrough gives a function that sends one request and reads its answer,
// without an allocation of its own.
func passThrough(t testing.TB, size int) func() {
	w := newWorld(t)
	w.route(w.service(fixedService(t, smallAnswer(size)), nil), object{"paths": []string{"/r"}})
	w.start()
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request, buf := []byte(smallGet), make([]byte, 256<<10)
	expected := 0
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for got := 0; ; {
			n, err := c.Read(buf[got:])
			if err != nil {
				t.Fatal(err)
			}
			got += n
			if expected == 0 && got > size {
				if head := bytes.Index(buf[:got], []byte("\r\n\r\n")); head > 0 {
					expected = head + 4 + size
				}
			}
			// Latencies have more or less digits: the end decides.
			if got >= size && (expected == 0 || got >= expected-8) && bytes.HasSuffix(buf[:got], []byte("x")) &&
				got-bytes.Index(buf[:got], []byte("\r\n\r\n"))-4 == size {
				return
			}
		}
	}
}

// BenchmarkPassThrough is the same over loopback, client and service in this
// process.
func BenchmarkPassThrough(b *testing.B) {
	for _, size := range []int{100, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			request := passThrough(b, size)
			request()
			b.ReportAllocs()
			for b.Loop() {
				request()
			}
		})
	}
}
