package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeOffset gives a --port-offset at which every port of sluice dev is free.
func freeOffset(t *testing.T) int {
	t.Helper()
	start := 300 + os.Getpid()%200*5
	for offset := start; offset < start+500; offset++ {
		free := portIsFree(5000 + offset)
		for i := range 3 {
			p := portsOf(i, offset)
			for _, port := range []int{p.proxy, p.proxyTLS, p.admin, p.adminTLS, p.cluster} {
				free = free && portIsFree(port)
			}
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free offset")
	return 0
}

// devRun is a running sluice dev.
type devRun struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	screen string // everything up to its last line
	pids   []int
	ended  chan error
}

func startDev(t *testing.T, args ...string) *devRun {
	t.Helper()
	d := &devRun{t: t, cmd: exec.Command(binary, append([]string{"dev"}, args...)...), ended: make(chan error, 1)}
	d.cmd.Stderr = &d.stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(d.cmd.SysProcAttr)
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1)
	go func() {
		var screen strings.Builder
		scan := bufio.NewScanner(stdout)
		for scan.Scan() {
			screen.WriteString(scan.Text() + "\n")
			if strings.HasPrefix(scan.Text(), "Ctrl-C stops") {
				break
			}
		}
		shown <- screen.String()
		io.Copy(io.Discard, stdout)
		d.ended <- d.cmd.Wait()
	}()
	t.Cleanup(func() { d.cmd.Process.Kill() })
	select {
	case d.screen = <-shown:
	case <-time.After(patience):
		t.Fatal("sluice dev shows nothing")
	}
	for _, row := range regexp.MustCompile(`(?m)^  node\d .* (\d+)$`).FindAllStringSubmatch(d.screen, -1) {
		pid, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		d.pids = append(d.pids, pid)
	}
	return d
}

// wait gives the exit code.
func (d *devRun) wait() int {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatalf("sluice dev did not end within %s", patience)
	}
	return d.cmd.ProcessState.ExitCode()
}

// noneLeft waits until none of the nodes' processes exists.
func (d *devRun) noneLeft() {
	d.t.Helper()
	for _, pid := range d.pids {
		waitFor(d.t, fmt.Sprintf("process %d to be gone", pid), func() error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !zombie(pid) {
				return errors.New("it is there")
			}
			return nil
		})
	}
}

// zombie says whether a process has ended and its parent, which need not be
// this one, has not asked for its exit code yet.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

// TestDev does what its screen says, in the words of the screen, with a shell.
func TestDev(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test needs %s: %v", program, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	d := startDev(t, "--nodes", "3", "--upstream", "--dir", dir, "--port-offset", strconv.Itoa(freeOffset(t)))
	if len(d.pids) != 3 {
		t.Fatalf("screen:\n%s\nstderr:\n%s", d.screen, d.stderr.String())
	}
	var script strings.Builder
	for line := range strings.SplitSeq(d.screen, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "TOKEN=") {
			script.WriteString(line + "; echo\n")
		}
	}
	bash := exec.Command("bash", "-c", script.String())
	out, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script.String(), out)
	}
	text := string(out)
	if created, ok := strings.Count(text, "HTTP/1.1 201 Created"), strings.Count(text, "HTTP/1.1 200 OK"); created != 4 || ok != 3 {
		t.Errorf("%d commands answered 201 and %d 200, want 4 and 3:\n%s\n%s", created, ok, script.String(), text)
	}
	// A minute may end between two of them, so only the first is certain.
	if !strings.Contains(strings.ToLower(text), "ratelimit-remaining: 4") {
		t.Errorf("no answer with 4 requests left:\n%s", text)
	}

	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(); code != 0 || d.stderr.Len() > 0 {
		t.Errorf("exit code %d after Ctrl-C: %s", code, d.stderr.String())
	}
	d.noneLeft()

	if _, errs, code := sluice(t, "dev", "--nodes", "2", "--dir", dir); code != 1 || !strings.Contains(errs, "holds a cluster of 3 nodes") {
		t.Errorf("two nodes in a directory of three: exit code %d: %s", code, errs)
	}
}

// TestDevKilled: the nodes end with their parent, however it ends.
func TestDevKilled(t *testing.T) {
	d := startDev(t, "--nodes", "2", "--dir", t.TempDir(), "--port-offset", strconv.Itoa(freeOffset(t)))
	if len(d.pids) != 2 {
		t.Fatalf("screen:\n%s\nstderr:\n%s", d.screen, d.stderr.String())
	}
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.wait()
	d.noneLeft()
}

// TestDevNodeStartedAgain: a node that was killed is told of and can be started
// with the line that is shown, and the cluster is whole again.
func TestDevNodeStartedAgain(t *testing.T) {
	offset := freeOffset(t)
	d := startDev(t, "--nodes", "3", "--dir", t.TempDir(), "--port-offset", strconv.Itoa(offset))
	if len(d.pids) != 3 {
		t.Fatalf("screen:\n%s\nstderr:\n%s", d.screen, d.stderr.String())
	}
	line := regexp.MustCompile(`(?m)^  (\S+ start --conf \S+)`).FindStringSubmatch(d.screen)
	if line == nil {
		t.Fatalf("the screen does not say how to start a node again:\n%s", d.screen)
	}
	if err := syscall.Kill(d.pids[2], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	node3 := &testNode{t: t, adminPort: portsOf(2, offset).admin}
	waitFor(t, "node 3 to be gone", func() error {
		if _, err := node3.status(); err == nil {
			return errors.New("it answers")
		}
		return nil
	})
	fields := strings.Fields(line[1])
	again := exec.Command(fields[0], fields[1:]...)
	again.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(again.SysProcAttr)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		again.Process.Kill()
		again.Wait()
	}()
	waitFor(t, "node 3 to be back", func() error {
		status, err := node3.status()
		if err == nil && (len(status.Nodes) != 3 || !status.Quorum) {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
	d.cmd.Process.Signal(syscall.SIGTERM)
	if code := d.wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, d.stderr.String())
	}
	d.noneLeft()
}

// TestDevPortInUse: one sentence that names the port, and nothing left running.
func TestDevPortInUse(t *testing.T) {
	offset := freeOffset(t)
	taken := portsOf(1, offset).admin
	ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(taken))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, errs, code := sluice(t, "dev", "--nodes", "3", "--dir", t.TempDir(), "--port-offset", strconv.Itoa(offset))
	if code != 1 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, fmt.Sprintf("node2 did not start: the Admin API cannot listen on 127.0.0.1:%d: ", taken)) {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
	for i := range 3 {
		waitFor(t, "its ports to be free again", func() error {
			if p := portsOf(i, offset); !portIsFree(p.cluster) || !portIsFree(p.proxy) {
				return fmt.Errorf("node %d's are taken", i+1)
			}
			return nil
		})
	}
}
