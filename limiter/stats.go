package limiter

import "github.com/sluicegate/sluice/limiter/escrow"

// Mode says on what grounds a node decides.
type Mode string

// The modes.
const (
	// ModeStarting: the cluster, or its time, is not known yet; requests wait.
	ModeStarting Mode = "starting"
	// ModeQuorum: all is well.
	ModeQuorum Mode = "quorum"
	// ModeDegraded: there has been no leader for some seconds. Windows that had
	// begun go on; in others, limits that tolerate faults go on with equal shares.
	ModeDegraded Mode = "degraded"
)

// Modes lists all of them.
func Modes() []Mode { return []Mode{ModeStarting, ModeQuorum, ModeDegraded} }

// Stats are the numbers for metrics.
type Stats struct {
	escrow.Stats
	Mode Mode
	// MaxCells is how many cells there is room for, and Pools how many budgets the
	// ledger keeps a pool of.
	MaxCells, Pools int
}

// Stats returns the numbers of now. It asks no other node.
func (l *Limiter) Stats() Stats {
	s := Stats{Mode: ModeStarting, MaxCells: l.cfg.MaxKeys, Pools: l.cfg.Log.Ledger().Len()}
	core := l.core.Load()
	if core == nil {
		return s
	}
	s.Stats = core.Stats(l.mono())
	switch {
	case s.Leaderless:
		s.Mode = ModeDegraded
	case s.Timed:
		s.Mode = ModeQuorum
	}
	return s
}
