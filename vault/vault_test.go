package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	good := map[string]Reference{
		"{vault://env/NAME}":                     {Vault: "env", Name: "NAME"},
		"{vault://env/NAME/key}":                 {Vault: "env", Name: "NAME", Key: "key"},
		"{vault://my-env/a%2Fb/k%20y}":           {Vault: "my-env", Name: "a/b", Key: "k y"},
		"{vault://env/NAME?prefix=X_&ttl=5}":     {Vault: "env", Name: "NAME", Prefix: new("X_")},
		"{vault://env/NAME/key?prefix=}":         {Vault: "env", Name: "NAME", Key: "key", Prefix: new("")},
		"{vault://env/NAME?ttl=5&neg_ttl=1}":     {Vault: "env", Name: "NAME"},
		"{vault://file/tls.key}":                 {Vault: "file", Name: "tls.key"},
		"{vault://env/NAME/key?prefix=a%2Db&x=}": {Vault: "env", Name: "NAME", Key: "key", Prefix: new("a-b")},
	}
	for text, want := range good {
		got, err := Parse(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{
		"", "x", "{vault://}", "{vault://env}", "{vault://env/}", "{vault:///NAME}", "{vault://env/NAME/}", "{vault://env/a/b/c}",
		"{vault://env/NAME", "vault://env/NAME}", "{vault://env/NAME#1}", "{vault://env/N{A}ME}", "{vault://env/%zz}", "{vault://env/%ff}",
		"{vault://env/NAME?prefix=%zz}", "{vault://env/\xff}", "{vault://env/" + strings.Repeat("a", maxReference) + "}", "{VAULT://env/NAME}",
	} {
		if ref, err := Parse(text); !errors.Is(err, ErrReference) {
			t.Errorf("%q: %+v, %v", text, ref, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"{vault://env/NAME}", "{vault://env/N/k?prefix=x}", "{vault://a/%2e%2e}", "{vault://?", "{vault://env/a;b}", "}{"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := Parse(text)
		switch {
		case err != nil && !errors.Is(err, ErrReference):
			t.Errorf("%q: %v", text, err)
		case err == nil && (ref.Vault == "" || ref.Name == ""):
			t.Errorf("%q: %+v", text, ref)
		}
	})
}

// FuzzResolve: no reference makes Resolve panic or read what is not in the directory.
func FuzzResolve(f *testing.F) {
	dir := f.TempDir()
	inside, outside := filepath.Join(dir, "in"), filepath.Join(dir, "secret")
	if err := errors.Join(os.Mkdir(inside, 0o700), os.WriteFile(outside, []byte("no"), 0o600),
		os.WriteFile(filepath.Join(inside, "a"), []byte(`{"k":"yes"}`), 0o600)); err != nil {
		f.Fatal(err)
	}
	v := New(Config{Dir: inside, LookupEnv: func(string) (string, bool) { return "", false }})
	for _, name := range []string{"a", "a/k", "..%2fsecret", ".", "..", "%2e%2e%2fsecret", "a%00", `..\secret`, "a?prefix=../"} {
		f.Add("{vault://file/" + name + "}")
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := v.Resolve(text, func(string) (Entity, bool) { return Entity{}, false })
		if err == nil && value != `{"k":"yes"}` && value != "yes" {
			t.Errorf("%q is %q", text, value)
		}
	})
}

func TestResolve(t *testing.T) {
	const secret = "sEcReT"
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", secret+"\n")
	write("windows", secret+"\r\n")
	write("two-lines", "a\n\n")
	write("db-json", `{"password":"p","port":5432,"on":true,"deep":{}}`)
	write("large", strings.Repeat("x", maxValue+1))
	write(".hidden", secret)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.WriteFile(outside, []byte(secret), 0o600), os.Symlink(outside, filepath.Join(dir, "escape")),
		os.Symlink("plain", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "folder"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"MY_KEY": secret, "X_KEY": "x", "NODE_KEY": "node", "EMPTY": "", "NODE_JSON": `{"a":"b"}`, "NODE_LIST": `[1]`}
	lookup := func(name string) (string, bool) { value, ok := environ[name]; return value, ok }
	entities := map[string]Entity{"my-env": {Kind: kindEnv, Prefix: "x-"}, "bare": {Kind: kindEnv}, "db": {Kind: kindFile, Prefix: "db-"}, "odd": {Kind: "hcv"}}
	find := func(prefix string) (Entity, bool) { e, ok := entities[prefix]; return e, ok }
	v := New(Config{EnvPrefix: "node_", Dir: dir, LookupEnv: lookup})
	for _, tt := range []struct {
		text, want string
		err        error
	}{
		{"{vault://bare/my-key}", secret, nil},
		{"{vault://my-env/key}", "x", nil},
		{"{vault://env/key}", "node", nil},
		{"{vault://env/key?prefix=x_}", "x", nil},
		{"{vault://env/EMPTY?prefix=}", "", nil},
		{"{vault://env/json/a}", "b", nil},
		{"{vault://env/json/c}", "", ErrNoMember},
		{"{vault://env/list/0}", "", ErrNoMember},
		{"{vault://env/key/a}", "", ErrNoMember},
		{"{vault://env/nope}", "", ErrNoValue},
		{"{vault://file/plain}", secret, nil},
		{"{vault://file/windows}", secret, nil},
		{"{vault://file/two-lines}", "a\n", nil},
		{"{vault://file/link}", secret, nil},
		{"{vault://db/json/password}", "p", nil},
		{"{vault://db/json/port}", "5432", nil},
		{"{vault://db/json/on}", "true", nil},
		{"{vault://db/json/deep}", "", ErrNoMember},
		{"{vault://file/nope}", "", ErrNoValue},
		{"{vault://file/.hidden}", "", ErrNoValue},
		{"{vault://file/escape}", "", ErrNoValue},
		{"{vault://file/..%2Foutside}", "", ErrNoValue},
		{"{vault://file/folder}", "", ErrNoValue},
		{"{vault://file/pipe}", "", ErrNoValue},
		{"{vault://file/large}", "", ErrNoValue},
		{"{vault://nope/key}", "", ErrNoVault},
		{"{vault://odd/key}", "", ErrNoVault},
		{"{vault://env}", "", ErrReference},
	} {
		got, err := v.Resolve(tt.text, find)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.text, got, err, tt.want, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error has the value: %v", tt.text, err)
		}
	}
	for name, cfg := range map[string]Config{"no directory": {}, "a directory that is not there": {Dir: filepath.Join(dir, "nope")}} {
		if _, err := New(cfg).Resolve("{vault://file/plain}", find); !errors.Is(err, ErrNoVault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("SLUICE_TEST_VAULT", "v")
	if got, err := New(Config{}).Resolve("{vault://env/sluice-test-vault}", find); got != "v" || err != nil {
		t.Errorf("the process's environment: %q, %v", got, err)
	}
}
