package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
)

// secretNames are the collections whose entities are named by a secret, where they are not named by their id.
var secretNames = []string{"key-auth", "key-auths", "jwt", "jwts", "oauth2_tokens"}

// maskedPath is a path without the secrets that name entities.
func maskedPath(path string) string {
	segments := strings.Split(path, "/")
	for i := range segments[1:] {
		if slices.Contains(secretNames, segments[i]) && segments[i+1] != "" && !schema.IsUUID(segments[i+1]) {
			segments[i+1] = mask
		}
	}
	return strings.Join(segments, "/")
}

// maskConfig masks, in a record, the values of fields that are encrypted or referenceable by its schema, unless
// they are references to where the secret is.
func maskConfig(fields []schema.Field, record map[string]any) {
	for i := range fields {
		f := &fields[i]
		if value := record[f.Name]; value != nil {
			record[f.Name] = maskedValue(f, value)
		}
	}
}

func maskedValue(f *schema.Field, value any) any {
	if f.Encrypted || f.Referenceable {
		if text, ok := value.(string); ok && schema.IsReference(text) {
			return value
		}
		return mask
	}
	switch value := value.(type) {
	case map[string]any:
		switch f.Type {
		case schema.Record:
			maskConfig(f.Fields, value)
		case schema.Map:
			for key, one := range value {
				if f.Values != nil && one != nil {
					value[key] = maskedValue(f.Values, one)
				}
			}
		}
	case []any:
		for i, one := range value {
			if f.Elements != nil && one != nil {
				value[i] = maskedValue(f.Elements, one)
			}
		}
	}
	return value
}

// maskedPlace finds a field that holds the mask in the place of a secret: its path, or "".
func maskedPlace(c *collection, fields map[string]any) string {
	for _, name := range secretFields[c.Kind] {
		if fields[name] == mask {
			return name
		}
	}
	if c.Kind != "plugins" {
		return ""
	}
	return maskedField(c.schema.For(fields).Fields, fields)
}

func maskedField(fields []schema.Field, record map[string]any) string {
	for i := range fields {
		if place := maskedWithin(&fields[i], record[fields[i].Name]); place != "" {
			return strings.TrimSuffix(fields[i].Name+"."+place, "..")
		}
	}
	return ""
}

// maskedWithin gives the place within a value, "." for the value itself.
func maskedWithin(f *schema.Field, value any) string {
	switch value := value.(type) {
	case string:
		if value == mask && (f.Encrypted || f.Referenceable) {
			return "."
		}
	case map[string]any:
		if f.Type == schema.Record {
			return maskedField(f.Fields, value)
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if f.Values != nil && maskedWithin(f.Values, value[key]) != "" {
				return key
			}
		}
	case []any:
		for i, one := range value {
			if f.Elements != nil && maskedWithin(f.Elements, one) != "" {
				return strconv.Itoa(i + 1)
			}
		}
	}
	return ""
}

// maskedFields gives a copy of an entity's fields without what is secret.
func (a *API) maskedFields(c *collection, fields map[string]any) map[string]any {
	fields, _ = copied(fields).(map[string]any)
	a.mask(c.Kind, fields)
	return fields
}

// copied copies a tree.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, value := range v {
			m[name] = copied(value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = copied(value)
		}
		return list
	}
	return v
}
