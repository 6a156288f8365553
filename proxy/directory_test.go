package proxy

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestDirectoryGroups: the groups of a consumer follow the configuration, and
// asking for them again costs nothing.
func TestDirectoryGroups(t *testing.T) {
	w := newWorld(t)
	bob := w.newID()
	w.apply(w.op("consumers", object{"id": bob, "username": "bob"}))
	groups := func() string { return newDirectory(w.machine.View(), time.Now).Groups(bob).String() }
	if got := groups(); got != "" {
		t.Errorf("groups before there are any: %q", got)
	}
	for _, name := range []string{"staff", "admins"} {
		w.apply(w.op("acls", object{"consumer": object{"id": bob}, "group": name}))
	}
	if got := groups(); got != "admins, staff" {
		t.Errorf("groups: %q", got)
	}
	d := newDirectory(w.machine.View(), time.Now)
	for range 2 {
		if got := d.Groups("nobody").Len(); got != 0 {
			t.Errorf("nobody is in %d groups", got)
		}
	}
	if n := len(d.shards[shardOf("nobody")].groups); n != 0 {
		t.Error("the groups of who does not exist are remembered")
	}
	d.Groups(bob)
	if n := testing.AllocsPerRun(100, func() { d.Groups(bob) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDirectoryEntity(t *testing.T) {
	w := newWorld(t)
	id, other := w.newID(), w.newID()
	w.apply(w.op("consumers", object{"id": id, "username": other})) // a name that looks like another's id
	d := newDirectory(w.machine.View(), time.Now)
	if c, ok := d.Consumer(other); !ok || c.ID != id {
		t.Errorf("by name: %v", c)
	}
	if e, ok := d.Entity("consumers", other); ok {
		t.Errorf("an entity whose id this is not: %v", e.ID)
	}
	if e, ok := d.Entity("consumers", id); !ok || e.ID != id || len(e.Raw) == 0 {
		t.Errorf("by id: %v", e)
	}
}

// TestExchangeTells: what logs and templates want of a request that was sent.
func TestExchangeTells(t *testing.T) {
	w := newWorld(t)
	told := make(chan string, 1)
	w.hook("log", logHook(func(ex *plugin.Exchange) {
		told <- fmt.Sprint(ex.Captures.Captures()["word"], " ", ex.Upstream.Addr.IsValid(), " ", ex.Request.Received.Get("X-Hop"), " ", ex.Request.Header.Has("X-Hop"))
	}))
	w.plugin("test-low", "log", nil)
	w.behind(func(http.ResponseWriter, *http.Request) {})
	for e := range w.machine.View().All("services") {
		w.route(e.ID, object{"paths": []string{`~/say/(?<word>\w+)$`}})
	}
	w.get("/say/hello", "X-Hop", "1", "Connection", "X-Hop").want(t, 200, "")
	if got := <-told; got != "hello true 1 false" {
		t.Errorf("told: %s", got)
	}
}

// TestMethodChanged: a service that is asked with another method than the client
// used; an answer to HEAD has no body, whoever asked.
func TestMethodChanged(t *testing.T) {
	w := newWorld(t)
	w.hook("method", accessHook(func(ex *plugin.Exchange) plugin.Verdict {
		ex.Upstream.Method = ex.Request.Header.Get("X-Method")
		return plugin.Continue
	}))
	w.plugin("test-mid", "method", nil)
	w.behind(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Seen", r.Method)
		fmt.Fprint(rw, "five!")
	})
	for range 2 { // the second time on a kept connection
		for _, tt := range []struct{ sent, asked, body string }{
			{"GET", "POST", "five!"}, {"GET", "HEAD", ""}, {"HEAD", "GET", ""}, {"HEAD", "HEAD", ""}, {"POST", "GET", "five!"},
		} {
			a := w.do(tt.sent, "/r", nil, "X-Method", tt.asked)
			if a.StatusCode != 200 || a.body != tt.body || a.Header.Get("X-Seen") != tt.asked {
				t.Errorf("%s became %s: %d %q, the service saw %q", tt.sent, tt.asked, a.StatusCode, a.body, a.Header.Get("X-Seen"))
			}
		}
	}
}
