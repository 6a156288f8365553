package schema

import "iter"

// Unresolved yields the foreign fields of an entity that name their parent by something else than its id,
// such as {"name": "svc1"}, in the order of the schema. The caller looks the parent up among those of
// Field.Reference and puts {"id": ...} in place, or reports a foreign key that cannot be resolved.
func (s *Schema) Unresolved(entity map[string]any) iter.Seq2[*Field, map[string]any] {
	return func(yield func(*Field, map[string]any) bool) {
		for field := range s.ForeignFields() {
			reference, ok := entity[field.Name].(map[string]any)
			if _, hasID := reference["id"]; ok && !hasID && !yield(field, reference) {
				return
			}
		}
	}
}

// ForeignFields yields the foreign fields of the schema. They must not be changed.
func (s *Schema) ForeignFields() iter.Seq[*Field] {
	return func(yield func(*Field) bool) {
		for i := range s.Fields {
			if s.Fields[i].Type == Foreign && !yield(&s.Fields[i]) {
				return
			}
		}
	}
}

// unresolved says that a reference without an id names anything at all.
func unresolved(reference map[string]any) bool {
	for _, value := range reference {
		if value != nil {
			return true
		}
	}
	return false
}
