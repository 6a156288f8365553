package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/seal"
)

// What is stored is sealed once every member has a key for it, by the first of the
// writer's keys that all have. So keys can be given to a running cluster node by
// node, and nobody is ever sent what it cannot open.

// sealingKey gives the key that this node seals with now, nil for in clear.
//
// A cluster in which nothing is sealed yet begins when every member is known to
// have the key, also those that are away. One that is sealed goes on with a key
// that no member is known to lack; of a member that has not been heard of since
// this node started, the leader that let it in knew that it has one. It never goes
// back to clear text: then the error wraps ErrNoCommonKey.
func (n *Node) sealingKey() (*seal.Key, error) {
	keys := n.conf.Keys.All()
	if len(keys) == 0 {
		return nil, nil
	}
	sealed := n.state.sealed.Load()
	servers := n.servers()
	for _, key := range keys {
		if n.lacking(servers, key.ID().String(), sealed) == "" {
			return key, nil
		}
	}
	if sealed {
		return nil, fmt.Errorf("%w: node %s lacks %s", ErrNoCommonKey, n.lacking(servers, keys[0].ID().String(), sealed), keys[0].ID())
	}
	return nil, nil
}

// lacking gives the name of a member without a key, or "".
func (n *Node) lacking(servers []raft.Server, key string, trusting bool) string {
	for _, s := range servers {
		id := string(s.ID)
		if id == n.id {
			continue
		}
		m, _ := n.dir.get(id)
		known := m.alive || m.Keys != ""
		if slices.Contains(splitKeys(m.Keys), key) || !known && trusting {
			continue
		}
		if m.Name != "" {
			return m.Name
		}
		return id
	}
	return ""
}

// snapshotKey gives the key of the next snapshot, nil for one in clear. A state
// that is sealed already is never written in clear, whoever cannot open it.
func (n *Node) snapshotKey() *seal.Key {
	key, err := n.sealingKey()
	if err != nil {
		return n.conf.Keys.All()[0]
	}
	return key
}

// seal makes an entry of an encoded command.
func (n *Node) seal(t fsm.CommandType, data []byte) ([]byte, error) {
	if !secret(t) {
		return data, nil
	}
	key, err := n.sealingKey()
	if key == nil {
		return data, err
	}
	return key.Seal(kindEntry, data), nil
}

// acceptEntry looks at an entry that another node made, before it is in the log of
// all: the leader takes none that it cannot open, and seals what came in clear from
// a node that does not know yet that everybody has the key.
func (n *Node) acceptEntry(data []byte) ([]byte, error) {
	if len(data) > MaxCommand+seal.Overhead || len(data) > MaxCommand && !seal.IsSealed(data) {
		return nil, ErrCommandTooLarge
	}
	plain, err := n.state.open(data)
	switch missing := (*seal.MissingKeyError)(nil); {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%w: the leader does not have %s, with which the change is sealed", ErrKeyMissing, missing.ID)
	case err != nil:
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	c, err := fsm.DecodeCommand(plain)
	if errors.Is(err, fsm.ErrMalformedCommand) {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	if seal.IsSealed(data) || c == nil {
		return data, nil
	}
	return n.seal(c.Type, data)
}

// admits says whether a node with these keys may become a member: it will be sent
// all of the log, or the snapshot, and what is sealed from now on.
func (n *Node) admits(theirs []string) error {
	key, err := n.sealingKey()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	if n.state.sealed.Load() {
		found, err := n.data.inventory()
		if err != nil {
			return err
		}
		needed = found.keys()
	}
	if key != nil {
		needed[key.ID().String()] = true
	}
	var lacks []string
	for id := range needed {
		if !slices.Contains(theirs, id) {
			lacks = append(lacks, id)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	sort.Strings(lacks)
	return fmt.Errorf("%w: the cluster's state is sealed with %s, which must be in encryption_keys of a node that joins", ErrKeyMissing, strings.Join(lacks, ", "))
}

// sealingNews is what the log was told last about what is sealed.
type sealingNews struct {
	mu   sync.Mutex
	told string
}

// tellSealing tells the log when entities begin to be sealed, by which key, and
// who keeps that from happening.
func (n *Node) tellSealing() {
	keys := n.conf.Keys.All()
	if len(keys) == 0 {
		return
	}
	first := keys[0].ID().String()
	key, err := n.sealingKey()
	lacking := n.lacking(n.servers(), first, n.state.sealed.Load())
	news := fmt.Sprint(key, err, lacking)
	n.sealing.mu.Lock()
	defer n.sealing.mu.Unlock()
	if n.sealing.told == news {
		return
	}
	n.sealing.told = news
	switch {
	case err != nil:
		n.log.Error("changes are refused", zap.Error(err))
	case key == nil:
		n.log.Warn("the state is stored in clear until every member has the encryption key", zap.String("key", first), zap.String("lacks_it", lacking))
	case lacking != "":
		n.log.Warn("the state is sealed with an older encryption key until every member has the first one", zap.Stringer("seals", key.ID()), zap.String("key", first), zap.String("lacks_it", lacking))
	default:
		n.log.Info("the state is sealed from now on; sluice cluster rotate-encryption removes what is not sealed with this key", zap.String("key", first))
	}
}
