package cluster

import (
	"sort"
	"sync"
	"time"
)

// member is what this node knows of a node.
type member struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address"`
	// Keys are the encryption keys that the node last said it has (splitKeys).
	Keys string `json:"keys,omitempty"`

	meta  meta
	alive bool // gossip says so
	since time.Time
}

// maxMembers bounds the directory against ids that come and go for ever.
const maxMembers = 512

// forgetAfter is how long a node that is neither alive nor a member is
// remembered.
const forgetAfter = time.Hour

// directory is where the nodes are, whatever tells: gossip, a join, or the
// file of an earlier run. Safe for concurrent use.
type directory struct {
	mu      sync.Mutex
	members map[string]*member
	dirty   bool // something that is kept in the file changed
	changed func()
}

// newDirectory makes one that calls changed, which must not block, when a node
// comes, goes or moves.
func newDirectory(changed func()) *directory {
	return &directory{members: map[string]*member{}, changed: changed}
}

// learn takes an address from another node or from the file; what gossip says
// of a node that is alive is newer.
func (d *directory) learn(id, name, address string) { d.locate(id, name, address, false) }

// heard takes an address from the node itself. It is true at once, while gossip
// may take seconds to give up the place where the node was before a restart.
func (d *directory) heard(id, name, address string) { d.locate(id, name, address, true) }

func (d *directory) locate(id, name, address string, firstHand bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.members[id]
	if m != nil && (m.alive && !firstHand || m.Address == address) {
		return
	}
	if m == nil {
		if m = d.insert(id); m == nil {
			return
		}
	}
	if name != "" {
		m.Name = name
	}
	m.Address, d.dirty = address, true
}

func (d *directory) insert(id string) *member {
	if len(d.members) >= maxMembers && !d.forgetOldest() {
		return nil
	}
	m := &member{ID: id, since: time.Now()}
	d.members[id] = m
	return m
}

func (d *directory) forgetOldest() bool {
	var oldest *member
	for _, m := range d.members {
		if !m.alive && (oldest == nil || m.since.Before(oldest.since)) {
			oldest = m
		}
	}
	if oldest == nil {
		return false
	}
	delete(d.members, oldest.ID)
	return true
}

// seen takes gossip's word that a node is alive.
func (d *directory) seen(id string, mt meta) {
	d.mu.Lock()
	m := d.members[id]
	if m == nil {
		m = d.insert(id)
	}
	if m != nil {
		if m.Address != mt.Address || m.Name != mt.Name || m.Keys != mt.Keys {
			m.Address, m.Name, m.Keys, d.dirty = mt.Address, mt.Name, mt.Keys, true
		}
		m.meta, m.alive, m.since = mt, true, time.Now()
	}
	d.mu.Unlock()
	d.changed()
}

// opens takes which encryption keys a node has: its own word when it joins, or the
// file's. What gossip says of a node that is alive is newer.
func (d *directory) opens(id, keys string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.members[id]; m != nil && !m.alive && m.Keys != keys {
		m.Keys, d.dirty = keys, true
	}
}

// gone takes gossip's word that a node is not alive.
func (d *directory) gone(id string) {
	d.mu.Lock()
	if m := d.members[id]; m != nil {
		m.alive, m.since = false, time.Now()
	}
	d.mu.Unlock()
	d.changed()
}

// address gives where a node is, or "".
func (d *directory) address(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.members[id]; m != nil {
		return m.Address
	}
	return ""
}

// get gives a copy of what is known of a node.
func (d *directory) get(id string) (member, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.members[id]; m != nil {
		return *m, true
	}
	return member{}, false
}

// all gives copies of every node, in the order of ids.
func (d *directory) all() []member {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]member, 0, len(d.members))
	for _, m := range d.members {
		out = append(out, *m)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// alive gives the nodes that gossip says are alive, this one included.
func (d *directory) alive() []member {
	all := d.all()
	out := all[:0]
	for _, m := range all {
		if m.alive {
			out = append(out, m)
		}
	}
	return out
}

// prune forgets nodes that are long gone and no members.
func (d *directory) prune(isMember func(id string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, m := range d.members {
		if !m.alive && time.Since(m.since) > forgetAfter && !isMember(id) {
			delete(d.members, id)
			d.dirty = true
		}
	}
}

// takeDirty says whether the file must be written again.
func (d *directory) takeDirty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	dirty := d.dirty
	d.dirty = false
	return dirty
}

// markDirty asks for another write of the file, after one that failed.
func (d *directory) markDirty() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty = true
}
