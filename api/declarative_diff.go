package api

import (
	"maps"
	"reflect"
	"slices"

	"github.com/sluicegate/sluice/fsm"
)

// fieldChange is how a field of an entity changes. Of a secret, both values are masked.
type fieldChange struct {
	Field  string `json:"field"` // with the records that it is in: config.minute
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// plannedChange is a change of an entity, field by field.
type plannedChange struct {
	shownChange
	Fields []fieldChange `json:"fields,omitempty"` // of an update
}

// planned shows changes, with fields what they do to each.
func (a *API) planned(changes []fsm.ChangedEntity, fields bool) []plannedChange {
	list := make([]plannedChange, len(changes))
	for i := range changes {
		c := &changes[i]
		list[i].shownChange = a.showChange(c, false)
		if !fields || c.Before == nil || c.After == nil {
			continue
		}
		before, err1 := fieldsOf(c.Before)
		after, err2 := fieldsOf(c.After)
		if err1 == nil && err2 == nil {
			plain := [2]map[string]any{before, after}
			hidden := plain
			if coll := a.byKind[c.After.Kind]; coll != nil && hasSecrets(coll.Kind) {
				hidden = [2]map[string]any{a.maskedFields(coll, before), a.maskedFields(coll, after)}
			}
			list[i].Fields = changedFields(nil, "", plain, hidden)
		}
		if c.Before.ExpiresAt != c.After.ExpiresAt {
			list[i].Fields = append(list[i].Fields, fieldChange{"ttl", expiry(c.Before), expiry(c.After)})
		}
	}
	return list
}

// hasSecrets says that there is something to mask in a kind.
func hasSecrets(kind string) bool { return kind == "plugins" || len(secretFields[kind]) > 0 }

// expiry is a ttl as exports have it.
func expiry(e *fsm.Entity) any {
	if e.ExpiresAt == 0 {
		return nil
	}
	return e.ExpiresAt
}

// changedFields appends the fields in which two records differ, with the values of their masked forms.
func changedFields(list []fieldChange, path string, plain, hidden [2]map[string]any) []fieldChange {
	names := maps.Clone(plain[0])
	if names == nil {
		names = make(map[string]any)
	}
	maps.Copy(names, plain[1])
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, after := plain[0][name], plain[1][name]
		if name == "updated_at" && path == "" || reflect.DeepEqual(before, after) {
			continue
		}
		below1, ok1 := before.(map[string]any)
		below2, ok2 := after.(map[string]any)
		hidden1, ok3 := hidden[0][name].(map[string]any)
		hidden2, ok4 := hidden[1][name].(map[string]any)
		if ok1 && ok2 && ok3 && ok4 {
			list = changedFields(list, path+name+".", [2]map[string]any{below1, below2}, [2]map[string]any{hidden1, hidden2})
			continue
		}
		list = append(list, fieldChange{path + name, hidden[0][name], hidden[1][name]})
	}
	return list
}
