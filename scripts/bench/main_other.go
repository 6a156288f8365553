//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: runs on Linux only: it measures with epoll, sched_setaffinity and /proc. make microbench runs anywhere.")
	os.Exit(1)
}
