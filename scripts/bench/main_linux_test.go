package main

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/machine"
)

// TestMain lets the test binary be the children that the benchmark starts.
func TestMain(m *testing.M) {
	if partOf(os.Args[1:]) != nil {
		if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func newTestBench(t *testing.T, found tools, progress io.Writer) *bench {
	t.Helper()
	cores, err := machine.Cores()
	if err != nil {
		t.Fatal(err)
	}
	if len(cores) < 2 {
		t.Skip("needs two cores")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{opts: options{rounds: 1, duration: 200 * time.Millisecond}, tools: found, self: self, dir: t.TempDir(),
		starter: machine.NewStarter(), cores: cores, coreCount: len(cores), progress: progress}
	t.Cleanup(b.starter.Close)
	if b.cert, err = makeCert(b.dir); err != nil {
		t.Fatal(err)
	}
	return b
}
