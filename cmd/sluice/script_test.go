package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts of testdata/script with the built binary. Each
// has ports of its own in PROXY, PROXY_TLS, ADMIN, ADMIN_TLS, CLUSTER and
// UPSTREAM, and the command "retry", which repeats a command until it succeeds.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
			for _, name := range []string{"PROXY", "PROXY_TLS", "ADMIN", "ADMIN_TLS", "CLUSTER", "UPSTREAM"} {
				env.Setenv(name, fmt.Sprint(freePort(t)))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"retry": retry},
	})
}

// retry runs a command until it succeeds.
func retry(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) == 0 {
		ts.Fatalf("usage: retry command args...")
	}
	err := poll(patience, func() error { return ts.Exec(args[0], args[1:]...) })
	if err != nil {
		ts.Fatalf("%v", err)
	}
}
