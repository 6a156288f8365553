package tlsconf

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ids are in the order of their letters.
const (
	idA = "aaaaaaaa-0000-4000-8000-000000000000"
	idB = "bbbbbbbb-0000-4000-8000-000000000000"
	idC = "cccccccc-0000-4000-8000-000000000000"
	idD = "dddddddd-0000-4000-8000-000000000000"
)

// state is a machine that is written to directly, so that it can hold what the
// Admin API would refuse.
type state struct {
	t     testing.TB
	m     *fsm.Machine
	index uint64
}

func newState(t testing.TB) *state {
	t.Helper()
	m, err := fsm.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &state{t: t, m: m}
}

func (s *state) write(op fsm.Op) {
	s.t.Helper()
	data, err := fsm.NewWrite("", 0, op).Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.index++
	if r := s.m.Apply(s.index, data); r.Err != nil {
		s.t.Fatalf("%s %s: %v", op.Kind, op.ID, r.Err)
	}
}

func (s *state) put(kind, id string, fields map[string]any) {
	s.t.Helper()
	fields["id"] = id
	raw, err := json.Marshal(fields)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(fsm.Op{Verb: fsm.Put, Kind: kind, ID: id, Raw: raw})
}

func (s *state) delete(kind, id string) {
	s.t.Helper()
	s.write(fsm.Op{Verb: fsm.Delete, Kind: kind, ID: id})
}

func (s *state) certificate(id string, p *certstest.Pair, alt *certstest.Pair) {
	s.t.Helper()
	fields := map[string]any{"cert": p.Cert, "key": p.Key}
	if alt != nil {
		fields["cert_alt"], fields["key_alt"] = alt.Cert, alt.Key
	}
	s.put("certificates", id, fields)
}

func (s *state) sni(id, name, certificate string) {
	s.t.Helper()
	s.put("snis", id, map[string]any{"name": name, "certificate": map[string]any{"id": certificate}})
}

func (s *state) view() *fsm.View { return s.m.View() }

// clock only moves by hand.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// meeting is what a handshake gave both sides.
type meeting struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
}

// meet has a client and a server shake hands on loopback, and the server say one
// word, behind which the client has its session ticket. (On a net.Pipe a client
// that refuses a certificate and a server that is not done writing wait for each
// other.)
func meet(t testing.TB, client, server *tls.Config) meeting {
	t.Helper()
	near, far := connect(t)
	deadline := time.Now().Add(30 * time.Second)
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	var m meeting
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn := tls.Server(far, server)
		defer conn.Close()
		if m.serverErr = conn.Handshake(); m.serverErr != nil {
			return
		}
		m.server = conn.ConnectionState()
		_, _ = conn.Write([]byte("x")) // the client may have left
	}()
	conn := tls.Client(near, client)
	m.clientErr = conn.Handshake()
	if m.clientErr == nil {
		m.client = conn.ConnectionState()
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			m.clientErr = err
		}
	}
	near.Close()
	<-done
	return m
}

// connect gives the two ends of a connection.
func connect(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// leaf is the common name of the certificate that the client was shown.
func (m meeting) leaf(t testing.TB) string {
	t.Helper()
	if m.clientErr != nil || m.serverErr != nil {
		t.Fatalf("client: %v, server: %v", m.clientErr, m.serverErr)
	}
	return m.client.PeerCertificates[0].Subject.CommonName
}

// careless is a client that takes any certificate for a name.
func careless(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

func fallback(p *certstest.Pair) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := p.TLS()
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
}
