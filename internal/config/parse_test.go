package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFile(t *testing.T) {
	text := "# a comment\n\n  key_1 = value with spaces  # why\nurl=http://x/\\#frag = y\nempty =\nquoted = \"as is\"\r\nlast = no newline"
	got, err := parseFile(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []pair{
		{"key_1", "value with spaces", 3}, {"url", "http://x/#frag = y", 4}, {"quoted", `"as is"`, 6}, {"last", "no newline", 7},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pair{})); diff != "" {
		t.Error(diff)
	}
	if _, err := parseFile(strings.NewReader("a = 1\nb = " + strings.Repeat("x", maxLine))); err == nil || !strings.Contains(err.Error(), "line 2: longer than") {
		t.Errorf("a line that is too long: %v", err)
	}
}

func TestParseListen(t *testing.T) {
	tests := []struct {
		text string
		want []Listener
		err  string
	}{
		{text: "off"},
		{text: " off "},
		{text: "0.0.0.0:8443 http2 ssl reuseport backlog=16384", want: []Listener{{Addr: "0.0.0.0:8443", TLS: true, HTTP2: true, Tuning: []string{"reuseport", "backlog=16384"}}}},
		{text: "[::1]:80,127.0.0.1:81 deferred bind so_keepalive=on ipv6only=off", want: []Listener{
			{Addr: "[::1]:80"}, {Addr: "127.0.0.1:81", Tuning: []string{"deferred", "bind", "so_keepalive=on", "ipv6only=off"}}}},
		{text: "127.0.0.1:0, 127.0.0.1:0", want: []Listener{{Addr: "127.0.0.1:0"}, {Addr: "127.0.0.1:0"}}},
		{text: ":8000", want: []Listener{{Addr: ":8000"}}},
		{text: "", err: "must be addresses host:port with their flags, separated by commas, or off"},
		{text: "127.0.0.1:1,", err: "must be addresses"},
		{text: "127.0.0.1:1, 127.0.0.1:1", err: "127.0.0.1:1 is there twice"},
		{text: "127.0.0.1", err: `"127.0.0.1" is not host:port`},
		{text: "127.0.0.1:65536", err: `"127.0.0.1:65536" has no port from 0 to 65535`},
		{text: "127.0.0.1:1 sll", err: `unknown flag "sll", did you mean ssl?`},
		{text: "127.0.0.1:1 something", err: `unknown flag "something"`},
		{text: "127.0.0.1:1 backlog=0", err: `flag "backlog=0": the backlog must be a number above 0`},
		{text: "127.0.0.1:1 proxy_protocol ssl", want: []Listener{{Addr: "127.0.0.1:1", TLS: true, ProxyProtocol: true}}},
		{text: "127.0.0.1:1 proxy_protocl", err: `unknown flag "proxy_protocl", did you mean proxy_protocol?`},
		{text: "unix:/run/x.sock", err: "unix sockets are not supported"},
	}
	for _, tt := range tests {
		got, err := ParseListen(tt.text)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %s", tt.text, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: %s", tt.text, diff)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"proxy_listen", "admin_listen", "join", "expect"}
	tests := map[string]string{
		"proxy_lsiten": ", did you mean proxy_listen?", "adminlisten": ", did you mean admin_listen?", "jion": ", did you mean join?",
		"whatever": "", "": "", strings.Repeat("proxy_listen", 100): "",
	}
	for word, want := range tests {
		if got := DidYouMean(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{"", "a=b", "a = b # c", "\\#", "#\\#", "a=\\##", "a=b\na=c", "=", "a", "\x00=1", "é = 1", "a = \\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pairs, err := parseFile(strings.NewReader(text))
		if err != nil {
			return
		}
		// What was read, written again, reads the same.
		var b strings.Builder
		for _, p := range pairs {
			if p.value == "" || p.key == "" || p.line < 1 {
				t.Fatalf("pair %+v", p)
			}
			b.WriteString(p.key + " = " + strings.ReplaceAll(p.value, "#", `\#`) + "\n")
		}
		again, err := parseFile(strings.NewReader(b.String()))
		if err != nil || len(again) != len(pairs) {
			t.Fatalf("%q gave %d pairs, and then %d, %v", text, len(pairs), len(again), err)
		}
		for i := range again {
			if again[i].key != pairs[i].key || again[i].value != pairs[i].value {
				t.Errorf("%+v became %+v", pairs[i], again[i])
			}
		}
	})
}

func FuzzParseListen(f *testing.F) {
	for _, seed := range []string{"off", "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl", "[::]:1", ",", "a:b c=d", "unix:x", ":0,:0", "x:1 ssl ssl", "x:1 proxy_protocol http2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseListen(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(text, "\n") {
				t.Errorf("error of more than one line: %q", err)
			}
			return
		}
		var parts []string
		for _, l := range all {
			part := l.Addr
			if l.TLS {
				part += " ssl"
			}
			if l.HTTP2 {
				part += " http2"
			}
			if l.ProxyProtocol {
				part += " proxy_protocol"
			}
			parts = append(parts, strings.Join(append([]string{part}, l.Tuning...), " "))
		}
		if len(parts) == 0 {
			return // off
		}
		again, err := ParseListen(strings.Join(parts, ", "))
		if err != nil {
			t.Fatalf("%q read as %v, which does not read: %v", text, all, err)
		}
		if diff := cmp.Diff(all, again); diff != "" {
			t.Error(diff)
		}
	})
}
