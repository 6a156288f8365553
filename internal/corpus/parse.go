package corpus

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ErrFormat is wrapped by every fault that Parse finds.
var ErrFormat = errors.New("corpus format")

var caseName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)

// Parse reads a file of class's cases; variants are cases of their own.
func Parse(class, text string) ([]Case, error) {
	var all []Case
	var b *block
	end := func() error {
		if b == nil {
			return nil
		}
		cases, err := b.cases(class)
		all = append(all, cases...)
		return err
	}
	for i, line := range strings.Split(text, "\n") {
		fault := func(err error) error { return fmt.Errorf("%w: %s.txt:%d: %w", ErrFormat, class, i+1, err) }
		switch {
		case strings.TrimSpace(line) == "" && line != "":
			return nil, fault(errors.New("white space alone"))
		case line == "" || line[0] == '#':
		case strings.TrimRight(line, " \t\r") != line:
			return nil, fault(errors.New("white space at the end: write \\x20"))
		case line[0] != ' ':
			if !caseName.MatchString(line) {
				return nil, fault(fmt.Errorf("no case's name: %q", line))
			}
			if err := end(); err != nil {
				return nil, fault(err)
			}
			b = &block{name: line}
		case b == nil:
			return nil, fault(errors.New("no case to belong to"))
		default:
			word, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
			if err := b.add(word, rest); err != nil {
				return nil, fault(err)
			}
		}
	}
	if err := end(); err != nil {
		return nil, fmt.Errorf("%w: %s.txt: %w", ErrFormat, class, err)
	}
	return all, nil
}

// block is a case before its variants are made.
type block struct {
	name, rfc       string
	why             []string
	raw, ask, later strings.Builder
	then            Ending
	early, many     bool
	sends           int
	variants        []Field
	expect          [][2]string // the lines of all expectations, word and rest
}

func (b *block) add(word, rest string) error {
	switch word {
	case "rfc":
		b.rfc = rest
	case "why":
		b.why = append(b.why, rest)
	case ">":
		b.raw.WriteString(rest + `\r\n`)
	case ".":
		b.raw.WriteString(rest)
	case "+":
		b.later.WriteString(rest)
	case "ask":
		b.ask.WriteString(rest)
	case "then":
		b.then = Ending(rest)
	case "sends":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 {
			return fmt.Errorf("sends %q", rest)
		}
		b.sends = n
	case "early":
		b.early = true
	case "many":
		b.many = true
	case "with":
		name, value, _ := strings.Cut(rest, " ")
		if !caseName.MatchString(name) {
			return fmt.Errorf("no variant's name: %q", name)
		}
		b.variants = append(b.variants, Field{name, value})
	default:
		b.expect = append(b.expect, [2]string{word, rest})
	}
	return nil
}

// cases gives the block as cases, one for each variant.
func (b *block) cases(class string) ([]Case, error) {
	variants := b.variants
	if len(variants) == 0 {
		variants = []Field{{}}
	}
	var all []Case
	for _, v := range variants {
		c := Case{
			Name: class + "/" + b.name, Class: class, RFC: b.rfc, Why: strings.Join(b.why, " "),
			Then: b.then, Sends: b.sends, Early: b.early, Many: b.many,
		}
		if v.Name != "" {
			c.Name += "/" + v.Name
		}
		if err := b.fill(&c, v.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func (b *block) fill(c *Case, variant string) error {
	switch c.Then {
	case "":
		c.Then = Keep
	case Keep, Close, Reset, Hold:
	default:
		return fmt.Errorf("then %q", c.Then)
	}
	if c.RFC == "" || c.Why == "" {
		return errors.New("rfc and why are missing")
	}
	for _, part := range []struct {
		to   *[]byte
		text string
	}{{&c.Raw, b.raw.String()}, {&c.Ask, b.ask.String()}, {&c.Later, b.later.String()}} {
		raw, err := unescape(strings.ReplaceAll(part.text, "{}", variant))
		if err != nil {
			return err
		}
		*part.to = raw
	}
	for _, line := range b.expect {
		if err := c.expectation(line[0], strings.ReplaceAll(line[1], "{}", variant)); err != nil {
			return err
		}
	}
	if len(c.Expect) == 0 {
		return errors.New("nothing is expected")
	}
	for _, e := range c.Expect {
		if e.Kind == Forward && len(e.Messages) == 0 {
			return errors.New("forward without a request")
		}
	}
	return nil
}

// expectation reads one line of an expectation.
func (c *Case) expectation(word, rest string) error {
	switch kind := Kind(word); kind {
	case Reject, Break, Answer, Gateway, Pass, Forward, Cut:
		e := Expectation{Kind: kind}
		for s := range strings.FieldsSeq(rest) {
			status, err := strconv.Atoi(s)
			if s != "close" && (err != nil || status < 100 || status > 999) {
				return fmt.Errorf("status %q", s)
			}
			e.Statuses = append(e.Statuses, status)
		}
		if (kind == Forward || kind == Cut) != (len(e.Statuses) == 0) {
			return fmt.Errorf("%s %q", word, rest)
		}
		if kind == Pass {
			e.Messages = []Want{{}}
		}
		c.Expect = append(c.Expect, e)
		return nil
	}
	if len(c.Expect) == 0 {
		return fmt.Errorf("%q says nothing here", word)
	}
	e := &c.Expect[len(c.Expect)-1]
	if word == "request" && e.Kind == Forward {
		method, targets, _ := strings.Cut(rest, " ")
		name, err := unescape(method)
		if err != nil {
			return err
		}
		w := Want{Method: string(name)}
		for t := range strings.SplitSeq(targets, " or ") {
			raw, err := unescape(t)
			if err != nil {
				return err
			}
			w.Targets = append(w.Targets, string(raw))
		}
		e.Messages = append(e.Messages, w)
		return nil
	}
	if len(e.Messages) == 0 {
		return fmt.Errorf("%q says nothing here", word)
	}
	if word == "fault" && e.Kind == Forward {
		e.Fault = true
		return nil
	}
	return e.Messages[len(e.Messages)-1].add(word, rest)
}

func (w *Want) add(word, rest string) error {
	switch word {
	case "framing":
		w.Framing = rest
		return nil
	case "lacks":
		w.Lacks = append(w.Lacks, rest)
		return nil
	case "trailer-lacks":
		w.TrailerLacks = append(w.TrailerLacks, rest)
		return nil
	}
	raw, err := unescape(rest)
	if err != nil {
		return err
	}
	switch word {
	case "body":
		w.Body = raw
	case "has":
		name, value, ok := strings.Cut(string(raw), ":")
		if !ok {
			return fmt.Errorf("has %q", rest)
		}
		w.Has = append(w.Has, Field{name, strings.TrimSpace(value)})
	default:
		return fmt.Errorf("no such word: %q", word)
	}
	return nil
}
