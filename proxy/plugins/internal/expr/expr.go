// Package expr evaluates the expressions that Kong's users write in Lua where a
// plugin's config takes a template or a piece of code, as far as they look things
// up. There is no Lua: what is not in the grammar is refused when the plugin is
// configured.
//
//	expression = and { "or" and }
//	and        = equality { "and" equality }
//	equality   = concat [ ( "==" | "~=" ) concat ]
//	concat     = unary { ".." unary }
//	unary      = "not" unary | postfix
//	postfix    = ( literal | name | "(" expression ")" ) { access }
//	access     = "." word | "[" literal "]" | "(" [ expression { "," expression } ] ")" | ":" word "(" ")"
//	literal    = "nil" | "true" | "false" | number | string
//
// Values are nil, booleans, numbers and strings, and mean what they do in Lua. The
// functions are tostring, string.lower and string.upper, and the methods :lower()
// and :upper(); all other names are the caller's (Scope). What would be an error
// in Lua while a request is served (a nil that is joined or made upper case) is an
// empty text.
package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Value is what an expression gives. The zero value is nil.
type Value struct {
	kind   kind
	text   string
	number float64
}

type kind uint8

const (
	isNil kind = iota
	isFalse
	isTrue
	isNumber
	isText
)

// Text is a string.
func Text(s string) Value { return Value{kind: isText, text: s} }

// Number is a number.
func Number(n float64) Value { return Value{kind: isNumber, number: n} }

// Bool is true or false.
func Bool(b bool) Value {
	if b {
		return Value{kind: isTrue}
	}
	return Value{kind: isFalse}
}

// TextOr is a string if there is one, or nil.
func TextOr(s string, ok bool) Value {
	if !ok {
		return Value{}
	}
	return Text(s)
}

// IsNil says whether it is nil.
func (v Value) IsNil() bool { return v.kind == isNil }

// truth is what conditions make of it.
func (v Value) truth() bool { return v.kind > isFalse }

// String is how a template shows it: as Lua's tostring does, and nil as nothing.
func (v Value) String() string {
	switch v.kind {
	case isFalse:
		return "false"
	case isTrue:
		return "true"
	case isNumber:
		return strconv.FormatFloat(v.number, 'g', 14, 64)
	}
	return v.text
}

// Any gives it as nil, a bool, a float64 or a string.
func (v Value) Any() any {
	switch v.kind {
	case isFalse, isTrue:
		return v.kind == isTrue
	case isNumber:
		return v.number
	case isText:
		return v.text
	}
	return nil
}

// Name is a name of the caller's, as it is written: words joined by dots, and "()"
// after what is called. headers["x-a"] is the path "headers.x-a".
type Name struct {
	// Words are the parts of the path; a call is the word "()".
	Words []string
	// Args are the constant arguments of the last call.
	Args []string
}

// Path is the words as one text.
func (n Name) Path() string {
	return strings.ReplaceAll(strings.Join(n.Words, "."), ".()", "()")
}

// Scope gives what a name means. It is asked when an expression is compiled; the
// error is for who wrote it.
type Scope[C any] func(Name) (func(C) Value, error)

// Expr is a compiled expression. Safe for concurrent use.
type Expr[C any] struct {
	eval     func(C) Value
	constant bool
}

// Eval gives its value.
func (e *Expr[C]) Eval(c C) Value { return e.eval(c) }

// Compile compiles an expression. An error says what is wrong with it.
func Compile[C any](source string, scope Scope[C]) (*Expr[C], error) {
	p := &parser[C]{source: source, scope: scope}
	p.next()
	e := p.expression()
	if p.err == nil && p.token.kind != tokenEnd {
		p.fail("unexpected %s", p.token)
	}
	if p.err != nil {
		return nil, p.err
	}
	return &e, nil
}

// CompileReturn compiles code that only returns an expression.
func CompileReturn[C any](source string, scope Scope[C]) (*Expr[C], error) {
	text := strings.TrimSpace(source)
	text = strings.TrimSpace(strings.TrimSuffix(text, ";"))
	rest, ok := strings.CutPrefix(text, "return")
	if !ok || rest != "" && isWordByte(rest[0]) {
		return nil, fmt.Errorf("only code that returns an expression can be evaluated: return ... (there is no Lua)")
	}
	if rest == "" {
		rest = "nil"
	}
	return Compile(rest, scope)
}

// maxDepth bounds how deep parentheses and the like nest.
const maxDepth = 100

type parser[C any] struct {
	source string
	at     int
	token  token
	depth  int
	err    error
	scope  Scope[C]
}

func (p *parser[C]) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.token, p.at = token{kind: tokenEnd}, len(p.source)
}

// enter is called by what may nest; false ends it.
func (p *parser[C]) enter() bool {
	if p.depth++; p.depth > maxDepth {
		p.fail("nested too deep")
		return false
	}
	return true
}

func (p *parser[C]) take(text string) bool {
	if (p.token.kind == tokenSign || p.token.kind == tokenWord) && p.token.text == text {
		p.next()
		return true
	}
	return false
}

func (p *parser[C]) want(text string) {
	if !p.take(text) {
		p.fail("expected %q instead of %s", text, p.token)
	}
}

func constant[C any](v Value) Expr[C] {
	return Expr[C]{func(C) Value { return v }, true}
}

// expression compiles the operators, of which "or" binds least.
func (p *parser[C]) expression() Expr[C] {
	if !p.enter() {
		return Expr[C]{}
	}
	defer func() { p.depth-- }()
	left := p.conjunction()
	for p.take("or") {
		left = both(left, p.conjunction(), func(a Value, b func() Value) Value {
			if a.truth() {
				return a
			}
			return b()
		})
	}
	return left
}

