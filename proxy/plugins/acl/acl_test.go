package acl

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/plugin/plugintest"
)

func TestPublished(t *testing.T) { plugintest.ComparePublished(t, name) }

func TestSchema(t *testing.T) {
	tests := map[string]string{
		`{"config":{"allow":["a"]}}`:              "",
		`{"config":{"deny":["a"],"allow":[]}}`:    "",
		`{"config":{"allow":["a"],"deny":["b"]}}`: "schema violation (exactly one of these fields must be non-empty: 'config.allow', 'config.deny')",
		`{"config":{"allow":[],"deny":[]}}`: "2 schema violations (exactly one of these fields must be non-empty: 'config.allow', 'config.deny'; " +
			"at least one of these fields must be non-empty: 'config.allow', 'config.deny')",
		`{"config":{"allow":["a"]},"consumer":{"id":"6f4a486c-ec63-4144-afa9-2080b7e67c62"}}`: "schema violation (consumer: value must be null)",
	}
	for body, want := range tests {
		if _, message, _ := plugintest.Insert(t, name, body); message != want {
			t.Errorf("%s: %q, want %q", body, message, want)
		}
	}
	stored, _, _ := plugintest.Insert(t, name, `{"config":{"allow":["a"]}}`)
	want := map[string]any{"allow": []any{"a"}, "deny": nil, "hide_groups_header": false, "always_use_authenticated_groups": false}
	if diff := cmp.Diff(want, stored["config"]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefinition(t *testing.T) {
	d, ok := plugin.Lookup("acl")
	if !ok || d.Priority != 950 || d.Version == "" {
		t.Errorf("registered as %+v", d)
	}
	if _, err := New(nil, &plugin.Instance{Config: map[string]any{"allow": 1}}); err == nil {
		t.Error("a config of the wrong type was taken")
	}
}

// who sends a request: a consumer with a credential or without one (anonymous),
// and groups that an auth plugin found.
type who struct {
	consumer, credential string
	found                *plugin.Groups
}

func (w who) exchange(fields ...string) *plugin.Exchange {
	ex := plugintest.Exchange("GET", "/", fields...)
	d := plugintest.NewDirectory()
	d.AddGroups("c1", "staff", "admins")
	d.AddGroups("guest", "public")
	ex.Directory = d
	if w.consumer != "" {
		ex.Consumer = &fsm.Consumer{ID: w.consumer}
	}
	ex.Credential.ID, ex.Groups = w.credential, w.found
	return ex
}

func TestAccess(t *testing.T) {
	const (
		staff   = `{"allow":["staff","x"]}`
		noStaff = `{"deny":["staff","x"]}`
		found   = `{"allow":["found"]}`
		always  = `{"allow":["found"],"always_use_authenticated_groups":true}`
	)
	var (
		nobody    = who{}
		bob       = who{consumer: "c1", credential: "k"}
		loner     = who{consumer: "c2", credential: "k"}
		guest     = who{consumer: "guest"}
		stranger  = who{credential: "k"} // known to an auth plugin, but no consumer
		ldap      = who{found: plugin.NewGroups("found")}
		ldapGuest = who{consumer: "guest", found: plugin.NewGroups("found")}
		ldapBob   = who{consumer: "c1", credential: "k", found: plugin.NewGroups("found")}
		ldapKnown = who{credential: "k", found: plugin.NewGroups("found")}
		ldapLoner = who{found: plugin.NewGroups()}
	)
	tests := []struct {
		config string
		who    who
		want   int    // 0: let in
		told   string // the upstream
	}{
		{staff, nobody, 401, ""}, {noStaff, nobody, 401, ""},
		{staff, stranger, 403, ""}, {noStaff, stranger, 403, ""},
		{staff, bob, 0, "X-Consumer-Groups: admins, staff"}, {noStaff, bob, 403, ""},
		{staff, loner, 403, ""}, {noStaff, loner, 0, ""},
		{staff, guest, 403, ""}, {noStaff, guest, 0, "X-Consumer-Groups: public"}, {`{"allow":["public"]}`, guest, 0, "X-Consumer-Groups: public"},
		{`{"allow":["Staff"]}`, bob, 403, ""},
		{`{"allow":["staff"],"hide_groups_header":true}`, bob, 0, ""},
		{found, ldap, 0, "X-Authenticated-Groups: found"}, {staff, ldap, 403, ""}, {noStaff, ldap, 0, "X-Authenticated-Groups: found"},
		{found, ldapKnown, 0, "X-Authenticated-Groups: found"}, {staff, ldapLoner, 403, ""}, {noStaff, ldapLoner, 0, ""},
		{found, ldapGuest, 0, "X-Authenticated-Groups: found"}, {`{"allow":["public"]}`, ldapGuest, 403, ""},
		{found, ldapBob, 403, ""}, {staff, ldapBob, 0, "X-Consumer-Groups: admins, staff"},
		{always, ldapBob, 0, "X-Authenticated-Groups: found"}, {always, bob, 403, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %+v", tt.config, tt.who), func(t *testing.T) {
			ex := tt.who.exchange("X-Consumer-Groups", "staff", "x-authenticated-groups", "found")
			p := plugintest.Instance(t, plugintest.Env(nil), name, tt.config).(plugin.Accessor)
			verdict := p.Access(ex)
			if tt.want != 0 {
				message := map[int]string{401: "Unauthorized", 403: "You cannot consume this service"}[tt.want]
				want := "{\n  \"message\":\"" + message + "\",\n  \"request_id\":\"" + plugintest.RequestID + "\"\n}"
				if verdict != plugin.Stop || ex.Response.Status != tt.want || string(ex.Response.Body) != want {
					t.Errorf("%v %d %s, want %d", verdict, ex.Response.Status, ex.Response.Body, tt.want)
				}
				return
			}
			told := ""
			for _, field := range []string{consumerGroups, authenticatedGroups} {
				if ex.Request.Header.Has(field) {
					told += field + ": " + ex.Request.Header.Get(field)
				}
			}
			if verdict != plugin.Continue || told != tt.told {
				t.Errorf("%v %d, the upstream is told %q, want %q", verdict, ex.Response.Status, told, tt.told)
			}
		})
	}
}

// pass makes a function that sends the same request of a consumer in many groups
// again and again.
func pass(t testing.TB) func() {
	p := plugintest.Instance(t, plugintest.Env(nil), name, `{"allow":["a","b","c","d","g77"]}`).(plugin.Accessor)
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	d := plugintest.NewDirectory()
	d.AddGroups("c1", many...)
	ex := who{consumer: "c1", credential: "k"}.exchange("X-Consumer-Groups", "forged")
	ex.Directory = d
	return func() {
		if p.Access(ex) != plugin.Continue {
			t.Fatalf("refused: %s", ex.Response.Body)
		}
	}
}

func TestPassAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(200, pass(t)); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPass(b *testing.B) {
	run := pass(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}
