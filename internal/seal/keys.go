package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	keySize = 32
	// MaxKeys bounds the keys of a node: a rotation needs two.
	MaxKeys = 8
	// maxKeyFile bounds a file of keys, in bytes.
	maxKeyFile = 64 << 10
)

// ErrBadKeys is given for keys that cannot be used. No error shows any part of
// a key.
var ErrBadKeys = errors.New("encryption keys cannot be used")

// ID names a key. It follows from the key and tells nothing of it.
type ID [idSize]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Key is a long-lived key. It prints as its id. Safe for concurrent use.
type Key struct {
	id     ID
	secret [keySize]byte
}

// ID names the key.
func (k *Key) ID() ID { return k.id }

// String keeps the key out of logs, whatever prints it.
func (k *Key) String() string { return "key " + k.id.String() }

// GoString does too.
func (k *Key) GoString() string { return k.String() }

// NewKeyText makes a random key, as text for the settings: 32 bytes in base64.
func NewKeyText() string {
	var secret [keySize]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program instead
	return base64.StdEncoding.EncodeToString(secret[:])
}

// ParseKey reads 32 bytes in base64 (either alphabet, padded or not) or in hex.
func ParseKey(text string) (*Key, bool) {
	text = strings.TrimSpace(text)
	var secret []byte
	var err error
	switch bare := strings.TrimRight(text, "="); {
	case len(text) == hex.EncodedLen(keySize):
		secret, err = hex.DecodeString(text)
	case len(bare) != base64.RawStdEncoding.EncodedLen(keySize):
		return nil, false
	case strings.ContainsAny(bare, "-_"):
		secret, err = base64.RawURLEncoding.Strict().DecodeString(bare)
	default:
		secret, err = base64.RawStdEncoding.Strict().DecodeString(bare)
	}
	if err != nil || len(secret) != keySize {
		return nil, false
	}
	k := &Key{secret: [keySize]byte(secret)}
	id, err := hkdf.Expand(sha256.New, k.secret[:], "sluice key id", idSize)
	if err != nil {
		panic(err) // it has a key and a length that HKDF takes
	}
	k.id = ID(id)
	return k, true
}

// Keys are those of a node, in order: the first seals, all open. A nil *Keys has
// none. It does not change; safe for concurrent use.
type Keys struct{ list []*Key }

// NewKeys makes keys of at least one; one that is named again counts once.
func NewKeys(keys ...*Key) (*Keys, error) {
	ks := &Keys{}
	for _, k := range keys {
		if ks.Get(k.id) == nil {
			ks.list = append(ks.list, k)
		}
	}
	if len(ks.list) == 0 || len(ks.list) > MaxKeys {
		return nil, fmt.Errorf("%w: there must be 1 to %d, not %d", ErrBadKeys, MaxKeys, len(ks.list))
	}
	return ks, nil
}

// All gives the keys in order. The slice must not be changed.
func (ks *Keys) All() []*Key {
	if ks == nil {
		return nil
	}
	return ks.list
}

// Get gives the key of an id, or nil.
func (ks *Keys) Get(id ID) *Key {
	all := ks.All()
	if i := slices.IndexFunc(all, func(k *Key) bool { return k.id == id }); i >= 0 {
		return all[i]
	}
	return nil
}

// IDs gives the keys' names in order, as text.
func (ks *Keys) IDs() []string {
	var out []string
	for _, k := range ks.All() {
		out = append(out, k.id.String())
	}
	return out
}

// Load makes keys of the elements of a setting: each is a key, or the path of a
// file with one on each line, in which # begins a comment. No elements are no
// keys: nil. Warnings are for the log: a file that others than its owner can read.
func Load(elements []string) (keys *Keys, warnings []string, err error) {
	var all []*Key
	for i, element := range elements {
		if k, ok := ParseKey(element); ok {
			all = append(all, k)
			continue
		}
		some, warning, err := readFile(element)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errName) {
			// The element may be a key with a letter too few: it is not shown.
			return nil, nil, fmt.Errorf("%w: element %d is neither a key (32 bytes in base64 or hex; sluice encryption key makes one) nor a file that exists", ErrBadKeys, i+1)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrBadKeys, err)
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
		all = append(all, some...)
	}
	if len(elements) == 0 {
		return nil, nil, nil
	}
	keys, err = NewKeys(all...)
	return keys, warnings, err
}

// errName is given for what the system takes for no file's name at all.
var errName = errors.New("not the name of a file")

func readFile(path string) (keys []*Key, warning string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return nil, "", err
	case err != nil:
		return nil, "", errName
	case info.Mode().Perm()&0o077 != 0:
		warning = fmt.Sprintf("the file of encryption keys %s can be read by others than its owner (mode %#o, should be 0600)", path, info.Mode().Perm())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, "", err
	}
	if len(text) > maxKeyFile {
		return nil, "", fmt.Errorf("%s is longer than %d bytes", path, maxKeyFile)
	}
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		k, ok := ParseKey(line)
		if !ok {
			return nil, "", fmt.Errorf("line %d of %s is no key: 32 bytes in base64 or hex", i+1, path)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, "", fmt.Errorf("%s holds no key", path)
	}
	return keys, warning, nil
}
