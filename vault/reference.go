package vault

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Reference is a parsed reference.
type Reference struct {
	// Vault is the kind or the prefix of a vault, Name what it is asked for. Key
	// is a member of the JSON object there, "" for the value as it is.
	Vault, Name, Key string
	// Prefix takes the place of the vault's own; nil does not.
	Prefix *string
}

const (
	opening = "{vault://"
	closing = "}"
	// maxReference is longer than any name that a vault could have.
	maxReference = 4096
)

// Parse reads a reference. Name and key are percent-decoded. Kong's options
// behind "?" are read as far as they have a meaning here: prefix does, ttl and
// its kind do not. The error is ErrReference.
func Parse(text string) (Reference, error) {
	var ref Reference
	refuse := func(why string) (Reference, error) { return Reference{}, fmt.Errorf("%w: %s", ErrReference, why) }
	rest, opened := strings.CutPrefix(text, opening)
	rest, closed := strings.CutSuffix(rest, closing)
	switch {
	case !opened || !closed:
		return refuse("it is not {vault://...}")
	case len(text) > maxReference || !utf8.ValidString(text):
		return refuse("it is too long, or not UTF-8")
	case strings.ContainsAny(rest, "{}#\x00"):
		return refuse("it has characters that it cannot have")
	}
	path, options, _ := strings.Cut(rest, "?")
	parts := strings.Split(path, "/")
	if len(parts) != 2 && len(parts) != 3 {
		return refuse("it is not {vault://VAULT/NAME} or {vault://VAULT/NAME/KEY}")
	}
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil || decoded == "" || !utf8.ValidString(decoded) {
			return refuse("a part of it is empty, or badly escaped")
		}
		parts[i] = decoded
	}
	ref.Vault, ref.Name = parts[0], parts[1]
	if len(parts) == 3 {
		ref.Key = parts[2]
	}
	values, err := url.ParseQuery(options)
	if err != nil {
		return refuse("its options are badly escaped")
	}
	if given := values["prefix"]; len(given) > 0 {
		ref.Prefix = &given[0]
	}
	return ref, nil
}
