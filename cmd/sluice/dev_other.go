//go:build !linux

package main

import "syscall"

// dieWithParent does nothing: only Linux tells a child of its parent's death.
// After a kill -9 of sluice dev its nodes must be stopped by hand.
func dieWithParent(*syscall.SysProcAttr) {}
