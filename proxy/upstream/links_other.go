//go:build !linux

package upstream

// LinkPool exists on systems with event loops.
type LinkPool struct{}
