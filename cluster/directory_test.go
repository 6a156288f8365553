package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// The model: what the newest word is that counts.
type known struct {
	address string
	alive   bool
}

func TestDirectoryAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		told := 0
		d := newDirectory(func() { told++ })
		model := map[string]known{}
		news := 0
		ids := rapid.SampledFrom([]string{"a", "b", "c"})
		addresses := rapid.SampledFrom([]string{"h:1", "h:2", "h:3"})
		t.Repeat(map[string]func(*rapid.T){
			"learn": func(t *rapid.T) {
				id, address := ids.Draw(t, "id"), addresses.Draw(t, "address")
				d.learn(id, "", address)
				if !model[id].alive {
					model[id] = known{address, false}
				}
			},
			"heard": func(t *rapid.T) {
				id, address := ids.Draw(t, "id"), addresses.Draw(t, "address")
				d.heard(id, "", address)
				model[id] = known{address, model[id].alive}
			},
			"seen": func(t *rapid.T) {
				id, address := ids.Draw(t, "id"), addresses.Draw(t, "address")
				d.seen(id, meta{Address: address})
				model[id] = known{address, true}
				news++
			},
			"gone": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				d.gone(id)
				if k, ok := model[id]; ok {
					model[id] = known{k.address, false}
				}
				news++
			},
			"": func(t *rapid.T) {
				alive := 0
				for id, k := range model {
					if m, ok := d.get(id); !ok || m.Address != k.address || m.alive != k.alive || d.address(id) != k.address {
						t.Fatalf("%s is %+v, want %+v", id, m, k)
					}
					if k.alive {
						alive++
					}
				}
				if len(d.all()) != len(model) || len(d.alive()) != alive || told != news {
					t.Fatalf("%d nodes, %d alive, %d changes; want %d, %d, %d", len(d.all()), len(d.alive()), told, len(model), alive, news)
				}
			},
		})
	})
}

func TestDirectoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDirectory(func() {})
	d.seen("alive", meta{Address: "h:1"})
	for i := range 3 * maxMembers {
		d.learn(fmt.Sprint(i), "", "h:2")
	}
	if got := len(d.all()); got != maxMembers {
		t.Errorf("%d nodes, want %d", got, maxMembers)
	}
	if _, ok := d.get("alive"); !ok {
		t.Error("a live node was forgotten for a dead one")
	}
}

func TestMetadataFits(t *testing.T) {
	t.Parallel()
	longest := meta{Name: strings.Repeat("n", maxName), Address: strings.Repeat("h", 253) + ":65535",
		Voter: true, Configured: true, Expect: 1 << 30, Cluster: uuid.Max.String(),
		Keys: strings.TrimSuffix(strings.Repeat(seal.ID{}.String()+",", seal.MaxKeys), ",")}
	data := longest.encode()
	if len(data) == 0 || len(data) > maxMeta {
		t.Fatalf("%d bytes", len(data))
	}
	got, err := decodeMeta(data)
	if err != nil || got.Address != longest.Address || got.Cluster != longest.Cluster || got.Keys != longest.Keys {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []meta{{}, {Address: "h"}, {Address: "h:1", Name: "<"}, {Address: "h:1", Cluster: "x"},
		{Address: "h:1", Keys: strings.Repeat("k", maxKeyList+1)}} {
		if got, err := decodeMeta(bad.encode()); err == nil {
			t.Errorf("%+v was accepted as %+v", bad, got)
		}
	}
}

// fullSink is a disk without room.
type fullSink struct{ closed bool }

func (s *fullSink) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
func (s *fullSink) Close() error              { s.closed = true; return nil }
func (s *fullSink) ID() string                { return "" }
func (s *fullSink) Cancel() error             { return nil }

func TestASnapshotThatFailedDoesNotCount(t *testing.T) {
	t.Parallel()
	conf := config(t, t.TempDir())
	changes := 0
	s := &stateMachine{machine: conf.Machine, changed: func() { changes++ }, configured: func() {}, sealWith: func() *seal.Key { return nil }}
	apply := func(index uint64, c *fsm.Command) {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(logEntry(index, data))
	}
	apply(1, fsm.NewInit(uuid.NewString()))
	apply(2, create("a"))
	if changes != 1 {
		t.Errorf("%d changes of entities, want 1: the cluster's name is none", changes)
	}
	snapshot, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &fullSink{}
	if err := snapshot.Persist(sink); err == nil || sink.closed || s.persisted.Load() != 0 {
		t.Errorf("persist: %v, closed %t, counts as %d", err, sink.closed, s.persisted.Load())
	}
}
