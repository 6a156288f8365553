package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
)

const (
	// rotatePasses is how often all nodes are gone through until nothing is left: a
	// node may be sent an older snapshot by one that is still to come.
	rotatePasses = 3
	// rotateLongest bounds the work of one node.
	rotateLongest = 30 * time.Second
	rotateAgain   = 50 * time.Millisecond
)

// Encryption is what a node says of how it stores the state.
type Encryption struct {
	// ID and Name are the node's.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Keys are the ids of the keys that it has, in order.
	Keys []string `json:"keys"`
	// Key is the one that it seals with now, "" for in clear.
	Key string `json:"key"`
	// Snapshots gives by which key each snapshot on its disk is sealed, "" for in
	// clear, the newest first; Entries counts the entries of its log that hold
	// entities by their keys.
	Snapshots []string       `json:"snapshots"`
	Entries   map[string]int `json:"entries"`
	// Error says why the node could not be asked, or could not do it.
	Error string `json:"error,omitempty"`
}

// Only says that all that the node stores is sealed with one key.
func (e *Encryption) Only(key string) bool {
	for of, count := range e.Entries {
		if of != key && count > 0 {
			return false
		}
	}
	for _, of := range e.Snapshots {
		if of != key {
			return false
		}
	}
	return e.Error == "" && len(e.Snapshots) > 0
}

// rotateRequest names the key that is to be left.
type rotateRequest struct {
	Key string `json:"key"`
}

// Encryption asks every member how it stores the state.
func (n *Node) Encryption(ctx context.Context) []Encryption {
	return n.eachMember(ctx, probesAtOnce, func(ctx context.Context, id string) (*Encryption, error) {
		if id == n.id {
			return n.encryption()
		}
		return n.askEncryption(ctx, http.MethodGet, id, nil)
	})
}

// RotateEncryption leaves only this node's first key in use: on every member it
// has a snapshot written, sealed with that key, and everything removed that is
// sealed with others, or in clear. When it succeeds, the other keys may be taken
// out of the settings. It may be called again at any time, also to finish one that
// was interrupted. The answer tells how every member stands, also after an error.
//
// Errors wrap ErrNoKeys, ErrRotation (which says which member is in the way), or
// are the context's.
func (n *Node) RotateEncryption(ctx context.Context) ([]Encryption, error) {
	keys := n.conf.Keys.IDs()
	if len(keys) == 0 {
		return nil, ErrNoKeys
	}
	key := keys[0]
	all, err := n.ready(ctx, key)
	if err != nil {
		return all, err
	}
	n.log.Info("the encryption key is rotated", zap.String("key", key), zap.Int("members", len(all)))
	for range rotatePasses {
		// One after the other: a node that has nothing but its snapshot for a moment
		// may have to send it.
		all = n.eachMember(ctx, 1, func(ctx context.Context, id string) (*Encryption, error) {
			if id == n.id {
				return n.rotateHere(ctx, key)
			}
			body, err := json.Marshal(rotateRequest{Key: key})
			if err != nil {
				return nil, err
			}
			return n.askEncryption(ctx, http.MethodPost, id, body)
		})
		if failed := failures(all); failed != "" {
			return all, fmt.Errorf("%w on every member: %s; the others are done, and the same command finishes it", ErrRotation, failed)
		}
		all = n.Encryption(ctx)
		if left(all, key) == "" {
			n.log.Info("only one encryption key is in use", zap.String("key", key))
			return all, nil
		}
	}
	return all, fmt.Errorf("%w: %s still holds something that another key seals; the same command goes on", ErrRotation, left(all, key))
}

// ready makes sure that everybody seals with the key. Nodes that have just been
// started are waited for, for as long as a write is held: until they answer, at the
// place where they are now, and have heard of each other's keys.
func (n *Node) ready(ctx context.Context, key string) ([]Encryption, error) {
	for end := time.Now().Add(n.conf.Timing.Hold); ; {
		all := n.Encryption(ctx)
		why, passes := notReady(all, key)
		if why == nil || !passes || time.Now().After(end) || !pause(ctx, rotateAgain) {
			return all, why
		}
	}
}

// notReady says who keeps a rotation from beginning, and whether that passes by
// itself.
func notReady(all []Encryption, key string) (why error, passes bool) {
	if len(all) == 0 {
		return fmt.Errorf("%w: this node is no member of a cluster yet", ErrRotation), false
	}
	var who []string
	passes = true
	for _, e := range all {
		switch {
		case e.Error != "":
			who = append(who, fmt.Sprintf("%s does not answer (start it, or remove it with sluice cluster remove): %s", e.Name, e.Error))
		case len(e.Keys) == 0 || e.Keys[0] != key:
			who, passes = append(who, fmt.Sprintf("%s does not have %s as its first key", e.Name, key)), false
		case e.Key != key:
			who = append(who, fmt.Sprintf("%s has not heard yet that all have %s", e.Name, key))
		}
	}
	if len(who) == 0 {
		return nil, false
	}
	return fmt.Errorf("%w: %s", ErrRotation, strings.Join(who, "; ")), passes
}

func failures(all []Encryption) string {
	var out []string
	for _, e := range all {
		if e.Error != "" {
			out = append(out, e.Name+": "+e.Error)
		}
	}
	return strings.Join(out, "; ")
}

