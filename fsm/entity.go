package fsm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Entity is one stored row of the configuration. It is immutable once in the
// state; safe for concurrent use.
type Entity struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// CreateIndex and ModifyIndex are the log indexes of the commands that
	// created and last changed the entity.
	CreateIndex uint64 `json:"create_index"`
	ModifyIndex uint64 `json:"modify_index"`
	// CreateStamp is a time of the limiter's clock before which no request is
	// limited by the entity (ledger.Settled when it was created), 0 if there is none.
	CreateStamp int64 `json:"create_stamp,omitempty"`
	// ExpiresAt is the unix time in seconds at which the entity vanishes; 0 is
	// never.
	ExpiresAt int64 `json:"expires_at,omitempty"`
	// Raw is the complete entity as the Admin API made it, so that fields that
	// only newer builds know survive on every node.
	Raw json.RawMessage `json:"raw"`
	// Value is the typed view of Raw: *Service, *Route, ... Only entities that
	// come out of a View have one.
	Value any `json:"-"`

	tags *[]string // nil if there are none, as of most
}

// Ref gives the id that a foreign field names, or "". It is read from Raw each time, as
// Names is: who needs it often keeps it.
func (e *Entity) Ref(field string) string { return idOf(member(e.Raw, field)) }

// Tags gives the entity's tags; the slice must not be changed.
func (e *Entity) Tags() []string {
	if e.tags == nil {
		return nil
	}
	return *e.tags
}

// Expired says whether the entity's time is over at now (unix seconds).
func (e *Entity) Expired(now int64) bool { return e.ExpiresAt != 0 && e.ExpiresAt <= now }

// newEntity reads an operation's JSON into an entity of its kind.
func newEntity(def *Definition, op *Op, index uint64) (*Entity, error) {
	raw := op.Raw[:len(op.Raw):len(op.Raw)]
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: %s %s: not JSON", ErrMalformedCommand, op.Kind, op.ID)
	}
	if id, _ := text(member(raw, "id")); id != op.ID || id == "" {
		return nil, fmt.Errorf("%w: %s has id %q in its body and %q in its operation", ErrMalformedCommand, op.Kind, id, op.ID)
	}
	e := &Entity{ID: op.ID, CreateIndex: index, ModifyIndex: index, ExpiresAt: op.ExpiresAt, Raw: raw}
	return e, e.derive(def)
}

// appendJSON appends what encode gives, without a look into Raw: it was read when
// the entity came, and a snapshot holds thousands.
func (e *Entity) appendJSON(b []byte) ([]byte, error) {
	b, err := appendString(append(b, `{"kind":`...), e.Kind)
	if err != nil {
		return nil, err
	}
	if b, err = appendString(append(b, `,"id":`...), e.ID); err != nil {
		return nil, err
	}
	b = strconv.AppendUint(append(b, `,"create_index":`...), e.CreateIndex, 10)
	b = strconv.AppendUint(append(b, `,"modify_index":`...), e.ModifyIndex, 10)
	if e.CreateStamp != 0 {
		b = strconv.AppendInt(append(b, `,"create_stamp":`...), e.CreateStamp, 10)
	}
	if e.ExpiresAt != 0 {
		b = strconv.AppendInt(append(b, `,"expires_at":`...), e.ExpiresAt, 10)
	}
	b = append(b, `,"raw":`...)
	if e.Raw == nil {
		b = append(b, "null"...)
	}
	b = append(b, e.Raw...)
	return append(b, '}'), nil
}

// appendString appends a JSON string; those of letters and digits, as kinds and
// ids are, need no encoder.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := encode(s)
			return append(b, quoted...), err
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"'), nil
}

// derive fills what is read from Raw, which must be valid: the typed view and tags. What
// of it are strings are parts of Raw.
func (e *Entity) derive(def *Definition) error {
	e.Kind = def.Kind // and not another copy of the name
	if id, ok := text(member(e.Raw, "id")); ok && id == e.ID {
		e.ID = id
	}
	if at := spaces(e.Raw, 0); at == len(e.Raw) || e.Raw[at] != '{' {
		return fmt.Errorf("%w: %s %s is no object", ErrMalformedCommand, e.Kind, e.ID)
	}
	e.Value = def.newView()
	if err := def.shape.read(e.Raw, e.Value); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrMalformedCommand, e.Kind, e.ID, err)
	}
	if tags, _ := texts(member(e.Raw, "tags")); len(tags) > 0 {
		tags = slices.Clip(tags)
		e.tags = &tags
	}
	return nil
}

// Names gives the ids that a foreign field names, whether it is a list or not; none
// twice.
func (e *Entity) Names(f Foreign) []string {
	value := member(e.Raw, f.Field)
	if !f.List {
		if id := idOf(value); id != "" {
			return []string{id}
		}
		return nil
	}
	all, _ := texts(value)
	var ids []string
	for _, id := range all {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// uniqueSeparator stands between the values of a set of fields. No id has it, so
// two sets of an id and one more value are only equal if both parts are.
const uniqueSeparator = "\x00"

// UniqueKey is the key of the i-th unique set (Definition.Unique) of an entity with these
// fields, "" if it has none: two entities that have the same one exclude each other.
func (d *Definition) UniqueKey(i int, fields map[string]any) string {
	return uniqueKey(d.Unique[i], fields)
}

// uniqueKey joins the values of a set of fields. A set of one null field has
// no key (null never collides); inside a larger set null is a value like any
// other.
func uniqueKey(set []string, fields map[string]any) string {
	var b strings.Builder
	for i, name := range set {
		if i > 0 {
			b.WriteString(uniqueSeparator)
		}
		switch v := fields[name].(type) {
		case string:
			b.WriteString(v)
		case map[string]any:
			id, _ := v["id"].(string)
			b.WriteString(id)
		}
	}
	return b.String()
}

// unique gives what UniqueKey gives, of the entity.
func (e *Entity) unique(set []string) string {
	if len(set) == 1 {
		return keyPart(member(e.Raw, set[0]))
	}
	var b strings.Builder
	for i, name := range set {
		if i > 0 {
			b.WriteString(uniqueSeparator)
		}
		b.WriteString(keyPart(member(e.Raw, name)))
	}
	return b.String()
}

// keyPart is what a field's value is in a key.
func keyPart(value []byte) string {
	if s, ok := text(value); ok {
		return s
	}
	return idOf(value)
}
