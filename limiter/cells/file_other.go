//go:build !linux

package cells

// Open returns a table in memory: only on Linux does a table outlive its
// process. It is never recovered, and other processes are not kept out.
func Open(_ string, o Options) (*Table, error) { return InMemory(o.Capacity), nil }
