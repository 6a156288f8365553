package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// makeKey gives a new key.
func makeKey(t *testing.T) string {
	t.Helper()
	out, _, code := sluice(t, "encryption", "key")
	if code != 0 {
		t.Fatalf("no key: %s", out)
	}
	return strings.TrimSpace(out)
}

// secretIn gives the files below a node's directory in which a text can be read, as
// it is or in base64.
func secretIn(t *testing.T, n *testNode, secret string) (found []string) {
	t.Helper()
	words := [][]byte{[]byte(secret)}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
		words = append(words, []byte(text[4:len(text)-4]))
	}
	err := filepath.WalkDir(n.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() || errors.Is(err, fs.ErrNotExist) {
			return nil // a snapshot makes room while this looks
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, word := range words {
			if bytes.Contains(data, word) {
				found = append(found, path)
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEncryptedAtRest: three nodes in clear are given a key one by one while writes
// go on; a rotation, which is killed half-way and done again, leaves nothing in
// clear; another key takes its place, and the first is taken away.
func TestEncryptedAtRest(t *testing.T) {
	const secret = "alices-key-that-no-disk-may-show"
	c := newCluster(t, 3)
	c.nodes[0].create("/consumers", "username", "alice")
	c.nodes[0].create("/consumers/alice/key-auth", "key", secret)
	keys := make([]string, 2)
	for i := range keys {
		keys[i] = makeKey(t)
	}
	file := filepath.Join(t.TempDir(), "keys")
	giveKeys := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.nodes {
			n.args = []string{"--encryption-keys", file}
			n.stop()
			n.start()
			c.waitReady()
		}
	}
	writes := startSecretWrites(c, secret)
	giveKeys(keys[0] + " # the first\n")
	waitSealed(t, c)
	if len(secretIn(t, c.nodes[2], secret)) == 0 {
		t.Fatal("what was written in clear is not found")
	}

	// Nodes are killed in the middle of it, the one that is asked among them; the
	// next one finishes.
	for _, victim := range []*testNode{c.nodes[1], c.nodes[0], c.nodes[2]} {
		before := snapshotsOf(t, victim)
		asked := exec.Command(binary, "cluster", "rotate-encryption", "--admin", c.nodes[0].adminURL(""))
		if err := asked.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a new snapshot of "+victim.name, func() error {
			if snapshotsOf(t, victim) == before {
				return errors.New("none yet")
			}
			return nil
		})
		victim.kill()
		_ = asked.Wait() // it fails, or was faster
		victim.start()
		c.waitReady()
	}
	rotateKeys(t, c)
	writes.stop()
	for _, n := range c.nodes {
		if found := secretIn(t, n, secret); len(found) > 0 {
			t.Errorf("%s: the secret is in %s", n.name, found)
		}
	}

	giveKeys(keys[1] + "\n" + keys[0] + "\n")
	rotateKeys(t, c)
	giveKeys(keys[1] + "\n")
	c.nodes[2].stop()
	c.nodes[2].args = []string{"--encryption-keys", keys[0]} // the wrong one
	c.nodes[2].start()
	if code := c.nodes[2].wait(); code != 1 {
		t.Errorf("a start with the wrong key: exit code %d", code)
	}
	if told := c.nodes[2].stderr.String(); strings.Count(told, "\n") != 1 || !strings.Contains(told, "encryption_keys") || strings.Contains(told, keys[0]) {
		t.Errorf("a start with the wrong key:\n%s", told)
	}
	c.nodes[2].args = []string{"--encryption-keys", file}
	c.nodes[2].start()
	c.waitReady()
	writes.check(c)
	for _, n := range c.nodes {
		if found := secretIn(t, n, secret); len(found) > 0 {
			t.Errorf("%s, at the end: the secret is in %s", n.name, found)
		}
	}
}

// TestANewClusterIsSealed: nodes that form a cluster with keys have nothing in clear
// from the first change on.
func TestANewClusterIsSealed(t *testing.T) {
	const secret = "a-key-from-the-first-moment-on"
	c := idleCluster(t, 3)
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(makeKey(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		n.args = []string{"--encryption-keys", file}
		n.start()
	}
	c.waitReady()
	c.nodes[1].create("/consumers", "username", "alice")
	c.nodes[1].create("/consumers/alice/key-auth", "key", secret)
	waitSealed(t, c)
	for _, n := range c.nodes {
		waitFor(t, "alice on "+n.name, func() error {
			if a := n.admin("GET", "/consumers/alice/key-auth", nil); a.status != http.StatusOK || !bytes.Contains(a.body, []byte(secret)) {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
		n.stop() // with a snapshot at the end
		if found := secretIn(t, n, secret); len(found) > 0 {
			t.Errorf("%s: the secret is in %s", n.name, found)
		}
	}
}

// snapshotsOf names what is in the directory of a node's snapshots.
func snapshotsOf(t *testing.T, n *testNode) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(n.dir, "cluster", "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// waitSealed waits until every node says that it seals.
func waitSealed(t *testing.T, c *testCluster) {
	t.Helper()
	waitFor(t, "all to seal", func() error {
		out, _, code := sluice(t, "encryption", "--admin", c.nodes[0].adminURL(""))
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if code != 0 || len(lines) != len(c.nodes)+1 {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		for _, line := range lines[1:] {
			if fields := strings.Fields(line); len(fields) < 3 || fields[2] == keyName("") {
				return fmt.Errorf("not sealed:\n%s", out)
			}
		}
		return nil
	})
}

// rotateKeys rotates, by one command.
func rotateKeys(t *testing.T, c *testCluster) {
	t.Helper()
	if out, told, code := sluice(t, "cluster", "rotate-encryption", "--admin", c.nodes[0].adminURL("")); code != 0 {
		t.Fatalf("rotation: exit code %d: %s%s", code, out, told)
	}
}

// secretWrites creates consumers with keys, through one node after the other.
type secretWrites struct {
	end  chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	mu   sync.Mutex
	done []string
}

func startSecretWrites(c *testCluster, secret string) *secretWrites {
	w := &secretWrites{end: make(chan struct{})}
	c.t.Cleanup(w.stop)
	urls := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		urls[i] = n.adminURL("")
	}
	w.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-w.end:
				return
			}
			name := fmt.Sprintf("c%d", i)
			body := fmt.Sprintf(`{"operations":[{"method":"PUT","path":"/consumers/%s","body":{}},{"method":"POST","path":"/consumers/%s/key-auth","body":{"key":"%s-%s"}}]}`, name, name, name, secret)
			resp, err := client.Post(urls[i%len(urls)]+"/transactions", "application/json", strings.NewReader(body))
			if err != nil {
				continue // the node is down
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				w.mu.Lock()
				w.done = append(w.done, name)
				w.mu.Unlock()
			}
		}
	})
	return w
}

func (w *secretWrites) stop() {
	w.once.Do(func() { close(w.end) })
	w.wg.Wait()
}

// check makes sure that every node has everything that was acknowledged.
func (w *secretWrites) check(c *testCluster) {
	c.t.Helper()
	if len(w.done) < 10 {
		c.t.Fatalf("only %d writes were acknowledged", len(w.done))
	}
	for _, n := range c.nodes {
		for _, name := range w.done {
			waitFor(c.t, name, func() error {
				if a := n.admin("GET", "/consumers/"+name+"/key-auth", nil); a.status != http.StatusOK || !bytes.Contains(a.body, []byte(name+"-")) {
					return fmt.Errorf("%s: %d %s", n.name, a.status, a.body)
				}
				return nil
			})
		}
	}
}
