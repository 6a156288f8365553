package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// insert makes the entity of a POST or PUT. The input's top level is changed.
func (a *API) insert(v *fsm.View, c *collection, in map[string]any) (map[string]any, error) {
	if err := a.resolve(v, c, in); err != nil {
		return nil, err
	}
	if err := a.admit(c, in, nil); err != nil {
		return nil, err
	}
	entity, violation := c.schema.Insert(a.schemas, in)
	if violation != nil {
		return nil, violation
	}
	return entity, a.checkReferences(v, c, entity)
}

// update makes the entity of a PATCH. The patch's top level is changed.
func (a *API) update(v *fsm.View, c *collection, stored, patch map[string]any) (map[string]any, error) {
	if err := a.resolve(v, c, patch); err != nil {
		return nil, err
	}
	if err := a.admit(c, patch, stored); err != nil {
		return nil, err
	}
	entity, violation := c.schema.Update(a.schemas, stored, patch)
	if violation != nil {
		return nil, violation
	}
	return entity, a.checkReferences(v, c, entity)
}

// admit asks the kind's hook of that name, if it has one.
func (a *API) admit(c *collection, fields, stored map[string]any) error {
	if c.hooks.admit == nil {
		return nil
	}
	return c.hooks.admit(a, fields, stored)
}

// resolve replaces references by a unique field ({"name": "s"}) by references by id. Kong does so before it
// looks at anything else. What names nothing at all is left for the schema to reject.
func (a *API) resolve(v *fsm.View, c *collection, in map[string]any) error {
	unresolved := make(map[string]any)
	var problems []string
	for f := range c.schema.ForeignFields() {
		reference, ok := in[f.Name].(map[string]any)
		parent := a.byKind[f.Reference]
		if id, _ := reference["id"].(string); !ok || parent == nil || schema.IsUUID(id) {
			continue
		}
		id, failed := parent.resolve(v, reference)
		if id != "" {
			in[f.Name] = map[string]any{"id": id}
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(failed)) {
			problems = append(problems, fmt.Sprintf("%s.%s: %s", f.Name, name, failed[name]))
			unresolved[f.Name] = failed
		}
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return kongError(codeForeignsUnresolved, "foreign keys unresolved",
			fmt.Sprintf("foreign key unresolved (%s)", problems[0]), unresolved)
	}
	return kongError(codeForeignsUnresolved, "foreign keys unresolved",
		fmt.Sprintf("%d foreign keys unresolved (%s)", len(problems), strings.Join(problems, "; ")), unresolved)
}

// resolve finds the entity that a reference names by one of the kind's unique fields, or says for each such
// field that it names none.
func (c *collection) resolve(v *fsm.View, reference map[string]any) (id string, failed map[string]any) {
	failed = make(map[string]any)
	for i, set := range c.Unique {
		value, ok := reference[set[0]].(string)
		if len(set) != 1 || !ok || value == "" {
			continue
		}
		if e := v.LookupUnique(c.Kind, i, value); e != nil {
			return e.ID, nil
		}
		failed[set[0]] = fmt.Sprintf("the foreign key cannot be resolved with '{%s=\"%s\"}' for an existing '%s' entity",
			set[0], value, c.Kind)
	}
	return "", failed
}

// checkReferences makes the checks of a valid entity that need others. That the referenced entities exist
// is checked when the command is applied, except for kinds that this build does not have.
func (a *API) checkReferences(v *fsm.View, c *collection, entity map[string]any) error {
	if err := checkResolved(c.schema, entity); err != nil {
		return err
	}
	for f := range c.schema.ForeignFields() {
		reference, ok := entity[f.Name].(map[string]any)
		if ok && a.byKind[f.Reference] == nil {
			return kongError(fsm.CodeForeignKey, "foreign key violation",
				fmt.Sprintf("the foreign key '{id=\"%v\"}' does not reference an existing '%s' entity.", reference["id"], f.Reference),
				map[string]any{f.Name: reference})
		}
	}
	if c.hooks.check == nil {
		return nil
	}
	return c.hooks.check(a, v, entity)
}

// checkResolved rejects references that name nothing.
func checkResolved(s *schema.Schema, entity map[string]any) error {
	for f := range s.Unresolved(entity) {
		return schema.FieldViolation(f.Name+".id", "missing primary key")
	}
	return nil
}
