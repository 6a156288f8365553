package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDevDir makes sure that no other sluice dev works in a directory, made if
// need be: a second one would write other ports into the settings of nodes that
// run. The kernel gives the lock back however the process ends.
func lockDevDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { f.Close() }, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another sluice dev runs in %s: stop it, or use another --dir", dir)
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}
