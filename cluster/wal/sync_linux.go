package wal

import (
	"errors"
	"os"
	"syscall"
)

// syncData has what was written on the disk. The file keeps its size, so nothing
// else about it matters.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
