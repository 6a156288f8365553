package plugin

import (
	"maps"
	"slices"
	"strings"
)

// Groups is the set of groups that a client belongs to. It is never changed;
// safe for concurrent use. A nil one is empty.
type Groups struct {
	members map[string]struct{}
	joined  string
}

// NewGroups makes a set of names, of which some may be the same.
func NewGroups(names ...string) *Groups {
	g := &Groups{members: make(map[string]struct{}, len(names))}
	for _, name := range names {
		g.members[name] = struct{}{}
	}
	g.joined = strings.Join(slices.Sorted(maps.Keys(g.members)), ", ")
	return g
}

// Len is how many groups there are.
func (g *Groups) Len() int {
	if g == nil {
		return 0
	}
	return len(g.members)
}

// String gives the names in order, as "a, b".
func (g *Groups) String() string {
	if g == nil {
		return ""
	}
	return g.joined
}

// Meets says whether two sets have a group in common. It looks up the names of
// the smaller one, and allocates nothing.
func (g *Groups) Meets(other *Groups) bool {
	if g.Len() == 0 || other.Len() == 0 {
		return false
	}
	if g.Len() > other.Len() {
		g, other = other, g
	}
	for name := range g.members {
		if _, ok := other.members[name]; ok {
			return true
		}
	}
	return false
}
