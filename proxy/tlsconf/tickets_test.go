package tlsconf

import (
	"bytes"
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/sluicegate/sluice/internal/certs/certstest"
)

// TestResumption: for how long, on which node and for which name a session may
// be resumed. An hour is the lifetime of a session.
func TestResumption(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 32)
	tests := map[string]struct {
		secret  []byte // of both nodes; nil: each has its own keys
		other   bool   // resume at another node
		after   time.Duration
		name    string
		resumed bool
	}{
		"at once":                   {nil, false, 0, "a.test", true},
		"after a change of keys":    {nil, false, 59 * time.Minute, "a.test", true},
		"too late":                  {nil, false, 61 * time.Minute, "a.test", false},
		"much too late":             {nil, false, 100 * time.Hour, "a.test", false},
		"at another node":           {nil, true, 0, "a.test", false},
		"at a node with the secret": {secret, true, 0, "a.test", true},
		"there, later":              {secret, true, 59 * time.Minute, "a.test", true},
		"there, too late":           {secret, true, 61 * time.Minute, "a.test", false},
		"where the clock is late":   {secret, true, -time.Hour, "a.test", true},
		"where it is much too late": {secret, true, -10 * time.Hour, "a.test", false},
		"for another name":          {nil, false, 0, "b.test", false},
	}
	for name, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				start := time.Unix(1_800_000_000, 0).Truncate(time.Hour).Add(30 * time.Minute)
				here, there := &clock{start}, &clock{start.Add(tt.after)}
				get := fallback(certstest.SelfSigned("x"))
				first := Server{GetCertificate: get, Tickets: NewTickets(time.Hour, tt.secret, here.now)}.TLSConfig()
				second := first
				if tt.other {
					second = Server{GetCertificate: get, Tickets: NewTickets(time.Hour, tt.secret, there.now)}.TLSConfig()
				}
				client := careless("a.test")
				client.MaxVersion, client.ClientSessionCache = version, oneSession{new(*tls.ClientSessionState)}
				if m := meet(t, client, first.Clone()); m.leaf(t) != "x" || m.server.DidResume {
					t.Fatal("the first handshake")
				}
				here.Time = there.Time
				client.ServerName = tt.name
				m := meet(t, client, second.Clone())
				if m.leaf(t); m.server.DidResume != tt.resumed {
					t.Errorf("resumed %v", m.server.DidResume)
				}
			})
		}
	}
}

// oneSession offers its one session to every server.
type oneSession struct{ session **tls.ClientSessionState }

func (o oneSession) Get(string) (*tls.ClientSessionState, bool) { return *o.session, *o.session != nil }
func (o oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		*o.session = s
	}
}

func TestTicketsOff(t *testing.T) {
	server := Server{GetCertificate: fallback(certstest.SelfSigned("x"))}.TLSConfig()
	client := careless("a.test")
	client.ClientSessionCache = oneSession{new(*tls.ClientSessionState)}
	for range 2 {
		if m := meet(t, client, server); m.leaf(t) != "x" || m.server.DidResume {
			t.Error("a session was resumed")
		}
	}
}

// TestTicketsInForeignHands: bytes that are no ticket of ours start a full
// handshake, and never fail one.
func TestTicketsInForeignHands(t *testing.T) {
	tickets := NewTickets(time.Hour, nil, nil)
	for _, identity := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{7}, 200)} {
		if session, err := tickets.Unwrap(identity, tls.ConnectionState{}); session != nil || err != nil {
			t.Errorf("%d bytes: %v, %v", len(identity), session, err)
		}
	}
}

// TestRotationUnderLoad: keys change while tickets are made and opened, and no
// fresh ticket is refused.
func TestRotationUnderLoad(t *testing.T) {
	var mu sync.Mutex
	at := time.Unix(1_800_000_000, 0)
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second) // every look at the clock takes a second
		return at
	}
	tickets := NewTickets(time.Minute, nil, now)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if _, err := tickets.Wrap(tls.ConnectionState{}, &tls.SessionState{}); err != nil {
					t.Error(err)
				}
				if _, err := tickets.Unwrap([]byte("none"), tls.ConnectionState{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
