//go:build linux

package proxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// The types of TLS records.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// rawTLS writes TLS records of a connection whose hands crypto/tls has shaken: it
// says what crypto/tls would not. Only the client's direction is its own.
type rawTLS struct {
	t       testing.TB
	conn    net.Conn
	version uint16
	hash    func() hash.Hash
	keySize int
	secret  []byte // TLS 1.3
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
	out     []byte // records that are not sent yet
}

// recordingConn keeps what is read from it.
type recordingConn struct {
	net.Conn
	read bytes.Buffer
}

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}

// dialRaw shakes hands with a listener, and gives the records of the client and
// the connection that reads the answers. Nothing may be written by that.
func (w *world) dialRaw(listener int, config *tls.Config) (*rawTLS, *faultyClient) {
	w.t.Helper()
	plain := w.dial(listener)
	recording := &recordingConn{Conn: plain.Conn}
	var keys bytes.Buffer
	config = config.Clone()
	config.KeyLogWriter = &keys
	c := tls.Client(recording, config)
	if err := c.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	state := c.ConnectionState()
	r := &rawTLS{t: w.t, conn: plain.Conn, version: state.Version, hash: sha256.New, keySize: 16}
	if r.version == tls.VersionTLS13 {
		switch state.CipherSuite {
		case tls.TLS_AES_256_GCM_SHA384:
			r.hash, r.keySize = sha512.New384, 32
		case tls.TLS_CHACHA20_POLY1305_SHA256:
			r.keySize = 32
		}
		r.secret = logged(w.t, keys.String(), "CLIENT_TRAFFIC_SECRET_0")
		r.rekey()
	} else {
		r.keys12(logged(w.t, keys.String(), "CLIENT_RANDOM"), keys.String(), recording.read.Bytes())
	}
	return r, w.faulty(c)
}

// logged gives the last value of a line of the key log.
func logged(t testing.TB, keys, label string) []byte {
	for line := range strings.Lines(keys) {
		if words := strings.Fields(line); words[0] == label {
			value, err := hex.DecodeString(words[2])
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("no %s in %q", label, keys)
	return nil
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1).
func (r *rawTLS) expand(label string, size int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(append(info, byte(len(label))), label...), 0)
	key, err := hkdf.Expand(r.hash, r.secret, string(info), size)
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

// rekey makes the keys of a secret.
func (r *rawTLS) rekey() {
	key := r.expand("key", r.keySize)
	r.iv, r.seq = r.expand("iv", 12), 0
	if r.keySize == 32 && r.hash().Size() == sha256.Size {
		var err error
		if r.aead, err = chacha20poly1305.New(key); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	r.gcm(key)
}

func (r *rawTLS) gcm(key []byte) {
	block, err := aes.NewCipher(key)
	if err == nil {
		r.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// keys12 makes the client's keys of TLS 1.2 with AES-128-GCM (RFC 5246, section
// 6.3, and RFC 5288).
func (r *rawTLS) keys12(master []byte, keys string, said []byte) {
	const randomAt = 5 + 4 + 2 // the server's, in its hello: record, message, version
	clientRandom, err := hex.DecodeString(strings.Fields(keys)[1])
	if err != nil {
		r.t.Fatal(err)
	}
	seed := append([]byte("key expansion"), said[randomAt:randomAt+32]...)
	seed = append(seed, clientRandom...)
	sum := func(data ...[]byte) []byte {
		h := hmac.New(sha256.New, master)
		for _, d := range data {
			h.Write(d)
		}
		return h.Sum(nil)
	}
	var block []byte
	for a := sum(seed); len(block) < 16+16+4; a = sum(a) {
		block = append(block, sum(a, seed)...)
	}
	r.gcm(block[:16])
	r.iv, r.seq = block[32:36], 1 // Finished was 0
}

// add makes a record. Its content may be anything.
func (r *rawTLS) add(kind byte, content []byte) *rawTLS {
	if r.version == tls.VersionTLS13 {
		inner := append(append([]byte(nil), content...), kind)
		head := binary.BigEndian.AppendUint16([]byte{recordData, 3, 3}, uint16(len(inner)+r.aead.Overhead()))
		nonce := append([]byte(nil), r.iv...)
		for i, b := range binary.BigEndian.AppendUint64(nil, r.seq) {
			nonce[4+i] ^= b
		}
		r.out = r.aead.Seal(append(r.out, head...), nonce, inner, head)
	} else {
		explicit := binary.BigEndian.AppendUint64(nil, r.seq)
		extra := binary.BigEndian.AppendUint16(append(explicit[:8:8], kind, 3, 3), uint16(len(content)))
		head := binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(8+len(content)+r.aead.Overhead()))
		nonce := append(append([]byte(nil), r.iv...), explicit...)
		r.out = r.aead.Seal(append(append(r.out, head...), explicit...), nonce, content, extra)
	}
	r.seq++
	return r
}

// data adds a record for each piece of a text.
func (r *rawTLS) data(text string, piece int) *rawTLS {
	for at := 0; at < len(text); at += piece {
		r.add(recordData, []byte(text[at:min(at+piece, len(text))]))
	}
	return r
}

// update adds a KeyUpdate (RFC 8446, section 4.6.3). asked wants one back.
func (r *rawTLS) update(asked bool) *rawTLS {
	message := []byte{24, 0, 0, 1, 0}
	if asked {
		message[4] = 1
	}
	r.add(recordHandshake, message)
	r.secret = r.expand("traffic upd", r.hash().Size())
	r.rekey()
	return r
}

// flush sends what was added; the proxy may have ended the connection.
func (r *rawTLS) flush() error {
	_, err := r.conn.Write(r.out)
	r.out = r.out[:0]
	return err
}
