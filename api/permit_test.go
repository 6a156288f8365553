package api

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/proxy/explain"
)

var writeGolden = flag.Bool("write", false, "write testdata/permissions.txt anew, to be read before it is committed")

// quietLevels are log levels that nothing listens to.
type quietLevels struct{}

func (quietLevels) Level() string                                { return "notice" }
func (quietLevels) SetLevel(string, time.Duration) (bool, error) { return true, nil }
func (quietLevels) SetEverywhere(context.Context, string, time.Duration) ([]string, error) {
	return nil, nil
}

// guardedEverything is an API with every endpoint that there is, and tokens of several roles.
func guardedEverything(t *testing.T) (h *harness, names []string, tokens map[string]string) {
	h = withBudgets(t, newFakeBudgets(t), func(c *Config) {
		c.LogLevels, c.Metrics = quietLevels{}, http.NotFoundHandler()
		c.Explain = func(*explain.Question) *explain.Explanation { return new(explain.Explanation) }
		done := func(context.Context, []string) (any, error) { return "done", nil }
		c.Operations = []Operation{{"POST", "/cluster/leave", done}, {"DELETE", "/cluster/nodes/{id}", done},
			{"GET", "/cluster/encryption", done}, {"POST", "/cluster/encryption/rotate", done}}
	})
	roles := []struct{ name, permissions string }{
		{"editor", `{"collections":["*"],"actions":["*"]}`},
		{"tagged", `{"collections":["*"],"actions":["*"],"tags":["a"]}`},
		{"operator", `{"collections":["node"],"actions":["read","update"]}`},
		{"routes", `{"collections":["routes"],"actions":["*"]},{"collections":["services"],"actions":["read"]}`},
		{"creator", `{"collections":["consumers","key-auths"],"actions":["create"]}`},
		{"nothing", ``},
	}
	tokens = map[string]string{RoleSuperAdmin: h.token("t0", RoleSuperAdmin), RoleReadOnly: h.token("t1", RoleReadOnly)}
	names = []string{RoleSuperAdmin, RoleReadOnly}
	for _, r := range roles {
		h.role(r.name, r.permissions)
		tokens[r.name] = h.token(r.name, r.name)
		names = append(names, r.name)
	}
	return h, names, tokens
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// come sends an empty request to an endpoint and gives its status. Streams are ended at once.
func (h *harness) come(token, method, pattern string) int {
	r := httptest.NewRequest(method, parameter.ReplaceAllString(pattern, someID), nil)
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	if pattern == "/watch" {
		r = r.WithContext(ctx)
	}
	r.Header.Set(headerToken, token)
	return h.guarded(r).status
}

// TestPermissions walks every endpoint with every role. The table that it compares with shows who may come in; which
// entities they reach there is TestScope's.
func TestPermissions(t *testing.T) {
	h, names, tokens := guardedEverything(t)
	var got strings.Builder
	fmt.Fprintf(&got, "%-70s %s\n", "", strings.Join(names, " "))
	for _, e := range h.api.router.endpoints {
		for _, method := range slices.Sorted(maps.Keys(e.methods)) {
			if method == http.MethodHead {
				continue
			}
			if status := h.come("", method, e.pattern); status != 401 {
				t.Errorf("%s %s without a token: %d", method, e.pattern, status)
			}
			line := fmt.Sprintf("%-70s", method+" "+e.pattern)
			for _, name := range names {
				status := h.come(tokens[name], method, e.pattern)
				if status == 401 || name == RoleSuperAdmin && status == 403 {
					t.Errorf("%s %s as %s: %d", method, e.pattern, name, status)
				}
				may := "-"
				if status != 403 {
					may = "x"
				}
				line += " " + may + strings.Repeat(" ", len(name)-1)
			}
			fmt.Fprintln(&got, strings.TrimRight(line, " "))
		}
	}
	golden := filepath.Join("testdata", "permissions.txt")
	if *writeGolden {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
		t.Errorf("who may do what (-table +API):\n%s", diff)
	}
}

// What is in no table is for super-admins: a new endpoint is closed until somebody has thought about it.
func TestNewEndpointsAreClosed(t *testing.T) {
	h, names, tokens := guardedEverything(t)
	h.api.router.handle(http.MethodGet, "/brand/new", func(*request) (*reply, error) { return jsonReply(200, nil) })
	for _, name := range names {
		want := 403
		if name == RoleSuperAdmin {
			want = 200
		}
		if status := h.come(tokens[name], "GET", "/brand/new"); status != want {
			t.Errorf("as %s: %d", name, status)
		}
	}
	// and each row of the table is about a method
	for row := range needs {
		if method, path, _ := strings.Cut(row, " "); !slices.Contains([]string{"GET", "POST", "PUT", "DELETE"}, method) || !strings.HasPrefix(path, "/") {
			t.Errorf("row %q", row)
		}
	}
}

// Refusals say which permission is missing.
func TestForbiddenMessages(t *testing.T) {
	h, _, tokens := guardedEverything(t)
	for _, c := range []struct{ role, method, path, want string }{
		{"nothing", "GET", "/services", "the token 'nothing' may not do this: it has no permission to read services"},
		{"routes", "POST", "/services", "no permission to create services"},
		{"routes", "PUT", "/consumers/x", "no permission to create or update consumers"},
		{"creator", "POST", "/consumers/bob/key-auth", "no permission to read consumers"},
		{"routes", "GET", "/status", `no permission to read "node"`},
		{"routes", "PUT", "/debug/node/log-level/debug", `no permission to update "node"`},
		{"tagged", "GET", "/history", `no permission to read "*", without tags`},
		{RoleReadOnly, "POST", "/history/1/rollback", `no permission to create, update and delete "*", without tags`},
		{"editor", "GET", "/admin_tokens", "it takes the role super-admin"},
		{"editor", "POST", "/cluster/leave", "it takes the role super-admin"},
	} {
		r := h.as(tokens[c.role], c.method, c.path, "")
		if r.status != 403 || !strings.Contains(r.message(t), c.want) {
			t.Errorf("%s %s as %s: %d %s", c.method, c.path, c.role, r.status, r.body)
		}
	}
}
