package schema

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

var (
	pathChars   = regexp.MustCompile(`^/[A-Za-z0-9.\-_~/%:@!$&'()*+,;=]*$`)
	badEscape   = regexp.MustCompile(`(?s)%.{0,2}`) // once the good ones are gone
	pathEscapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
)

// errPathChars is the part of ValidPath that paths of routes are spared.
var errPathChars = errors.New("(characters outside of the reserved list of RFC 3986 found)")

// ValidPath accepts an absolute path of unreserved, reserved and properly percent-encoded characters
// (RFC 3986 section 2).
func ValidPath(path string) error {
	if !pathChars.MatchString(path) {
		return fmt.Errorf("invalid path: '%s' %w", path, errPathChars)
	}
	if escape := badEscape.FindString(pathEscapes.ReplaceAllString(path, "___")); escape != "" {
		return fmt.Errorf("invalid url-encoded value: '%s'", escape)
	}
	return nil
}

// ValidRouterPath accepts a path of a route: ~ and a regular expression (RE2), or a literal prefix in its
// normal form.
func ValidRouterPath(path string) error {
	if err := ValidPath(path); err != nil && !errors.Is(err, errPathChars) {
		return err
	}
	if expr, ok := strings.CutPrefix(path, "~"); ok {
		return validRegexPath(expr)
	}
	if normal := NormalizePath(path); path != normal {
		return fmt.Errorf("non-normalized path, consider use '%s' instead", normal)
	}
	return nil
}

// validRegexPath has the words of Kong, which compiles with PCRE, around the reason that Go gives.
func validRegexPath(expr string) error {
	_, err := regexp.Compile(expr)
	if err == nil {
		return nil
	}
	reason := err.Error()
	if parse, ok := errors.AsType[*syntax.Error](err); ok {
		switch parse.Code {
		case syntax.ErrMissingParen:
			reason = "missing )"
		case syntax.ErrUnexpectedParen:
			reason = "unmatched parentheses"
		case syntax.ErrMissingBracket:
			reason = "missing terminating ] for character class"
		case syntax.ErrMissingRepeatArgument:
			reason = "nothing to repeat"
		case syntax.ErrTrailingBackslash:
			reason = `\ at end of pattern`
		default:
			reason = parse.Code.String()
		}
	}
	return fmt.Errorf(`invalid regex: '%s' (PCRE returned: pcre_compile() failed: %s in "%s")`, expr, reason, expr)
}

// NormalizePath returns the normal form of a path (RFC 3986 section 6.2.2) as Kong makes it: escapes of
// reserved characters in upper case, other escapes decoded, dot segments removed, slashes merged.
func NormalizePath(path string) string {
	path = pathEscapes.ReplaceAllStringFunc(path, func(escape string) string {
		c := unhex(escape[1])<<4 | unhex(escape[2])
		if strings.IndexByte("!*'();:@&=+$,/?%#[]", c) >= 0 {
			return strings.ToUpper(escape)
		}
		return string([]byte{c})
	})
	if !strings.Contains(path, ".") && !strings.Contains(path, "//") {
		return path
	}
	return removeDots(path)
}

// removeDots merges slashes and removes dot segments (RFC 3986 section 5.2.4).
func removeDots(path string) string {
	segments := strings.Split(path, "/")
	var kept []string
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case "":
			if i > 0 && !last {
				continue // a repeated slash
			}
		case ".":
			if !last {
				continue
			}
			segment = ""
		case "..":
			if len(kept) > 1 {
				kept = kept[:len(kept)-1]
			}
			if !last {
				continue
			}
			segment = ""
		}
		kept = append(kept, segment)
	}
	return strings.Join(kept, "/")
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
