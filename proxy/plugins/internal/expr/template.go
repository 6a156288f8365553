package expr

import (
	"fmt"
	"strings"
)

// Template is a text with expressions in it, each as $(expression). Safe for
// concurrent use.
type Template[C any] struct {
	parts []part[C]
}

// part is a literal text, or an expression.
type part[C any] struct {
	text string
	expr *Expr[C]
}

// CompileTemplate compiles a text. An error says what is wrong with it.
func CompileTemplate[C any](text string, scope Scope[C]) (*Template[C], error) {
	t := &Template[C]{}
	for rest := text; rest != ""; {
		at := strings.Index(rest, "$(")
		if at < 0 {
			t.parts = append(t.parts, part[C]{text: rest})
			break
		}
		if at > 0 {
			t.parts = append(t.parts, part[C]{text: rest[:at]})
		}
		source := rest[at+len("$("):]
		end := closing(source)
		if end < 0 {
			return nil, fmt.Errorf("invalid template %q: $( is not closed", text)
		}
		e, err := Compile(source[:end], scope)
		if err != nil {
			return nil, fmt.Errorf("invalid template %q: %w", text, err)
		}
		t.parts = append(t.parts, part[C]{expr: e})
		rest = source[end+1:]
	}
	return t, nil
}

// closing finds the parenthesis that closes one before the text, or -1.
// Parentheses within strings do not count.
func closing(source string) int {
	depth := 1
	for i := 0; i < len(source); i++ {
		switch c := source[i]; c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		case '"', '\'':
			for i++; i < len(source) && source[i] != c; i++ {
				if source[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}

// Constant gives the text of a template without expressions.
func (t *Template[C]) Constant() (text string, ok bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].expr == nil:
		return t.parts[0].text, true
	}
	return "", false
}

// Append appends the text for a request. escape, if not nil, appends the values of
// expressions in its own way, knowing what comes before.
func (t *Template[C]) Append(b []byte, c C, escape func(b []byte, value string) []byte) []byte {
	for i := range t.parts {
		switch p := &t.parts[i]; {
		case p.expr == nil:
			b = append(b, p.text...)
		case escape == nil:
			b = append(b, p.expr.Eval(c).String()...)
		default:
			b = escape(b, p.expr.Eval(c).String())
		}
	}
	return b
}

// Render gives the text for a request.
func (t *Template[C]) Render(c C) string {
	if text, ok := t.Constant(); ok {
		return text
	}
	if len(t.parts) == 1 {
		return t.parts[0].expr.Eval(c).String()
	}
	return string(t.Append(nil, c, nil))
}
