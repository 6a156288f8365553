package fields

import "testing"

func TestHeaders(t *testing.T) {
	for entry, want := range map[string][2]string{ // what ValidHeader and ValidHeaderPair say
		"x-a:x-b":  {"", ""},
		"x-a::x-b": {"", ""},
		"x-a":      {"", "'nil' is not a valid header"},
		"x-a:v w":  {"", "'v w' is not a valid header"},
		"x a:x-b":  {"'x a' is not a valid header", "'x a' is not a valid header"},
		":x-b":     {"'nil' is not a valid header", "'nil' is not a valid header"},
	} {
		for i, valid := range []func(string) error{ValidHeader, ValidHeaderPair} {
			got := ""
			if err := valid(entry); err != nil {
				got = err.Error()
			}
			if got != want[i] {
				t.Errorf("%q: got %q, want %q", entry, got, want[i])
			}
		}
	}
}
