package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluicegate/sluice/scripts/chaos/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buildSluice builds the binary under test.
func buildSluice(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice-chaos")
	args := append([]string{"build", "-pgo=off", "-tags", "chaos", "-o", path}, buildFlags...)
	build := exec.Command("go", append(args, "github.com/sluicegate/sluice/cmd/sluice")...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestSmoke kills each node in turn and starts it again with what it left, under
// load. It wants strictness, and that something was admitted; how much and how
// fast depends on the machine.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real nodes for some seconds")
	}
	var faults []plan.Fault
	const nodes = 3
	for i := range nodes {
		faults = append(faults, plan.Fault{Kind: plan.Kill, Pick: i, At: time.Duration(i)*1500*time.Millisecond + time.Second, For: 300 * time.Millisecond})
	}
	o := options{nodes: nodes, binary: buildSluice(t), duration: 5 * time.Second, load: 1, plain: true, faults: faults}
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "run")
	s, err := single(t.Context(), o, 1, dir, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, stderr := range stderrs(t, dir) {
		if strings.Contains(stderr, "DATA RACE") {
			t.Error(stderr)
		}
	}
	if s.failed() || s.result.Records == 0 || s.result.Admitted == 0 {
		_ = s.result.Write(&log)
		t.Errorf("%d problems\n%s", len(s.problems), log.String())
	}
	if _, err := single(t.Context(), o, 1, dir, &log); !errors.Is(err, os.ErrExist) {
		t.Errorf("a directory that has a run is used again: %v", err)
	}
	if err := recheck(dir, io.Discard); err != nil {
		t.Error(err)
	}
}

// stderrs gives what the nodes wrote to their standard error.
func stderrs(t *testing.T, dir string) (texts []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", stderrFile))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", stderrFile, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if err := chaos([]string{"-help"}, &out, &out); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"-seed", "-duration", "one-way", "Ctrl-C", "/dev/net/tun"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("the help has no %q", word)
		}
	}
	for _, args := range [][]string{{"x"}, {"-runs", "0"}, {"-nodes", "1"}, {"-kinds", "cut,rain"}, {"-duration", "1s"}, {"-sluice", "/nonexistent"}, {"-check", "/nonexistent"}} {
		if err := chaos(args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	if o, err := parse([]string{"-kinds", "cut, kill"}, io.Discard); err != nil || len(o.kinds) != 2 {
		t.Errorf("%v %v", o.kinds, err)
	}
	if o, err := parse([]string{"-kinds", "none"}, io.Discard); err != nil || len(o.kinds) != 0 {
		t.Errorf("%v %v", o.kinds, err)
	}
}
