package router

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// entry is a route, or one part of a route whose paths differ in kind or
// length, compiled.
type entry struct {
	route    *Route
	methods  []string
	snis     []namePattern
	headers  []headerPattern
	hosts    []namePattern
	paths    []pathPattern // all literal and of one length, or all regular expressions
	priority priority
}

// compare is negative if e goes before f.
func (e *entry) compare(f *entry) int {
	if c := e.priority.compare(&f.priority); c != 0 {
		return c
	}
	return strings.Compare(e.route.ID, f.route.ID)
}

// pathPattern is one path of a route.
type pathPattern struct {
	source  string         // as configured
	literal string         // what a matching path begins with, in normalised form
	regex   *regexp.Regexp // nil for a literal prefix
}

// headerPattern is one header field and the values of which it needs one.
type headerPattern struct {
	name   string
	values []headerValue
}

type headerValue struct {
	text  string
	regex *regexp.Regexp // nil to compare with text
}

func isRegex(path string) bool { return strings.HasPrefix(path, "~") }

// compileRoute returns one entry for each group of paths, or just one.
func compileRoute(route *Route) ([]*entry, error) {
	base := entry{route: route, methods: route.Methods}
	var err error
	if base.hosts, err = compileAll(route.Hosts, newHostPattern); err != nil {
		return nil, err
	}
	if base.snis, err = compileAll(route.SNIs, newSNIPattern); err != nil {
		return nil, err
	}
	if base.headers, err = compileHeaders(route.Headers); err != nil {
		return nil, err
	}
	groups := groupPaths(route.Paths)
	if len(groups) == 0 {
		base.priority = newPriority(route, nil)
		if base.priority.fields == 0 {
			return nil, ErrNoField
		}
		only := base // base itself stays on the stack
		return []*entry{&only}, nil
	}
	entries := make([]*entry, 0, len(groups))
	for _, paths := range groups {
		part := base
		e := &part
		e.priority = newPriority(route, paths)
		if e.paths, err = compileAll(paths, newPathPattern); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func compileAll[P any](values []string, compile func(string) (P, error)) ([]P, error) {
	if len(values) == 0 {
		return nil, nil
	}
	patterns := make([]P, 0, len(values))
	for _, v := range values {
		p, err := compile(v)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// groupPaths puts all regular expressions into one group and the literal paths
// of each length into another, without changing the order within a group.
func groupPaths(paths []string) [][]string {
	var groups [][]string
	index := make(map[int]int) // length, or -1 for regular expressions
	for _, path := range paths {
		key := len(path)
		if isRegex(path) {
			key = -1
		}
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], path)
	}
	return groups
}

func newPathPattern(path string) (pathPattern, error) {
	if isRegex(path) {
		return newRegexPath(path)
	}
	if !strings.HasPrefix(path, "/") {
		return pathPattern{}, fmt.Errorf("%w: %q does not start with / or ~", ErrPath, path)
	}
	if i := malformedEscape(path); i >= 0 {
		return pathPattern{}, fmt.Errorf("%w: %q has a percent sign without two hexadecimal digits at offset %d", ErrPath, path, i)
	}
	return pathPattern{source: path, literal: escape(path)}, nil
}

func newRegexPath(path string) (pathPattern, error) {
	// Compiled on its own first: within the group below, an expression such as
	// "a)|(b" would pass.
	free, err := regexp.Compile(path[1:])
	if err != nil {
		return pathPattern{}, fmt.Errorf("%w: path %q: %w", ErrRegex, path, err)
	}
	anchored, err := regexp.Compile(`\A(?:` + path[1:] + `)`)
	if err != nil {
		return pathPattern{}, fmt.Errorf("%w: path %q: %w", ErrRegex, path, err)
	}
	literal, _ := free.LiteralPrefix()
	return pathPattern{source: path, literal: escape(literal), regex: anchored}, nil
}

// compileHeaders sorts by name, so that every node checks in the same order.
func compileHeaders(headers map[string][]string) ([]headerPattern, error) {
	var patterns []headerPattern
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if name == "" || len(headers[name]) == 0 {
			return nil, fmt.Errorf("%w: %q has no name or no values", ErrHeader, name)
		}
		values, err := compileAll(headers[name], newHeaderValue)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", name, err)
		}
		patterns = append(patterns, headerPattern{name: name, values: values})
	}
	return patterns, nil
}

func newHeaderValue(value string) (headerValue, error) {
	source, ok := strings.CutPrefix(value, "~*")
	if !ok {
		return headerValue{text: value}, nil
	}
	regex, err := regexp.Compile("(?i)" + source)
	if err != nil {
		return headerValue{}, fmt.Errorf("%w: %q: %w", ErrRegex, value, err)
	}
	return headerValue{text: value, regex: regex}, nil
}