func (p *parser[C]) conjunction() Expr[C] {
	left := p.equality()
	for p.take("and") {
		left = both(left, p.equality(), func(a Value, b func() Value) Value {
			if !a.truth() {
				return a
			}
			return b()
		})
	}
	return left
}

func (p *parser[C]) equality() Expr[C] {
	left := p.concat()
	switch {
	case p.take("=="):
		return both(left, p.concat(), func(a Value, b func() Value) Value { return Bool(a == b()) })
	case p.take("~="):
		return both(left, p.concat(), func(a Value, b func() Value) Value { return Bool(a != b()) })
	}
	return left
}

func (p *parser[C]) concat() Expr[C] {
	left := p.unary()
	for p.take("..") {
		left = both(left, p.unary(), func(a Value, b func() Value) Value { return Text(a.String() + b().String()) })
	}
	return left
}

func (p *parser[C]) unary() Expr[C] {
	if !p.take("not") {
		return p.postfix()
	}
	if !p.enter() {
		return Expr[C]{}
	}
	defer func() { p.depth-- }()
	return one(p.unary(), func(v Value) Value { return Bool(!v.truth()) })
}

// both joins two expressions; the second is evaluated when it is needed.
func both[C any](a, b Expr[C], join func(Value, func() Value) Value) Expr[C] {
	return Expr[C]{func(c C) Value { return join(a.eval(c), func() Value { return b.eval(c) }) }, a.constant && b.constant}
}

func one[C any](a Expr[C], f func(Value) Value) Expr[C] {
	return Expr[C]{func(c C) Value { return f(a.eval(c)) }, a.constant}
}

// postfix compiles a value, a name with what follows it, or parentheses; and the
// methods that are called on it.
func (p *parser[C]) postfix() Expr[C] {
	e := p.primary()
	for p.take(":") {
		method := p.token
		p.next()
		p.want("(")
		p.want(")")
		f := functions["string."+method.text]
		if p.err == nil && (method.kind != tokenWord || f == nil) {
			p.fail("method %s is not supported", method)
		}
		e = one(e, f)
	}
	return e
}

func (p *parser[C]) primary() Expr[C] {
	t := p.token
	switch {
	case t.kind == tokenText:
		p.next()
		return constant[C](Text(t.text))
	case t.kind == tokenNumber:
		p.next()
		return constant[C](Number(t.number))
	case p.take("nil"):
		return constant[C](Value{})
	case p.take("true"):
		return constant[C](Bool(true))
	case p.take("false"):
		return constant[C](Bool(false))
	case p.take("("):
		e := p.expression()
		p.want(")")
		return e
	case t.kind == tokenWord && !slices.Contains(keywords, t.text):
		return p.name()
	}
	p.fail("unexpected %s", t)
	return Expr[C]{}
}

// keywords are Lua's that have no meaning here, or none where a value stands.
var keywords = []string{
	"and", "break", "do", "else", "elseif", "end", "for", "function", "goto", "if", "in", "local", "not", "or", "repeat",
	"return", "then", "until", "while",
}

// functions are those that are not the caller's, each of one argument.
var functions = map[string]func(Value) Value{
	"tostring": func(v Value) Value {
		if v.IsNil() {
			return Text("nil")
		}
		return Text(v.String())
	},
	"string.lower": func(v Value) Value { return Text(strings.ToLower(v.String())) },
	"string.upper": func(v Value) Value { return Text(strings.ToUpper(v.String())) },
}

// name compiles a path of constant words, and a call of it.
func (p *parser[C]) name() Expr[C] {
	n := Name{Words: []string{p.token.text}}
	p.next()
	for {
		switch {
		case p.take("."):
			if p.token.kind != tokenWord {
				p.fail("expected a name instead of %s", p.token)
			}
			n.Words = append(n.Words, p.token.text)
			p.next()
		case p.take("["):
			n.Words = append(n.Words, p.key())
			p.want("]")
		case p.take("("):
			args := p.args()
			if f := functions[n.Path()]; f != nil {
				if p.err == nil && len(args) != 1 {
					p.fail("%s has one argument", n.Path())
				}
				if p.err != nil {
					return Expr[C]{}
				}
				return one(args[0], f)
			}
			p.call(&n, args)
		default:
			return p.lookup(n)
		}
		if p.err != nil {
			return Expr[C]{}
		}
	}
}

// key reads a constant in brackets.
func (p *parser[C]) key() string {
	t := p.token
	switch t.kind {
	case tokenText:
		p.next()
		return t.text
	case tokenNumber:
		p.next()
		return Number(t.number).String()
	}
	p.fail("only a constant can stand in brackets, not %s", t)
	return ""
}

func (p *parser[C]) args() []Expr[C] {
	var args []Expr[C]
	if p.take(")") {
		return nil
	}
	for p.err == nil {
		args = append(args, p.expression())
		if p.take(")") {
			break
		}
		p.want(",")
	}
	return args
}

// call adds a call to a name. Its arguments have to be constants.
func (p *parser[C]) call(n *Name, args []Expr[C]) {
	if p.err != nil {
		return
	}
	n.Words, n.Args = append(n.Words, "()"), nil
	var none C
	for _, a := range args {
		if !a.constant {
			p.fail("the arguments of %s must be constants", n.Path())
			return
		}
		n.Args = append(n.Args, a.eval(none).String())
	}
}

func (p *parser[C]) lookup(n Name) Expr[C] {
	if p.err != nil {
		return Expr[C]{}
	}
	f, err := p.scope(n)
	if err != nil {
		p.fail("%w", err)
		return Expr[C]{}
	}
	return Expr[C]{f, false}
}
