//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "adminbench: runs on Linux only: it measures with /proc and fdatasync.")
	os.Exit(1)
}
