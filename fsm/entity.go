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

	uniques []string            // keys in the order of Definition.Unique; "" is null
	refs    map[string]string   // foreign field -> id of the entity it names
	lists   map[string][]string // foreign field that is a list -> ids, none twice
	tags    []string
}

// Ref gives the id that a foreign field names, or "".
func (e *Entity) Ref(field string) string { return e.refs[field] }

// Tags gives the entity's tags; the slice must not be changed.
func (e *Entity) Tags() []string { return e.tags }

// Expired says whether the entity's time is over at now (unix seconds).
func (e *Entity) Expired(now int64) bool { return e.ExpiresAt != 0 && e.ExpiresAt <= now }

// newEntity reads an operation's JSON into an entity of its kind.
func newEntity(def *Definition, op *Op, index uint64) (*Entity, error) {
	var fields map[string]any
	if err := json.Unmarshal(op.Raw, &fields); err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrMalformedCommand, op.Kind, op.ID, err)
	}
	if id, _ := fields["id"].(string); id != op.ID || id == "" {
		return nil, fmt.Errorf("%w: %s has id %q in its body and %q in its operation", ErrMalformedCommand, op.Kind, id, op.ID)
	}
	e := &Entity{Kind: op.Kind, ID: op.ID, CreateIndex: index, ModifyIndex: index, ExpiresAt: op.ExpiresAt, Raw: op.Raw}
	return e, e.derive(def, fields)
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

// derive fills what is read from Raw: the typed view, keys, references, tags.
func (e *Entity) derive(def *Definition, fields map[string]any) error {
	e.Value = def.newView()
	if err := json.Unmarshal(e.Raw, e.Value); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrMalformedCommand, e.Kind, e.ID, err)
	}
	e.refs = make(map[string]string, len(def.Foreign))
	for _, f := range def.Foreign {
		if f.List {
			e.addList(f.Field, fields)
			continue
		}
		if ref, ok := fields[f.Field].(map[string]any); ok {
			if id, _ := ref["id"].(string); id != "" {
				e.refs[f.Field] = id
			}
		}
	}
	e.uniques = make([]string, len(def.Unique))
	for i, set := range def.Unique {
		e.uniques[i] = uniqueKey(set, fields)
	}
	if tags, ok := fields["tags"].([]any); ok {
		for _, t := range tags {
			if tag, ok := t.(string); ok {
				e.tags = append(e.tags, tag)
			}
		}
	}
	return nil
}

func (e *Entity) addList(field string, fields map[string]any) {
	ids, _ := fields[field].([]any)
	for _, v := range ids {
		id, ok := v.(string)
		if !ok || id == "" || slices.Contains(e.lists[field], id) {
			continue
		}
		if e.lists == nil {
			e.lists = make(map[string][]string, 1)
		}
		e.lists[field] = append(e.lists[field], id)
	}
}

// Names gives the ids that a foreign field names, whether it is a list or not. The slice
// must not be changed.
func (e *Entity) Names(f Foreign) []string {
	if f.List {
		return e.lists[f.Field]
	}
	if id := e.refs[f.Field]; id != "" {
		return []string{id}
	}
	return nil
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
