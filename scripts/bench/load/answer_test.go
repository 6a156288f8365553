package load

import (
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5 \r\n\r\nhello"
	tests := map[string]struct{ text, fault string }{
		"good":               {good, ""},
		"another status":     {strings.Replace(good, "200", "503", 1), "status 503"},
		"another body":       {strings.Replace(good, "hello", "hullo", 1), "not the one"},
		"shorter":            {strings.Replace(good, "5", "4", 1), "Content-Length 4"},
		"two lengths":        {strings.Replace(good, "Server: x", "Content-Length: 5", 1), "malformed"},
		"no length":          {strings.Replace(good, "content-LENGTH:  5", "Connection: close", 1), "Content-Length -1"},
		"another version":    {strings.Replace(good, "1.1", "1.0", 1), "malformed"},
		"length in the text": {strings.Replace(good, "content-LENGTH:  5 ", "X: content-length: 5", 1), "Content-Length -1"},
		"surplus":            {good + "!", "after the answer"},
		"no end of the head": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", maxHead/6+1), "malformed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 7, 30, len(test.text)} {
				var a answer
				done, fault := feedAll(&a, test.text, size)
				if test.fault == "" && (fault != nil || !done) {
					t.Errorf("in pieces of %d: done %v, %v", size, done, fault)
				}
				if test.fault != "" && (fault == nil || !strings.Contains(fault.Error(), test.fault)) {
					t.Errorf("in pieces of %d: %v, want %q", size, fault, test.fault)
				}
			}
		})
	}
}

// feedAll stops at the first fault; a piece after a complete answer is one.
func feedAll(a *answer, text string, size int) (done bool, err error) {
	for len(text) > 0 {
		if done {
			return true, errSurplus
		}
		n := min(size, len(text))
		if done, err = a.feed([]byte(text[:n]), 200, []byte("hello")); err != nil {
			return false, err
		}
		text = text[n:]
	}
	return done, nil
}

func TestAnswersOneAfterTheOther(t *testing.T) {
	var a answer
	for range 3 {
		if done, err := feedAll(&a, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 9); !done || err != nil {
			t.Fatal(done, err)
		}
	}
	for _, text := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"} {
		if done, err := a.feed([]byte(text), 200, nil); !done || err != nil {
			t.Fatal("an answer without a body", done, err)
		}
	}
}
