package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	kindA Kind = 1
	kindB Kind = 2
)

func newKey(t testing.TB) *Key {
	t.Helper()
	k, ok := ParseKey(NewKeyText())
	if !ok {
		t.Fatal("a new key does not parse")
	}
	return k
}

func keysOf(t testing.TB, list ...*Key) *Keys {
	t.Helper()
	ks, err := NewKeys(list...)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func TestEntry(t *testing.T) {
	first, second := newKey(t), newKey(t)
	both := keysOf(t, second, first)
	for _, size := range []int{0, 1, 1000, 512 << 10} {
		plain := bytes.Repeat([]byte("secret!"), size/7+1)[:size]
		sealed := first.Seal(kindA, plain)
		if len(sealed) != len(plain)+Overhead || !IsSealed(sealed) {
			t.Fatalf("%d bytes sealed in %d", len(plain), len(sealed))
		}
		if size >= 16 && bytes.Contains(sealed, plain) { // shorter ones may be there by chance
			t.Fatal("the plain text is in the sealed one")
		}
		if id, ok := KeyOf(sealed[:HeaderSize]); !ok || id != first.ID() {
			t.Errorf("sealed by %v, says %v", first, id)
		}
		got, err := both.Open(kindA, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	if bytes.Equal(first.Seal(kindA, []byte("same")), first.Seal(kindA, []byte("same"))) {
		t.Error("the same entry sealed twice is the same")
	}
}

// The forms are on disks: a change of them must be a new version.
func TestFormsStayReadable(t *testing.T) {
	key, ok := ParseKey(strings.Repeat("2a", 32))
	if !ok {
		t.Fatal("no key")
	}
	keys := keysOf(t, key)
	entry, err := hex.DecodeString(goldenEntry)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Open(kindA, entry); err != nil || string(got) != "an entry" {
		t.Errorf("entry: %q, %v", got, err)
	}
	stream, err := hex.DecodeString(goldenStream)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(keys, stream); err != nil || string(got) != "a stream" {
		t.Errorf("stream: %q, %v", got, err)
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	key := newKey(t)
	keys := keysOf(t, key)
	entry, stream := key.Seal(kindA, []byte("an entry with a secret")), sealStream(t, key, []byte("a stream with a secret"))
	for i := range len(entry) * 8 {
		entry[i/8] ^= 1 << (i % 8)
		if got, err := keys.Open(kindA, entry); !refused(err) {
			t.Fatalf("entry, bit %d: %q, %v", i, got, err)
		}
		entry[i/8] ^= 1 << (i % 8)
	}
	for i := range len(stream) * 8 {
		stream[i/8] ^= 1 << (i % 8)
		if got, err := readAll(keys, stream); !refused(err) {
			t.Fatalf("stream, bit %d: %q, %v", i, got, err)
		}
		stream[i/8] ^= 1 << (i % 8)
	}
}

func refused(err error) bool {
	missing := (*MissingKeyError)(nil)
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) || errors.As(err, &missing)
}

func TestOpenSaysWhy(t *testing.T) {
	key, other := newKey(t), newKey(t)
	keys := keysOf(t, key)
	sealed := key.Seal(kindA, []byte("x"))
	missing := (*MissingKeyError)(nil)
	if _, err := keys.Open(kindA, other.Seal(kindA, nil)); !errors.As(err, &missing) || missing.ID != other.ID() {
		t.Errorf("another key: %v", err)
	}
	if _, err := (*Keys)(nil).Open(kindA, sealed); !errors.As(err, &missing) || missing.ID != key.ID() {
		t.Errorf("no key at all: %v", err)
	}
	if _, err := keys.Open(kindB, sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("another kind: %v", err)
	}
	if _, err := readAll(keys, sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("an entry as a stream: %v", err)
	}
	for n := range len(sealed) {
		if _, err := keys.Open(kindA, sealed[:n]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	newer := bytes.Clone(sealed)
	newer[len(magic)]++
	if _, err := keys.Open(kindA, newer); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer version: %v", err)
	}
}

func sealStream(t testing.TB, key *Key, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := key.NewWriter(&out, kindA)
	for rest := plain; len(rest) > 0; {
		n := min(len(rest), 10_007)
		if got, err := w.Write(rest[:n]); err != nil || got != n {
			t.Fatalf("write: %d, %v", got, err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("more")); err == nil {
		t.Fatal("a closed stream takes more")
	}
	return out.Bytes()
}

func readAll(keys *Keys, sealed []byte) ([]byte, error) {
	r, err := keys.NewReader(bytes.NewReader(sealed), kindA)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestStream(t *testing.T) {
	key := newKey(t)
	keys := keysOf(t, newKey(t), key)
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize + 5} {
		plain := bytes.Repeat([]byte("0123456789abcdef-"), size/17+1)[:size]
		sealed := sealStream(t, key, plain)
		got, err := readAll(keys, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		r, err := keys.NewReader(iotest.OneByteReader(bytes.NewReader(sealed)), kindA)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes, one by one: %v", size, err)
		}
	}
}

func TestAStreamPutTogetherAnewIsRefused(t *testing.T) {
	key := newKey(t)
	keys := keysOf(t, key)
	plain := bytes.Repeat([]byte("x"), 4*chunkSize)
	a, b := sealStream(t, key, plain), sealStream(t, key, plain)
	const chunk = chunkSize + tagSize
	head := func(s []byte) []byte { return s[:headerSize] }
	part := func(s []byte, i int) []byte { return s[headerSize+i*chunk : headerSize+(i+1)*chunk] }
	tests := map[string][]byte{
		"nothing":                nil,
		"only its header":        head(a),
		"cut between chunks":     a[:headerSize+2*chunk],
		"cut in a chunk":         a[:headerSize+2*chunk+100],
		"without the last":       a[:len(a)-chunk],
		"one byte too many":      append(bytes.Clone(a), 0),
		"the last one twice":     append(bytes.Clone(a), part(a, 3)...),
		"without the first":      append(bytes.Clone(head(a)), a[headerSize+chunk:]...),
		"two chunks exchanged":   bytes.Join([][]byte{head(a), part(a, 1), part(a, 0), part(a, 2), part(a, 3)}, nil),
		"a chunk of another":     bytes.Join([][]byte{head(a), part(a, 0), part(b, 1), part(a, 2), part(a, 3)}, nil),
		"another stream's chunk": append(bytes.Clone(head(a)), b[headerSize:]...),
		"a chunk left out":       bytes.Join([][]byte{head(a), part(a, 0), part(a, 2), part(a, 3)}, nil),
	}
	for name, stream := range tests {
		if got, err := readAll(keys, stream); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestAReaderThatFailsIsNoDamage(t *testing.T) {
	key := newKey(t)
	broken := errors.New("the disk is gone")
	sealed := sealStream(t, key, bytes.Repeat([]byte("x"), 2*chunkSize))
	for _, at := range []int{10, headerSize + 100, headerSize + chunkSize + tagSize} {
		r, err := keysOf(t, key).NewReader(io.MultiReader(bytes.NewReader(sealed[:at]), iotest.ErrReader(broken)), kindA)
		if err == nil {
			_, err = io.ReadAll(r)
			if r.Err() == nil {
				t.Error("the reader forgets its error")
			}
		}
		if !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
			t.Errorf("after %d bytes: %v", at, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 16) // with both letters that the alphabets differ in
	want, ok := ParseKey(hex.EncodeToString(raw))
	if !ok {
		t.Fatal("hex is refused")
	}
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		" " + strings.ToUpper(hex.EncodeToString(raw)) + "\n",
	} {
		if k, ok := ParseKey(text); !ok || k.secret != want.secret || k.id != want.id {
			t.Errorf("%q is not the key", text)
		}
	}
	for _, text := range []string{"", "=", "short", hex.EncodeToString(raw[1:]), hex.EncodeToString(append(raw, 1)),
		base64.StdEncoding.EncodeToString(raw[1:]), strings.Repeat("g", 64), strings.Repeat("!", 43)} {
		if _, ok := ParseKey(text); ok {
			t.Errorf("%q is taken for a key", text)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if shown := fmt.Sprintf(format, want); !strings.Contains(shown, want.id.String()) || strings.Contains(shown, "251") || strings.Contains(shown, "fbff") {
			t.Errorf("%s shows %s", format, shown)
		}
	}
}

func TestLoad(t *testing.T) {
	a, b, c := NewKeyText(), NewKeyText(), NewKeyText()
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("# of this spring\n"+b+"\n\n  "+c+"  # of last year\n", 0o600)
	keys, warnings, err := Load([]string{a, file, b})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	var want []string
	for _, text := range []string{a, b, c} {
		k, _ := ParseKey(text)
		want = append(want, k.ID().String())
	}
	if got := keys.IDs(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("keys %v, want %v", got, want)
	}
	write(b, 0o640)
	if _, warnings, err = Load([]string{file}); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], file) {
		t.Errorf("a file that others read: %v, %v", warnings, err)
	}
	if keys, _, err := Load(nil); keys != nil || err != nil {
		t.Errorf("no setting: %v, %v", keys, err)
	}

	write(a+"\n"+b[1:]+"\n", 0o600)
	wrong := map[string][]string{
		"element 2":     {a, b[1:]},
		"line 2":        {file},
		"1 to 8, not 9": {NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText(), NewKeyText()},
		"element 1":     {strings.Repeat("x", 5000)},
	}
	for part, elements := range wrong {
		_, _, err := Load(elements)
		if !errors.Is(err, ErrBadKeys) || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), b[1:10]) {
			t.Errorf("%s: %v", part, err)
		}
	}
	write("# none\n", 0o600)
	if _, _, err := Load([]string{file}); !errors.Is(err, ErrBadKeys) {
		t.Errorf("an empty file: %v", err)
	}
}

// FuzzOpen: whatever is read, it is an error or it was sealed.
func FuzzOpen(f *testing.F) {
	key := newKey(f)
	keys := keysOf(f, key)
	f.Add(key.Seal(kindA, []byte("x")))
	f.Add(sealStream(f, key, bytes.Repeat([]byte("x"), 100)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		made := bytes.Clone(data)
		if got, err := keys.Open(kindA, made); err == nil && !bytes.HasPrefix([]byte("x"), got) {
			t.Errorf("%x opens to %q", data, got)
		}
		if got, err := readAll(keys, made); err == nil && string(got) != strings.Repeat("x", 100) {
			t.Errorf("%x opens to %q", data, got)
		}
		// The same under a header that names the right key.
		copy(made, key.Seal(kindA, nil)[:headerSize])
		if got, err := keys.Open(kindA, made); err == nil {
			t.Errorf("%x opens to %q", made, got)
		}
		if back, err := keys.Open(kindB, key.Seal(kindB, data)); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%x does not come back: %v", data, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	key, plain := newKey(b), make([]byte, 1024)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		key.Seal(kindA, plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	key := newKey(b)
	keys, sealed := keysOf(b, key), key.Seal(kindA, make([]byte, 1024))
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Open(kindA, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	key, plain := newKey(b), make([]byte, 1<<20)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		w := key.NewWriter(io.Discard, kindA)
		if _, err := w.Write(plain); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

const (
	goldenEntry  = "f5534c430165017c3f6d7ac803e6b9161045a9a261ce8b0a10497ee60938b18ef39ab92a20d9f1561dd99b660fae71e662319728184e97fd33699a4ea5"
	goldenStream = "f5534c430173017c3f6d7ac80366c15c0f874a649085f1029e1cfc19ce89276d8e093e4a7a333da45cdf60ec1f0b84f2fc2ad05990e05a9b1a03005483"
)
