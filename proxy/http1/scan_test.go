package http1

import (
	"bytes"
	"testing"
)

// TestScanEveryByteEverywhere holds the scans of whole words against one byte
// at a time: each byte at each place of a text, with each byte behind it.
func TestScanEveryByteEverywhere(t *testing.T) {
	for _, filler := range []string{"a", "-", "0", "\xff"} {
		for at := range 40 {
			for c := range 256 {
				b := bytes.Repeat([]byte(filler), 40)
				b[at] = byte(c)
				if at+1 < len(b) {
					b[at+1] = byte(c * 7)
				}
				slowText, slowName := 0, 0
				for slowText < len(b) && !isControl(b[slowText]) {
					slowText++
				}
				for slowName < len(b) && class[b[slowName]]&notToken == 0 {
					slowName++
				}
				for n := at + 1; n <= len(b); n += 5 {
					if got := skipText(b[:n], 0); got != min(slowText, n) {
						t.Fatalf("text %q: %d, want %d", b[:n], got, slowText)
					}
				}
				if got := skipName(b, 0); got != slowName {
					t.Fatalf("name %q: %d, want %d", b, got, slowName)
				}
			}
		}
	}
}

func TestWordsOfEveryByte(t *testing.T) {
	for n := 1; n < 20; n++ {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte("\xff"), n)
				b[at] = byte(c)
				if got, want := IsWord(string(b)), c > ' ' && c != 0x7f; got != want {
					t.Fatalf("%q: %v", b, got)
				}
			}
		}
	}
	if !IsWord("") {
		t.Error("nothing is a word")
	}
}

func TestClasses(t *testing.T) {
	for c := range 256 {
		b := string([]byte{byte(c)})
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		for _, tt := range []struct {
			name string
			got  bool
			want bool
		}{
			{"token", isToken(b), letter || c < 0x80 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0},
			{"host", classes(b)&notHost == 0, letter || c < 0x80 && bytes.IndexByte([]byte("-._~!$&'()*+,;="), byte(c)) >= 0},
			{"target", classes(b)&notTarget == 0, c > ' ' && c != 0x7f && c != '#'},
			{"digit", classes(b)&notDigit == 0, '0' <= c && c <= '9'},
			{"hex", classes(b)&notHex == 0, '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'},
			{"percent", classes(b)&percent != 0, c == '%'},
		} {
			if tt.got != tt.want {
				t.Errorf("%q is %s: %v", b, tt.name, tt.got)
			}
		}
	}
}