// left names the members that hold something which is not sealed with a key.
func left(all []Encryption, key string) string {
	var out []string
	for _, e := range all {
		if !e.Only(key) {
			out = append(out, e.Name)
		}
	}
	return strings.Join(out, ", ")
}

// eachMember asks the members, so many at once, the leader last: until then it has
// its whole log for those that are behind.
func (n *Node) eachMember(ctx context.Context, atOnce int, ask func(ctx context.Context, id string) (*Encryption, error)) []Encryption {
	var ids []string
	for _, s := range n.servers() {
		ids = append(ids, string(s.ID))
	}
	leader := n.leaderID()
	sort.Slice(ids, func(i, j int) bool {
		if (ids[i] == leader) != (ids[j] == leader) {
			return ids[j] == leader
		}
		return ids[i] < ids[j]
	})
	names := n.NodeNames()
	out := make([]Encryption, len(ids))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, id := range ids {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			e, err := ask(ctx, id)
			if err != nil {
				e = &Encryption{Error: err.Error()}
			}
			out[i] = *e
			out[i].ID, out[i].Name = id, names[id]
			if out[i].Name == "" {
				out[i].Name = id
			}
		})
	}
	wg.Wait()
	return out
}

func (n *Node) askEncryption(ctx context.Context, method, id string, body []byte) (*Encryption, error) {
	longest := n.conf.Timing.Call
	if method == http.MethodPost {
		longest = rotateLongest + n.conf.Timing.Call
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	answer, _, err := n.client.do(ctx, request{method: method, address: n.dir.address(id), path: pathSealed, target: id, body: body, fresh: true})
	if err != nil {
		return nil, err
	}
	e := new(Encryption)
	if err := json.Unmarshal(answer, e); err != nil {
		return nil, fmt.Errorf("answer of node %s: %w", id, err)
	}
	return e, nil
}

func (n *Node) answerEncryption(*http.Request, []byte) ([]byte, error) {
	e, err := n.encryption()
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

func (n *Node) answerRotate(r *http.Request, body []byte) ([]byte, error) {
	var req rotateRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, &callError{Code: codeMalformed, Message: err.Error()}
	}
	e, err := n.rotateHere(r.Context(), req.Key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// encryption is this node's own.
func (n *Node) encryption() (*Encryption, error) {
	found, err := n.data.inventory()
	if err != nil {
		return nil, err
	}
	e := &Encryption{ID: n.id, Name: n.name, Keys: n.conf.Keys.IDs(), Snapshots: found.snapshots, Entries: found.entries}
	if key, err := n.sealingKey(); err != nil {
		return nil, err
	} else if key != nil {
		e.Key = key.ID().String()
	}
	return e, nil
}

// rotateHere leaves nothing on this node that is not sealed with a key.
func (n *Node) rotateHere(ctx context.Context, key string) (*Encryption, error) {
	if !n.rotating.TryLock() {
		return nil, fmt.Errorf("%w: it is being rotated", ErrRotation)
	}
	defer n.rotating.Unlock()
	ctx, cancel := context.WithTimeout(ctx, rotateLongest)
	defer cancel()
	e, err := n.encryption()
	for ; err == nil && !e.Only(key); e, err = n.encryption() {
		if e.Key != key {
			return nil, fmt.Errorf("%w: this node seals with %q", ErrRotation, e.Key)
		}
		why := n.rewrite(ctx)
		if errors.Is(why, ErrDataDir) {
			return nil, why
		}
		if halted := n.Failure(); halted != nil {
			return nil, halted
		}
		// An entry of the old key was on its way, or a change of members: both pass.
		if !pause(ctx, rotateAgain) {
			return nil, fmt.Errorf("%w within %s: %w", ErrRotation, rotateLongest, errors.Join(why, context.Cause(ctx)))
		}
	}
	if err != nil {
		return nil, err
	}
	// What was deleted from the log is still in its files.
	if err := n.data.log.Rewrite(); err != nil {
		return nil, fmt.Errorf("%w: the log cannot be written anew: %w", ErrDataDir, err)
	}
	n.log.Info("what this node stores is sealed with one key", zap.String("key", key))
	return e, nil
}

// rewrite writes a snapshot and removes all entries and snapshots before it.
func (n *Node) rewrite(ctx context.Context) error {
	if err := n.keepTrailing(0); err != nil {
		return err
	}
	snapshot := func() raft.Future { return n.raft.Snapshot() }
	err := n.await(ctx, snapshot)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		// Nothing was applied since the start, which read the snapshot that is there.
		if err = n.applySomething(ctx); err == nil {
			err = n.await(ctx, snapshot)
		}
	}
	if err := errors.Join(err, n.keepTrailing(n.conf.Snapshot.TrailingLogs)); err != nil {
		return err
	}
	return n.data.removeOlderSnapshots()
}

// applySomething returns once this node has applied an entry that changes nothing.
func (n *Node) applySomething(ctx context.Context) error {
	result, err := n.Apply(ctx, fsm.NewBarrier())
	if err != nil {
		return err
	}
	return n.conf.Machine.Wait(ctx, result.Index)
}

// keepTrailing says how many entries stay in the log behind the snapshots from
// now on. A follower that misses one of them gets a snapshot.
func (n *Node) keepTrailing(count uint64) error {
	conf := n.raft.ReloadableConfig()
	conf.TrailingLogs = count
	return n.raft.ReloadConfig(conf)
}
