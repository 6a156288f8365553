package ledger

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxNodes = 4096
	maxVoid  = 8 // void incarnations of a node that are remembered
	// silence is how long after a node was last heard of its record is kept if
	// it is not in the roster.
	silence = 24 * 3600 * Second
)

// node is what is remembered of a node.
type node struct {
	name  string
	heard int64    // the stamp of the last entry that named it
	void  []uint64 // incarnations, the oldest first

	joined      bool // what follows is of its present incarnation
	incarnation uint64
	session     uint64
	seq         uint64  // 0 before its first batch
	grants      []Grant // the answer to (session, seq)
}

// change makes a new roster if the changes come to one, and returns who has left.
func (l *Ledger) change(changes []Change) (left []Member) {
	if len(changes) == 0 {
		return nil
	}
	for i := range changes {
		if l.changeOne(&changes[i]) {
			left = append(left, changes[i].Member)
		}
	}
	members := l.members()
	if slices.Equal(members, l.rosters.Last().Members) {
		return left
	}
	history := slices.Clone(l.rosters.History)
	// Windows start at whole seconds, and Delay is some of them: of two rosters
	// between the same seconds, no window is divided by the first. So history
	// has one a second at most, however fast nodes come and go.
	if n := len(history); n > 0 && ceil(history[n-1].Since) == ceil(l.stamp) {
		history = history[:n-1]
	}
	l.know(append(history, Roster{Since: l.stamp, Members: members}), slices.Clone(l.rosters.Gaps))
	return left
}

// ceil is the first whole second not before the stamp.
func ceil(stamp int64) int64 { return (stamp + Second - 1) / Second }

// members lists who is in the roster, by node.
func (l *Ledger) members() []Member {
	var ms []Member
	for _, n := range l.nodes {
		if n.joined {
			ms = append(ms, Member{Node: n.name, Incarnation: n.incarnation})
		}
	}
	slices.SortFunc(ms, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
	return ms
}

// changeOne carries out a change, and says whether a member has left by it.
func (l *Ledger) changeOne(c *Change) (left bool) {
	m := c.Member
	n := l.nodes[m.Node]
	if n == nil {
		if c.Kind != Join || m.Node == "" || len(m.Node) > maxNode || !l.makeRoom() {
			return false
		}
		n = &node{name: strings.Clone(m.Node)}
		l.nodes[n.name] = n
	}
	n.heard = l.stamp // a fence too: its incarnation must not be forgotten soon
	present := n.joined && n.incarnation == m.Incarnation
	switch c.Kind {
	case Join:
		if !present && !slices.Contains(n.void, m.Incarnation) {
			l.lose(n)
			n.end()
			n.joined, n.incarnation = true, m.Incarnation
		}
	case Fence, Leave:
		if present {
			l.lose(n)
			n.end()
			return c.Kind == Leave
		}
	}
	return false
}

// makeRoom forgets nodes that are out of the roster and long silent, and if
// there is no room for another one then, the one silent longest.
func (l *Ledger) makeRoom() bool {
	var oldest *node
	for name, n := range l.nodes {
		switch {
		case n.joined:
		case l.stamp-n.heard > silence:
			delete(l.nodes, name)
		case oldest == nil || cmp.Or(cmp.Compare(n.heard, oldest.heard), strings.Compare(name, oldest.name)) < 0:
			oldest = n
		}
	}
	if len(l.nodes) < l.maxNodes {
		return true
	}
	if oldest == nil {
		return false
	}
	delete(l.nodes, oldest.name)
	return true
}

// end makes the present incarnation void, if there is one, and forgets its
// sessions.
func (n *node) end() {
	void := n.void
	if n.joined {
		void = remember(void, n.incarnation, maxVoid)
	}
	*n = node{name: n.name, heard: n.heard, void: void}
}

// remember appends v to the last most-1 of the list.
func remember(list []uint64, v uint64, most int) []uint64 {
	if len(list) == most {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, v)
}

// verdict is what a batch is to its node's record.
type verdict uint8

const (
	next verdict = iota
	repeated
	stale
)

// judge says whether b is to be applied. A process begins with seq 1; its later
// ones may skip some, so that it can give a batch up.
func (n *node) judge(b *Batch) verdict {
	switch {
	case !n.joined || n.incarnation != b.Member.Incarnation || len(b.Asks) > MaxAsks:
		return stale
	case n.seq == 0 || n.session < b.Session:
		if b.Seq != 1 {
			return stale
		}
	case n.session > b.Session:
		return stale
	case b.Seq == n.seq:
		return repeated
	case b.Seq < n.seq:
		return stale
	}
	return next
}

// note makes b the node's last batch.
func (n *node) note(b *Batch) { n.session, n.seq = b.Session, b.Seq }
