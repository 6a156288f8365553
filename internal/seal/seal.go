// Package seal encrypts and authenticates what goes to disk: entries, each as a
// whole, and streams, in chunks. It does no I/O but that of the streams it is
// given, and knows nothing of what it seals.
//
// Sealed data begins with a header in the clear: what it is, and which key opens
// it. Each piece has an AES-256-GCM key of its own, made by HKDF-SHA-256 (RFC
// 5869, section 2.3) of the long-lived key and the header, in which 24 bytes are
// random. So no pair of key and nonce is ever used twice, however much is sealed,
// and a header that was changed opens nothing.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// Overhead is how much longer a sealed entry is than what is in it, in bytes.
	Overhead = headerSize + tagSize

	// A header is magic, version, form, kind, the key's id and the salt.
	magic      = "\xf5SLC" // no JSON and no UTF-8 begins like this
	version    = 1
	idSize     = 6
	saltSize   = 24
	headerSize = len(magic) + 3 + idSize + saltSize
	atID       = len(magic) + 3
	tagSize    = 16
	nonceSize  = 12

	formEntry  = 'e'
	formStream = 's'
)

var (
	// ErrDamaged is given for sealed data that is not what was sealed: cut,
	// changed, put together from parts of others, or of another kind.
	ErrDamaged = errors.New("the sealed data is damaged")
	// ErrNewer is given for sealed data of a form that this build does not know.
	ErrNewer = errors.New("the sealed data is of a newer version")
)

// MissingKeyError is given for data that was sealed with a key that is not there.
type MissingKeyError struct{ ID ID }

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("encryption key %s is missing", e.ID)
}

// Kind says what is sealed, so that one thing cannot take the place of another.
type Kind byte

// IsSealed says whether data begins as sealed data does. Its beginning is enough.
func IsSealed(data []byte) bool { return len(data) >= len(magic) && string(data[:len(magic)]) == magic }

// HeaderSize is how many bytes of sealed data KeyOf needs.
const HeaderSize = headerSize

// KeyOf gives the key that sealed data names. It proves nothing: that is for
// opening it.
func KeyOf(data []byte) (ID, bool) {
	if !IsSealed(data) || len(data) < headerSize {
		return ID{}, false
	}
	return ID(data[atID:]), true
}

// Seal gives an entry sealed.
func (k *Key) Seal(kind Kind, plain []byte) []byte {
	out := make([]byte, headerSize, Overhead+len(plain))
	k.header(out, formEntry, kind)
	return k.aead(out).Seal(out, make([]byte, nonceSize), plain, nil)
}

// Open gives what is in a sealed entry. Errors wrap ErrDamaged or ErrNewer, or are
// a *MissingKeyError.
func (ks *Keys) Open(kind Kind, sealed []byte) ([]byte, error) {
	aead, err := ks.opener(sealed, formEntry, kind)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, nonceSize), sealed[headerSize:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not what was sealed", ErrDamaged)
	}
	return plain, nil
}

// header fills in a new header.
func (k *Key) header(out []byte, form byte, kind Kind) {
	copy(out, magic)
	out[len(magic)], out[len(magic)+1], out[len(magic)+2] = version, form, byte(kind)
	copy(out[atID:], k.id[:])
	_, _ = rand.Read(out[atID+idSize : headerSize]) // never fails: it ends the program instead
}

// opener reads a header.
func (ks *Keys) opener(data []byte, form byte, kind Kind) (cipher.AEAD, error) {
	switch {
	case !IsSealed(data):
		return nil, fmt.Errorf("%w: it does not begin as such", ErrDamaged)
	case len(data) < headerSize:
		return nil, fmt.Errorf("%w: it is cut short", ErrDamaged)
	case data[len(magic)] > version:
		return nil, fmt.Errorf("%w: %d, known is %d", ErrNewer, data[len(magic)], version)
	case data[len(magic)] != version || data[len(magic)+1] != form || data[len(magic)+2] != byte(kind):
		return nil, fmt.Errorf("%w: it is something else", ErrDamaged)
	}
	id := ID(data[atID:])
	key := ks.Get(id)
	if key == nil {
		return nil, &MissingKeyError{ID: id}
	}
	return key.aead(data[:headerSize]), nil
}

// aead makes the cipher of the piece that has this header.
func (k *Key) aead(header []byte) cipher.AEAD {
	sub, err := hkdf.Expand(sha256.New, k.secret[:], "sluice seal "+string(header[:headerSize]), len(k.secret))
	if err != nil {
		panic(err) // it has a key and a length that HKDF takes
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the right block size
	}
	return aead
}

// chunkNonce numbers the chunks of a stream and marks the last.
func chunkNonce(number uint64, last bool) []byte {
	nonce := make([]byte, nonceSize)
	binary.BigEndian.PutUint64(nonce, number)
	if last {
		nonce[nonceSize-1] = 1
	}
	return nonce
}
