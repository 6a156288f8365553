package schema

import (
	"maps"
	"time"
)

// Insert returns the entity that a POST or a PUT of in creates: shorthands expanded, defaults and auto
// fields filled in, every field of the schema present, null where unset. The input is decoded JSON or the
// result of FromForm and is not changed. Foreign fields that name their parent by something else than an
// id are left for the caller to resolve, see Unresolved.
//
// created_at is kept when given, updated_at never is. The violation is nil if and only if the entity is
// valid; it is a *Violation rather than an error so that it cannot be mistaken for another failure.
func (s *Schema) Insert(c Context, in map[string]any) (map[string]any, *Violation) {
	s, violation := s.pick(in)
	if violation != nil {
		return nil, violation
	}
	entity := s.Normalize(in)
	ttl, violation := s.takeTTL(entity)
	if violation != nil {
		return nil, violation
	}
	root := s.compiled()
	if errs := expand(root, entity); errs != nil {
		return nil, &Violation{Fields: errs}
	}
	s.imply(entity)
	s.generate(c, entity)
	fill(root, entity, c.NewSecret)
	return s.finish(Written{Context: c, Entity: entity}, ttl, validator{now: c.Now})
}

// Update returns the entity that a PATCH of stored makes. Records merge recursively, everything else is
// replaced; null resets a field to null, not to its default. The id stays, whatever the patch says, and
// updated_at is set to now. The checks run on the merged entity, with the messages that Kong words
// differently for an update. Neither argument is changed.
func (s *Schema) Update(c Context, stored, patch map[string]any) (map[string]any, *Violation) {
	before := s.For(stored)
	merged := before.Normalize(stored)
	hide(before.compiled(), merged)
	unchanged := maps.Clone(merged)

	// the subschema depends on the merged value of its key, and decides how the patch is read
	choice := maps.Clone(merged)
	if value, ok := patch[s.SubschemaKey]; ok {
		choice[s.SubschemaKey] = plain(value)
	}
	s, violation := s.pick(choice)
	if violation != nil {
		return nil, violation
	}
	changes := s.Normalize(patch)
	if id, ok := merged["id"]; ok {
		changes["id"] = id
	}
	if _, given := changes["ttl"]; !given && s.TTL {
		changes["ttl"] = merged["ttl"]
	}
	delete(merged, "ttl")
	ttl, violation := s.takeTTL(changes)
	if violation != nil {
		return nil, violation
	}
	root := s.compiled()
	if errs := expand(root, changes); errs != nil {
		return nil, &Violation{Fields: errs}
	}
	s.imply(changes)
	merge(root, merged, changes)
	s.touch(c, merged, "updated_at")
	fill(root, merged, nil)
	written := Written{Context: c, Entity: merged, Before: unchanged, in: changes}
	return s.finish(written, ttl, validator{updating: true, now: c.Now})
}

func (s *Schema) imply(in map[string]any) {
	if s.Imply != nil {
		s.Imply(in)
	}
}

// finish validates a complete entity and gives it the form of an output.
func (s *Schema) finish(w Written, ttl any, v validator) (map[string]any, *Violation) {
	root, entity := s.compiled(), w.Entity
	if errs := v.record(root, entity); errs != nil {
		return nil, &Violation{Fields: errs}
	}
	if s.Complete != nil {
		s.Complete(entity)
	}
	if s.Seal != nil && !w.Sealed {
		if err := s.Seal(w); err != nil {
			return nil, EntityViolation(err.Error())
		}
	}
	show(root, entity)
	if s.TTL {
		entity["ttl"] = ttl
	}
	return entity, nil
}

// generate fills in the id and the times of a new entity; keys and secrets are left to fill. An id may not be
// null; a key or a secret may.
func (s *Schema) generate(c Context, entity map[string]any) {
	for _, n := range s.compiled().fields {
		value := entity[n.Name]
		switch {
		case !n.Auto:
		case n.UUID:
			if value == nil {
				entity[n.Name] = c.NewID()
			}
		case n.Name == "updated_at" || n.Name == "created_at" && value == nil:
			s.touch(c, entity, n.Name)
		}
	}
}

// touch sets an automatic timestamp to now.
func (s *Schema) touch(c Context, entity map[string]any, name string) {
	n := s.compiled().index[name]
	switch {
	case n == nil || !n.Auto:
	case n.Type == Integer:
		entity[name] = c.Now().Unix()
	case n.Type == Number:
		entity[name] = float64(c.Now().UnixMilli()) / float64(time.Second/time.Millisecond)
	}
}

// fill gives every absent field its default, or null. A required field without either stays absent, which
// validation then reports. Where newSecret is given, the entity is new, and absent auto strings (keys and
// secrets, also those of a plugin's config) are drawn.
func fill(r *record, m map[string]any, newSecret func() string) {
	for _, n := range r.fields {
		value, given := m[n.Name]
		switch {
		case given:
			m[n.Name] = complete(n, value, newSecret)
		case newSecret != nil && n.drawn():
			m[n.Name] = newSecret()
		case n.fallback != nil:
			m[n.Name] = canonical(n, n.fallback) // a copy: defaults are shared
		case !n.Required:
			m[n.Name] = nil
		case n.Type == Record && n.record != nil && !n.Abstract:
			m[n.Name] = complete(n, map[string]any{}, newSecret)
		}
	}
}

// drawn says that an absent value is a new secret.
func (n *node) drawn() bool { return n.Auto && n.Type == String && !n.UUID && !n.Derived }

// complete fills the records within a value.
func complete(n *node, v any, newSecret func() string) any {
	switch value := v.(type) {
	case map[string]any:
		switch {
		case n.Type == Record && !n.Abstract:
			fill(n.record, value, newSecret)
		case n.Type == Map:
			for key, part := range value {
				value[key] = complete(n.values, part, newSecret)
			}
		}
	case []any:
		if n.elements != nil {
			for i, element := range value {
				value[i] = complete(n.elements, element, newSecret)
			}
		}
	}
	return v
}

// merge lays changes over m. Records merge field by field; all else is replaced.
func merge(r *record, m, changes map[string]any) {
	for name, value := range changes {
		n := r.index[name]
		change, isTable := value.(map[string]any)
		if n == nil || n.Type != Record || n.Abstract || !isTable {
			m[name] = value
			continue
		}
		below, _ := m[name].(map[string]any)
		if below == nil {
			below = make(map[string]any, len(change))
		}
		merge(n.record, below, change)
		m[name] = below
	}
}

// Brief takes out of a stored entity what Insert would put in again: the echoes of shorthands, and null where
// null is what an absent field gets. It changes the entity.
func (s *Schema) Brief(entity map[string]any) {
	root := s.For(entity).compiled()
	hide(root, entity)
	brief(root, entity)
}

func brief(r *record, m map[string]any) {
	for _, n := range r.fields {
		value, given := m[n.Name]
		if given && value == nil && n.fallback == nil && !n.drawn() && !n.Required {
			delete(m, n.Name)
			continue
		}
		eachRecord(n, value, brief)
	}
}
