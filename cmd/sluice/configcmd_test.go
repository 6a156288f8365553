package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportOnCluster: an import that is too large for an entry of the log, through a node that does not lead, is
// on all nodes or on none; the next one takes it back.
func TestImportOnCluster(t *testing.T) {
	c := newCluster(t, 3)
	var follower *testNode
	for _, n := range c.nodes {
		if n != c.leader() {
			follower = n
		}
	}
	follower.create("/services", "name", "before", "host", "before.test")
	admin := func(n *testNode) []string { return []string{"--admin", n.adminURL("")} }
	export := func(n *testNode) string {
		t.Helper()
		out, errs, code := sluice(t, append([]string{"config", "export", "--with-secrets"}, admin(n)...)...)
		if code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
		return out
	}
	before := export(follower)
	index := follower.admin("GET", "/services", nil).header.Get("X-Sluice-Index")

	file := filepath.Join(t.TempDir(), "kong.yaml")
	var b strings.Builder
	b.WriteString("_format_version: \"3.0\"\nservices: [{name: big, host: big.test}]\nroutes:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "- {name: r%d, paths: [/p%d], service: big}\n", i, i)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := sluice(t, append([]string{"config", "import", file, "--replace", "--yes"}, admin(follower)...)...)
	if code != 0 || !strings.Contains(out, "2001 to create, 0 to update, 1 to delete") || !strings.Contains(out, "Imported: 2002 changes") {
		t.Fatalf("%d %s %s", code, out, errs)
	}
	after := export(follower)
	for _, n := range c.nodes {
		waitFor(t, "the import on "+n.name, func() error {
			if out, _, _ := sluice(t, append([]string{"config", "export", "--with-secrets"}, admin(n)...)...); out != after {
				return fmt.Errorf("another configuration, of %d bytes and not %d", len(out), len(after))
			}
			return nil
		})
	}
	if _, errs, code := sluice(t, append([]string{"config", "rollback", index}, admin(follower)...)...); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	if again := export(follower); again != before {
		t.Errorf("%s, was %s", again, before)
	}
}
