package obs

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendLogField(t *testing.T) {
	for in, want := range map[string]string{
		"": "-", "a b": "a b", `"\`: `\x22\x5C`, "\r\n\x00\x1b\x7f": `\x0D\x0A\x00\x1B\x7F`, "ü": `\xC3\xBC`, "12345678\n9": `12345678\x0A9`, "-": "-",
	} {
		if got := string(AppendLogField(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAppendJSONString(t *testing.T) {
	for in, want := range map[string]string{
		"": `""`, "a/b": `"a/b"`, `"\`: `"\"\\"`, "\r\n\x00\x1b\x7f": `"\u000d\u000a\u0000\u001b\u007f"`, "ü€😀": `"ü€😀"`,
		"a\xffb": `"a\ufffdb"`, "\xc3": `"\ufffd"`, "\xed\xa0\x80": `"\ufffd\ufffd\ufffd"`, "�": `"�"`,
		"\u0085\u009b\u2028\u2029": `"\u0085\u009b\u2028\u2029"`, "12345678\n9": `"12345678\u000a9"`,
	} {
		if got := string(AppendJSONString(nil, in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestLongFields are cut where a reader sees it, and not within an escape.
func TestLongFields(t *testing.T) {
	for _, unit := range []string{"x", "\n", "ü", "😀", "xx\n"} {
		long := strings.Repeat(unit, MaxLogField)
		field, text := string(AppendLogField(nil, long)), string(AppendJSONString([]byte("before"), long))[len("before"):]
		if len(field) > MaxLogField || len(field) < MaxLogField-8 || !strings.HasSuffix(field, cutMark) {
			t.Errorf("%q: %d bytes, end %q", unit, len(field), field[len(field)-10:])
		}
		var back string
		if err := json.Unmarshal([]byte(text), &back); err != nil || len(text) > MaxLogField+2 || !strings.HasSuffix(back, cutMark) ||
			!strings.HasPrefix(long, strings.TrimSuffix(back, cutMark)) {
			t.Errorf("%q: %d bytes, %v", unit, len(text), err)
		}
	}
	exact := strings.Repeat("x", MaxLogField-len(cutMark))
	if got := string(AppendLogField(nil, exact)); got != exact {
		t.Error("a field that fits is cut")
	}
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "plain text of some length", "\"\\\n\r\x00", "\xff\xfe", "\u2028\u0085", "12345678\x809", "!\"", "~\x7f",
		strings.Repeat("\x00", MaxLogField/6-1) + "\"", strings.Repeat("\x00", MaxLogField/6) + "\""} { // fits, and does not
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		field := AppendLogField(nil, s)
		for _, c := range field {
			if c < ' ' || c > '~' || c == '"' {
				t.Fatalf("%q became %q", s, field)
			}
		}
		text := AppendJSONString(nil, s)
		var back string
		if err := json.Unmarshal(text, &back); err != nil || !utf8.Valid(text) {
			t.Fatalf("%q became %q: %v", s, text, err)
		}
		full := 0 // what all of it would take
		for _, r := range s {
			full += len(AppendJSONText(nil, string(r)))
		}
		switch fits := full <= MaxLogField-len(cutMark); {
		case utf8.ValidString(s) && fits && back != s:
			t.Fatalf("%q came back as %q", s, back)
		case utf8.ValidString(s) && !fits && !strings.HasSuffix(back, cutMark):
			t.Fatalf("%q is too long, and not cut", s)
		case len(text) > MaxLogField+len(`""`):
			t.Fatalf("%q became %d bytes", s, len(text))
		}
		for _, r := range string(text) {
			if r < ' ' || 0x7f <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 {
				t.Fatalf("%q became %q", s, text)
			}
		}
		if n := plainPrefix(s); n < len(s) && s[n] >= ' ' && s[n] <= '~' && s[n] != '"' && s[n] != '\\' {
			t.Fatalf("%q is plain for %d bytes only", s, n)
		}
	})
}
