package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// node is a compiled Field.
type node struct {
	*Field
	fallback               any    // the canonical default
	rules                  []rule // constraints, in the order Kong tries them
	elements, keys, values *node
	record                 *record
}

// record is a compiled list of fields: a schema's own, or those of a field of type Record.
type record struct {
	fields     []*node
	index      map[string]*node
	shorthands []*node
	checks     []*check
}

// check is a compiled Check.
type check struct {
	Check
	nodes                       []*node // of the fields the check reads, where they are described
	paths                       []string
	ifNode, thenNode, otherwise *node
}

func compileRecord(fields, shorthands []Field, checks []Check) (*record, error) {
	r := &record{index: make(map[string]*node, len(fields))}
	for i := range fields {
		n, err := compileField(&fields[i])
		if err != nil {
			return nil, err
		}
		if r.index[n.Name] != nil || n.Name == "" {
			return nil, fmt.Errorf("%w: %q: the field has no name, or another's", ErrDefinition, n.Name)
		}
		r.fields = append(r.fields, n)
		r.index[n.Name] = n
	}
	for i := range shorthands {
		n, err := compileField(&shorthands[i])
		if err != nil {
			return nil, err
		}
		if n.Expand == nil && (n.Deprecation == nil || len(n.Deprecation.ReplacedWith) != 1) {
			return nil, fmt.Errorf("%w: %s: the shorthand does not say what it stands for", ErrDefinition, n.Name)
		}
		r.shorthands = append(r.shorthands, n)
	}
	for i := range checks {
		c, err := r.compileCheck(checks[i])
		if err != nil {
			return nil, err
		}
		r.checks = append(r.checks, c)
	}
	return r, nil
}

func compileField(f *Field) (*node, error) {
	n := &node{Field: f}
	if err := n.compileParts(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	rules, err := compileRules(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	n.rules = rules
	if f.Default != nil {
		n.fallback = complete(n, canonical(n, f.Default), nil)
		var v validator
		if problem := v.value(n, n.fallback); problem != nil {
			return nil, fmt.Errorf("%s: %w: the default breaks its own constraints: %v", f.Name, ErrDefinition, problem)
		}
	}
	return n, nil
}

// compileParts compiles the fields within a field.
func (n *node) compileParts() (err error) {
	switch n.Type {
	case Array, Set:
		n.elements, err = compileElement(n.Elements)
	case Map:
		if n.keys, err = compileElement(n.Keys); err == nil {
			n.values, err = compileElement(n.Values)
		}
	case Record:
		n.record, err = compileRecord(n.Fields, n.Shorthands, n.Checks)
	case Foreign:
		if n.Reference == "" {
			err = fmt.Errorf("%w: no reference", ErrDefinition)
		}
	case String, Number, Integer, Boolean, JSON:
	default:
		err = fmt.Errorf("%w: invalid type: %q", ErrDefinition, n.Type)
	}
	return err
}

// compileElement compiles elements, keys or values, which are required whatever the literal says.
func compileElement(f *Field) (*node, error) {
	if f == nil {
		return nil, fmt.Errorf("%w: no description of the parts", ErrDefinition)
	}
	required := *f
	required.Required = true
	return compileField(&required)
}

func (r *record) compileCheck(c Check) (*check, error) {
	members := 0
	for _, member := range reflect.ValueOf(c).Fields() {
		if !member.IsZero() {
			members++
		}
	}
	if members != 1 {
		return nil, fmt.Errorf("%w: a check with %d members, not one", ErrDefinition, members)
	}
	compiled := &check{Check: c, paths: c.sources()}
	for _, path := range compiled.paths {
		compiled.nodes = append(compiled.nodes, r.lookup(path))
	}
	match := func(path string, f *Field) (*node, error) {
		target := r.lookup(path)
		if target == nil {
			return nil, fmt.Errorf("%w: check on an unknown field %s", ErrDefinition, path)
		}
		return compileField(narrow(target.Field, f))
	}
	var err error
	if d := c.Conditional; d != nil {
		if compiled.ifNode, err = match(d.IfField, &d.IfMatch); err != nil {
			return nil, err
		}
		compiled.thenNode, err = match(d.ThenField, &d.ThenMatch)
		return compiled, err
	}
	if d := c.ConditionalAtLeastOneOf; d != nil {
		if compiled.ifNode, err = match(d.IfField, &d.IfMatch); err != nil || d.ElseMatch == nil {
			return compiled, err
		}
		compiled.otherwise, err = match(d.IfField, d.ElseMatch)
		return compiled, err
	}
	if c.Custom != nil && c.Custom.published() {
		return compiled, nil
	}
	if slices.Contains(compiled.nodes, nil) {
		return nil, fmt.Errorf("%w: check on an unknown field, one of %v", ErrDefinition, compiled.paths)
	}
	return compiled, nil
}

// lookup finds a field by its dotted path.
func (r *record) lookup(path string) *node {
	head, rest, nested := strings.Cut(path, ".")
	n := r.index[head]
	if !nested || n == nil {
		return n
	}
	if n.record == nil {
		return nil
	}
	return n.record.lookup(rest)
}

// narrow returns base with every attribute that match sets: what a conditional tests is the field as
// described, with further constraints.
func narrow(base, match *Field) *Field {
	merged := *base
	merged.Default, merged.HasNullDefault = nil, false
	to, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(match).Elem()
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return &merged
}
