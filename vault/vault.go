// Package vault finds the values of references such as {vault://env/NAME}, which
// stand in a configuration for secrets that it shall not hold.
//
//	{vault://PREFIX/NAME}      the value of NAME
//	{vault://PREFIX/NAME/KEY}  the member KEY of the JSON object that NAME holds
//
// PREFIX is a kind of vault, or the prefix of a vaults entity, which names a kind
// and what all names begin with. The kinds are
//
//   - env: the node's environment. NAME is taken in upper case, with _ for -.
//   - file: files in one directory of the node, which its settings name. NAME is
//     a file's, not a path; a line's end at the end of the file is left out.
//
// Values are each node's own, and are read when a configuration is compiled. See
// DESIGN.md.
package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Errors of references, found with errors.Is. None of them quotes a value.
var (
	// ErrReference: the text is no reference.
	ErrReference = errors.New("not a vault reference")
	// ErrNoVault: there is no vault of that prefix on this node.
	ErrNoVault = errors.New("there is no such vault")
	// ErrNoValue: the vault has nothing of that name.
	ErrNoValue = errors.New("there is no such value")
	// ErrNoMember: the value is no JSON object, or has no such member of a type
	// that can be written as text.
	ErrNoMember = errors.New("there is no such member")
)

// maxValue bounds a value, in bytes.
const maxValue = 1 << 20

// Config is what a node's vaults are. The zero value has the environment alone.
type Config struct {
	// EnvPrefix is what all names in the vault env begin with (Kong's
	// vault_env_prefix); an entity's prefix takes its place.
	EnvPrefix string
	// Dir is the directory of the vault file; "" for no such vault.
	Dir string
	// LookupEnv gives a variable; nil is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
}

// Entity is what a vaults entity says.
type Entity struct {
	Kind string
	// Prefix is what all names begin with.
	Prefix string
}

// Vaults resolve references. Safe for concurrent use.
type Vaults struct{ cfg Config }

// New makes the vaults of a node. A directory that is not there is noticed by
// who asks for one of its values.
func New(cfg Config) *Vaults {
	if cfg.LookupEnv == nil {
		cfg.LookupEnv = os.LookupEnv
	}
	return &Vaults{cfg}
}

// Resolve gives the value of a reference. find gives the entity of a prefix; it
// counts before a kind of that name.
func (v *Vaults) Resolve(text string, find func(prefix string) (Entity, bool)) (string, error) {
	ref, err := Parse(text)
	if err != nil {
		return "", err
	}
	value, err := v.value(ref, find)
	if err == nil && ref.Key != "" {
		value, err = member(value, ref.Key)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", text, err)
	}
	return value, nil
}

func (v *Vaults) value(ref Reference, find func(prefix string) (Entity, bool)) (string, error) {
	entity, found := find(ref.Vault)
	if !found {
		entity = Entity{Kind: ref.Vault}
		if entity.Kind == kindEnv {
			entity.Prefix = v.cfg.EnvPrefix
		}
	}
	if ref.Prefix != nil {
		entity.Prefix = *ref.Prefix
	}
	name := entity.Prefix + ref.Name
	switch {
	case entity.Kind == kindEnv:
		value, ok := v.cfg.LookupEnv(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		if !ok {
			return "", ErrNoValue
		}
		return value, nil
	case entity.Kind == kindFile && v.cfg.Dir != "":
		return v.file(name)
	}
	return "", ErrNoVault
}

// file reads a file of the directory. Links may lead to what is in the directory
// as well, and no further: so Kubernetes mounts secrets.
func (v *Vaults) file(name string) (value string, err error) {
	if strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
		return "", ErrNoValue
	}
	root, err := os.OpenRoot(v.cfg.Dir)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoVault, err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", ErrNoValue
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrNoValue, err)
	case !info.Mode().IsRegular(): // a pipe would wait for its writer
		return "", fmt.Errorf("%w: it is not a file", ErrNoValue)
	}
	file, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoValue, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxValue+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrNoValue, err)
	case len(data) > maxValue:
		return "", fmt.Errorf("%w: it is larger than %d bytes", ErrNoValue, maxValue)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}

// member gives a member of a JSON object as text.
func member(value, key string) (string, error) {
	decoder := json.NewDecoder(strings.NewReader(value))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return "", fmt.Errorf("%w: the value is no JSON object", ErrNoMember)
	}
	switch found := object[key].(type) {
	case string:
		return found, nil
	case json.Number:
		return found.String(), nil
	case bool:
		return fmt.Sprint(found), nil
	}
	return "", ErrNoMember
}
