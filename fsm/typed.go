package fsm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// shape says which field of a typed view a member of the JSON is read into.
type shape map[string]int

func shapeOf(view any) shape {
	t := reflect.TypeOf(view).Elem()
	s := make(shape, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		s[name] = i
	}
	return s
}

// read fills a view from the JSON of an entity, as encoding/json would but for names in
// other letters. Strings of the view are parts of the JSON where they can be, so that it
// must not change.
func (s shape) read(raw []byte, view any) error {
	v := reflect.ValueOf(view).Elem()
	for m := (members{text: raw}); m.next(); {
		i, ok := s[m.name]
		if !ok {
			continue
		}
		if err := readField(m.value, v.Field(i).Addr().Interface()); err != nil {
			return fmt.Errorf("field %q: %w", m.name, err)
		}
	}
	return nil
}

// readField reads what most entities are made of, and leaves the rest, and what is wrong,
// to encoding/json.
func readField(value []byte, into any) error {
	switch to := into.(type) {
	case *string:
		if s, ok := text(value); ok {
			*to = s
			return nil
		}
	case *Ref:
		if id, ok := refID(value); ok {
			to.ID = id
			return nil
		}
	case **Ref:
		if id, ok := refID(value); ok {
			*to = &Ref{ID: id}
			return nil
		}
	case *[]string:
		if list, ok := texts(value); ok {
			*to = append([]string{}, list...) // of none, as encoding/json gives it
			return nil
		}
	case *bool:
		if *to = string(value) == "true"; *to || string(value) == "false" {
			return nil
		}
	case *int:
		if n, err := strconv.Atoi(alias(value)); err == nil {
			*to = n
			return nil
		}
	case *int64:
		if n, err := strconv.ParseInt(alias(value), 10, 64); err == nil {
			*to = n
			return nil
		}
	}
	return json.Unmarshal(value, into)
}

// refID gives the id in the value of a reference; false if there is none, or anything
// else in its place.
func refID(value []byte) (id string, ok bool) {
	for m := (members{text: value}); m.next(); {
		if m.name != "id" {
			continue
		}
		if id, ok = text(m.value); !ok {
			return "", false
		}
	}
	return id, ok
}
