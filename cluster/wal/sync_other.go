//go:build !linux

package wal

import "os"

// syncData has what was written on the disk.
func syncData(f *os.File) error { return f.Sync() }
