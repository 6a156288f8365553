package fields

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
)

// ValidHeader accepts "name:value" and "name" if the name can be a header's.
func ValidHeader(entry string) error {
	name, _, _ := strings.Cut(entry, ":")
	return validHeader(name)
}

// ValidHeaderPair accepts "name:name" if both can be headers' names.
func ValidHeaderPair(entry string) error {
	name, other, _ := strings.Cut(entry, ":")
	if err := validHeader(name); err != nil {
		return err
	}
	return validHeader(strings.TrimLeft(other, ":")) // Kong drops further colons too
}

func validHeader(name string) error {
	if schema.ValidHeaderName(name) != nil {
		if name == "" {
			name = "nil" // the word that Kong finds in place of an empty name
		}
		return fmt.Errorf("'%s' is not a valid header", name)
	}
	return nil
}
