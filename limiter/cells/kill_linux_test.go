package cells

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

// childFile makes the test binary a process that spends tokens of the file.
const childFile = "CELLS_TEST_FILE"

func TestMain(m *testing.M) {
	if name := os.Getenv(childFile); name != "" {
		child(name, os.Stdout)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// What the child says: it is about to give a key its tokens, has taken one, has
// written a header.
const (
	saidGive = 'g'
	saidTake = 't'
	saidHead = 'h'

	childTokens = 3
)

// child gives new keys three tokens each, takes two of them, now and then writes
// how often it has done so, and never ends.
func child(name string, out io.Writer) {
	say := func(b byte) {
		if _, err := out.Write([]byte{b}); err != nil {
			os.Exit(1)
		}
	}
	tab, err := Open(name, Options{Boot: boot})
	if err != nil {
		os.Exit(1)
	}
	n := uint64(0)
	if h := tab.Header(); h != nil {
		n = binary.LittleEndian.Uint64(h)
	}
	first := uint64(tab.Len()) << 32 // keys of this process
	for i := first; ; i++ {
		k := keyOf(i)
		c := tab.Insert(k, window.Year, never)
		if c == nil {
			os.Exit(1)
		}
		say(saidGive)
		c.Enter(uint32(noon), childTokens)
		for range 2 {
			if _, ok := tab.Find(k, window.Year).TakeFor(k, window.Year, uint32(noon)); ok {
				say(saidTake)
			}
		}
		if i%16 == 0 {
			n++
			if err := tab.SetHeader(binary.LittleEndian.AppendUint64(nil, n)); err != nil {
				os.Exit(1)
			}
			say(saidHead)
		}
	}
}

// TestKill kills a process that spends tokens, again and again, and reckons what
// it said with what is in the file.
func TestKill(t *testing.T) {
	name := path(t)
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	total := map[byte]int{}
	for round := range 8 {
		for b, n := range runChild(t, name, 1+rnd.IntN(4000)) {
			total[b] += n
		}
		tab := open(t, name, Options{Boot: boot})
		if !tab.Recovered() {
			t.Fatalf("round %d: not recovered", round)
		}
		left := 0
		for i, c := range all(tab) {
			if n := c.Word().Tokens(); n > childTokens {
				t.Fatalf("%v has %d tokens", i, n)
			}
			left += int(c.Word().Tokens())
		}
		// In flight, once a process: tokens not yet given, or one that was taken
		// and not told.
		unknown := total[saidGive]*childTokens - total[saidTake] - left
		if unknown < 0 || unknown > childTokens*(round+1) {
			t.Fatalf("round %d: %d keys given %d each, %d taken, %d left", round, total[saidGive], childTokens, total[saidTake], left)
		}
		h := uint64(0)
		if b := tab.Header(); b != nil {
			h = binary.LittleEndian.Uint64(b)
		}
		if said := uint64(total[saidHead]); h < said || h > said+uint64(round)+1 {
			t.Fatalf("round %d: header %d, %d written", round, h, said)
		}
		closeTable(t, tab)
	}
	t.Logf("%d keys, %d takes, %d headers", total[saidGive], total[saidTake], total[saidHead])
}

// runChild kills a child after it has said n things, and returns how often it
// has said each until it was dead.
func runChild(t *testing.T, name string, n int) map[byte]int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childFile+"="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, in := map[byte]int{}, bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		b, err := in.ReadByte()
		if err != nil {
			break
		}
		said[b]++
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return said
}
