package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A write that is too large for one log entry comes in parts, which are staged, and
// is done by the entry that follows them: so it is done at once, or not at all.

// What is staged at most at the same time, by all nodes: then the oldest makes room,
// whose writer is refused.
const (
	maxStaged      = 16
	maxStagedBytes = 256 << 20
	// stagedFor is for how many entries of the log what is staged is kept without
	// another part: its writer is gone.
	stagedFor = 50_000
)

// ErrNotStaged is answered to a write of which parts are missing.
var ErrNotStaged = errors.New("parts of the write are missing")

// Stage is the payload of CommandStage: a part of an encoded Write.
type Stage struct {
	ID   string `json:"id"`   // of the write
	Part int    `json:"part"` // from 0, in order
	Data []byte `json:"data"`
}

// Parts says of which parts a write is made.
type Parts struct {
	ID   string `json:"id"`
	Sum  Hash   `json:"sum"` // of all their data
	Size int    `json:"size"`
}

// staged is what has come of a write.
type staged struct {
	ID   string `json:"id"`
	Next int    `json:"next"` // the part to come
	At   uint64 `json:"at"`   // the index of the last part
	Data []byte `json:"data"`
}

// stage is all that is staged, the oldest first. It is never changed.
type stage struct{ all []*staged }

func (s stage) find(id string) *staged {
	i := slices.IndexFunc(s.all, func(st *staged) bool { return st.ID == id })
	if i < 0 {
		return nil
	}
	return s.all[i]
}

// without returns what is staged but for a write.
func (s stage) without(id string) stage {
	return stage{slices.DeleteFunc(slices.Clone(s.all), func(st *staged) bool { return st.ID == id })}
}

// after returns what is staged but for what was given up before an index.
func (s stage) after(index uint64) stage {
	if i := slices.IndexFunc(s.all, func(st *staged) bool { return st.At+stagedFor < index }); i < 0 {
		return s
	}
	return stage{slices.DeleteFunc(slices.Clone(s.all), func(st *staged) bool { return st.At+stagedFor < index })}
}

// with returns what is staged with one more part, of an entry. A part that is there already
// changes nothing, and the first one begins anew.
func (s stage) with(index uint64, p *Stage) (stage, error) {
	old := s.find(p.ID)
	switch {
	case p.Part == 0:
		old = &staged{}
	case old == nil || p.Part > old.Next:
		return s, fmt.Errorf("%w: part %d of %s", ErrNotStaged, p.Part, p.ID)
	case p.Part < old.Next:
		return s, nil
	}
	next := s.without(p.ID)
	// Views share the array: each knows how much of it is its own, and only the newest is added to.
	next.all = append(next.all, &staged{ID: p.ID, Next: p.Part + 1, At: index, Data: append(old.Data, p.Data...)})
	for len(next.all) > 1 && (len(next.all) > maxStaged || next.bytes() > maxStagedBytes) {
		next.all = next.all[1:]
	}
	return next, nil
}

func (s stage) bytes() (n int) {
	for _, st := range s.all {
		n += len(st.Data)
	}
	return n
}

// write puts a staged write together.
func (s stage) write(p *Parts) (*Write, error) {
	st := s.find(p.ID)
	if st == nil || len(st.Data) != p.Size || sha256.Sum256(st.Data) != p.Sum {
		return nil, fmt.Errorf("%w: %s", ErrNotStaged, p.ID)
	}
	w := new(Write)
	if err := json.Unmarshal(st.Data, w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedCommand, err)
	}
	if w.Parts != nil {
		return nil, fmt.Errorf("%w: a write of parts within one", ErrMalformedCommand)
	}
	return w, nil
}

// Split makes of a write whose encoding is longer than most bytes the commands that
// stage it, and the one that does it; or only itself. id must be new.
func (c *Command) Split(id string, most int) ([]*Command, error) {
	whole, err := encode(c.Write)
	if err != nil {
		return nil, fmt.Errorf("encode write: %w", err)
	}
	if len(whole) <= most {
		return []*Command{c}, nil
	}
	size := most / 4 * 3 * 9 / 10 // base64, and the envelope
	var list []*Command
	for part := range slices.Chunk(whole, size) {
		list = append(list, &Command{Version: CommandVersion, Type: CommandStage,
			Stage: &Stage{ID: id, Part: len(list), Data: bytes.Clone(part)}})
	}
	last := *c
	last.Write = &Write{Parts: &Parts{ID: id, Sum: sha256.Sum256(whole), Size: len(whole)}}
	return append(list, &last), nil
}
