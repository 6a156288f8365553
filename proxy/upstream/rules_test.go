package upstream

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestAgain: every way in which a request can have come to its end on a
// connection.
func TestAgain(t *testing.T) {
	get, post := &Request{Method: "GET"}, &Request{Method: "POST"}
	put := &Request{Method: "PUT", Body: strings.NewReader("x")}
	for _, c := range []struct {
		name string
		req  *Request
		p    Progress
		want bool
	}{
		{"kept, nothing left", post, Progress{Kept: true}, true},
		{"kept, sent", get, Progress{Kept: true, Sent: true}, true},
		{"kept, sent, must not be repeated", post, Progress{Kept: true, Sent: true}, false},
		{"kept, streamed, nothing left", put, Progress{Kept: true}, true},
		{"kept, streamed, body read", put, Progress{Kept: true, BodyRead: true}, false},
		{"kept, streamed, head sent", put, Progress{Kept: true, Sent: true}, false},
		{"kept, answer begun", get, Progress{Kept: true, Sent: true, Answered: true}, false},
		{"new", get, Progress{Sent: true}, false},
		{"new, nothing left", get, Progress{}, false},
	} {
		if got := c.req.Again(c.p); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestHeadKinds(t *testing.T) {
	plain, upgrading := &Request{}, &Request{Upgrade: "websocket"}
	for _, c := range []struct {
		req              *Request
		status, interims int
		upgrade          string
		want             HeadKind
		err              error
	}{
		{plain, 200, 0, "", FinalHead, nil},
		{plain, 599, maxInterim, "", FinalHead, nil},
		{plain, 100, 0, "", ContinueHead, nil},
		{plain, 103, maxInterim - 1, "", InterimHead, nil},
		{plain, 102, 0, "", InterimHead, nil},
		{plain, 103, maxInterim, "", 0, ErrInvalid},
		{plain, 100, maxInterim, "", 0, ErrInvalid},
		{plain, 101, 0, "websocket", 0, ErrInvalid},
		{upgrading, 101, maxInterim, "WebSocket", SwitchHead, nil},
		{upgrading, 101, 0, "h2c", 0, ErrInvalid},
	} {
		if got, err := c.req.Head(c.status, c.interims, c.upgrade); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%d after %d: %v, %v; want %v, %v", c.status, c.interims, got, err, c.want, c.err)
		}
	}
}

func TestContinueWait(t *testing.T) {
	for read, want := range map[time.Duration]time.Duration{time.Minute: time.Second, time.Millisecond: time.Millisecond} {
		if got := (&Request{Timeouts: Timeouts{Read: read}}).ContinueWait(); got != want {
			t.Errorf("read timeout %v: %v, want %v", read, got, want)
		}
	}
}
