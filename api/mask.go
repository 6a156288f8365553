package api

import (
	"slices"
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
