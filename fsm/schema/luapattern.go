package schema

import (
	"fmt"
	"regexp"
	"strings"
)

// luaClasses are Lua's letter classes in the C locale, as the inside of a bracket expression.
const (
	classAlpha  = `A-Za-z`
	classDigit  = `0-9`
	classSpace  = `\t-\r `
	classPunct  = `!-/:-@\[-` + "`" + `{-~`
	classCntrl  = `\x00-\x1f\x7f`
	classXdigit = `0-9A-Fa-f`
)

// compilePattern translates a Lua 5.1 pattern into a regular expression. Published schemas must show Lua
// patterns, so literals have them. %b, %f and captures do not occur in Kong's schemas and are refused.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	expr, err := translatePattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %w", ErrDefinition, pattern, err)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %w", ErrDefinition, pattern, err)
	}
	return re, nil
}

func translatePattern(pattern string) (string, error) {
	var out strings.Builder
	out.WriteString("(?s)") // Lua's dot matches every character
	rest := pattern
	if tail, ok := strings.CutPrefix(rest, "^"); ok {
		out.WriteString(`\A`)
		rest = tail
	}
	for rest != "" {
		if rest == "$" {
			out.WriteString(`\z`)
			break
		}
		item, n, err := translateItem(rest)
		if err != nil {
			return "", err
		}
		out.WriteString(item)
		rest = rest[n:]
		if rest == "" {
			break
		}
		if i := strings.IndexByte("*+-?", rest[0]); i >= 0 {
			out.WriteString([]string{"*", "+", "*?", "?"}[i])
			rest = rest[1:]
		}
	}
	return out.String(), nil
}

// translateItem translates the single-character class at the start of a pattern, and says how long it is.
func translateItem(pattern string) (item string, n int, err error) {
	switch pattern[0] {
	case '.':
		return ".", 1, nil
	case '%':
		if len(pattern) < 2 {
			return "", 0, fmt.Errorf("malformed: ends with %%")
		}
		class, negated, err := translateClass(pattern[1])
		if err != nil {
			return "", 0, err
		}
		if negated {
			return "[^" + class + "]", 2, nil
		}
		return "[" + class + "]", 2, nil
	case '[':
		return translateSet(pattern)
	case '(', ')':
		return "", 0, fmt.Errorf("captures are not supported")
	}
	return regexp.QuoteMeta(pattern[:1]), 1, nil
}

// translateSet translates a set such as [^%s*&].
func translateSet(pattern string) (item string, n int, err error) {
	var out strings.Builder
	out.WriteString("[")
	i := 1
	if i < len(pattern) && pattern[i] == '^' {
		out.WriteString("^")
		i++
	}
	for first := true; i < len(pattern); first = false {
		switch c := pattern[i]; {
		case c == ']' && !first:
			out.WriteString("]")
			return out.String(), i + 1, nil
		case c == '%' && i+1 < len(pattern):
			class, negated, err := translateClass(pattern[i+1])
			if err != nil {
				return "", 0, err
			}
			if negated {
				return "", 0, fmt.Errorf("a negated class within a set is not supported")
			}
			out.WriteString(class)
			i += 2
		case i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']':
			out.WriteString(quoteInSet(c) + "-" + quoteInSet(pattern[i+2]))
			i += 3
		default:
			out.WriteString(quoteInSet(c))
			i++
		}
	}
	return "", 0, fmt.Errorf("malformed: missing ]")
}

// translateClass translates what follows a %: a letter class, negated when upper case, or a character
// that stands for itself.
func translateClass(c byte) (class string, negated bool, err error) {
	switch c | 0x20 {
	case 'a':
		class = classAlpha
	case 'c':
		class = classCntrl
	case 'd':
		class = classDigit
	case 'l':
		class = `a-z`
	case 'p':
		class = classPunct
	case 's':
		class = classSpace
	case 'u':
		class = `A-Z`
	case 'w':
		class = classAlpha + classDigit
	case 'x':
		class = classXdigit
	}
	letter := 'a' <= c|0x20 && c|0x20 <= 'z'
	switch {
	case letter && class == "":
		return "", false, fmt.Errorf("%%%c is not supported", c)
	case letter:
		return class, c&0x20 == 0, nil
	case '0' <= c && c <= '9':
		return "", false, fmt.Errorf("%%%c is not supported", c)
	}
	return quoteInSet(c), false, nil
}

func quoteInSet(c byte) string {
	if strings.IndexByte(`\]^-[`, c) >= 0 {
		return `\` + string(c)
	}
	return string(rune(c))
}
