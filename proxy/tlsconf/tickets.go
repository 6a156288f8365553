package tlsconf

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Tickets encrypts and opens the session tickets of TLS clients, with keys that
// change. Safe for concurrent use.
//
// A ticket is taken for as long as a session may be resumed, and only for the
// server name it was made for (RFC 6066, section 3). The key changes that often
// too, and the one before is kept for as long again.
type Tickets struct {
	interval time.Duration
	secret   []byte
	now      func() time.Time

	keys atomic.Pointer[ticketKeys]
	mu   sync.Mutex // serialises rotation
}

// ticketKeys are those of one interval. crypto/tls keeps them in a Config.
type ticketKeys struct {
	epoch  int64
	first  [32]byte
	config *tls.Config
}

// ticketMark begins what a ticket carries for us: the time it was made, in unix
// seconds, 8 bytes, and the server name.
const ticketMark = "sluice\x00"

// NewTickets makes the keys of tickets that are good for lifetime (Kong's
// ssl_session_timeout; a second at least). Without a secret the keys are random,
// and known to this process alone. With one, of 32 bytes at least, every process
// that has it opens the others' tickets; who learns it can read the sessions of
// any time that were resumed without a new key exchange. now is the clock; nil
// is the system's.
func NewTickets(lifetime time.Duration, secret []byte, now func() time.Time) *Tickets {
	if now == nil {
		now = time.Now
	}
	return &Tickets{interval: max(lifetime, time.Second), secret: bytes.Clone(secret), now: now}
}

// Wrap is for tls.Config.WrapSession.
func (t *Tickets) Wrap(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	mark := binary.BigEndian.AppendUint64([]byte(ticketMark), uint64(t.now().Unix()))
	session.Extra = append(session.Extra, append(mark, cs.ServerName...))
	return t.current().EncryptTicket(cs, session)
}

// Unwrap is for tls.Config.UnwrapSession. A ticket that is not taken is no
// error: the handshake goes on without it.
func (t *Tickets) Unwrap(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	session, err := t.current().DecryptTicket(identity, cs)
	if err != nil || session == nil {
		return nil, nil
	}
	for _, extra := range session.Extra {
		mark, ok := bytes.CutPrefix(extra, []byte(ticketMark))
		if !ok || len(mark) < 8 {
			continue
		}
		made := time.Unix(int64(binary.BigEndian.Uint64(mark)), 0)
		if string(mark[8:]) != cs.ServerName || t.now().Sub(made) > t.interval {
			return nil, nil
		}
		return session, nil
	}
	return nil, nil
}

// current gives the keys of now, and makes them when their time has come: the
// first ticket of an interval pays for it, and no goroutine has to.
func (t *Tickets) current() *tls.Config {
	epoch := t.now().UnixNano() / int64(t.interval)
	if k := t.keys.Load(); k != nil && epoch <= k.epoch {
		return k.config
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.keys.Load()
	if old != nil && epoch <= old.epoch { // another was faster, or the clock went back
		return old.config
	}
	next := &ticketKeys{epoch: epoch, first: t.key(epoch), config: new(tls.Config)}
	keys := [][32]byte{next.first}
	switch {
	case t.secret != nil:
		// The next one too: the clock of the node that made the ticket may be ahead.
		keys = append(keys, t.key(epoch-1), t.key(epoch+1))
	case old != nil && old.epoch == epoch-1:
		keys = append(keys, old.first)
	}
	next.config.SetSessionTicketKeys(keys)
	t.keys.Store(next)
	return next.config
}

func (t *Tickets) key(epoch int64) (key [32]byte) {
	if t.secret == nil {
		_, _ = rand.Read(key[:]) // never fails
		return key
	}
	// The only error is a length that is too large.
	derived, _ := hkdf.Key(sha256.New, t.secret, nil, "sluice session tickets "+strconv.FormatInt(epoch, 10), len(key))
	copy(key[:], derived)
	return key
}
