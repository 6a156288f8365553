package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm"
)

func TestUpstreams(t *testing.T) {
	h := newHarness(t, nil)
	h.run(script{
		{"POST", "/upstreams", "name=u", 201, `"algorithm":"round-robin"`},
		{"PUT", "/upstreams/v", "hash_on=ip&hash_fallback=consumer", 200, `"algorithm":"consistent-hashing"`},
		{"PATCH", "/upstreams/v", "algorithm=least-connections&hash_fallback=none", 200, `"hash_on":"none"`},
		{"PATCH", "/upstreams/v", "hash_on=", 200, `"hash_on":"none"`},
		{"POST", "/upstreams", "name=u", 409, `UNIQUE violation detected on '{name=\"u\"}'`},
		{"GET", "/upstreams/u.test", "", 404, "Not found"},
		{"GET", "/upstreams/1.2.3.4", "", 400, `"name":"invalid unique name"`},
		{"PATCH", "/upstreams/nope", "slots=10", 404, `could not find the entity with '{name=\"nope\"}'`},
		{"DELETE", "/upstreams/nope", "", 204, ""},
		{"GET", "/targets", "", 404, "Not found"},
		{"GET", "/targets/" + someID, "", 404, "Not found"},
		{"GET", "/targets/" + someID + "/upstream", "", 404, "Not found"},
		{"POST", "/upstreams/nope/targets", "target=h", 404, "Not found"},
		{"GET", "/upstreams/nope/targets", "", 404, "Not found"},
		{"GET", "/upstreams/nope/targets/all", "", 404, "Not found"},
		{"GET", "/upstreams/nope/health", "", 404, "Not found"},
		{"GET", "/upstreams/nope/health?balancer_health=1", "", 404, "Not found"},
		{"POST", "/upstreams/u/targets", "target=h&id=" + someID, 201, `"target":"h:8000"`},
		{"POST", "/upstreams/v/targets", "target=h", 201, `"target":"h:8000"`},
		{"GET", "/upstreams/v/targets/" + someID, "", 404, "Not found"},
		{"GET", "/upstreams/u/targets/" + strings.ToUpper(someID), "", 200, someID},
		{"GET", "/upstreams/u/targets/h%3A8000", "", 200, someID},
		{"GET", "/upstreams/u/targets/h", "", 404, "Not found"},
		{"PATCH", "/upstreams/u/targets/h:8000", "weight=0&tags=a", 200, `"weight":0`},
		{"PUT", "/upstreams/u/targets/" + someID, "target=::1", 200, `"target":"[0000:0000:0000:0000:0000:0000:0000:0001]:8000"`},
		{"GET", "/upstreams/u/targets/" + someID, "", 200, `"weight":0`}, // a PUT changes what it names, no more
		{"PATCH", "/upstreams/u/targets/h:8000", "weight=1", 404, "Not found"},
		{"PUT", "/upstreams/u/targets/" + otherID, "target=h", 404, "Not found"},
		{"GET", "/upstreams/u/targets", "", 200, someID},
		{"GET", "/upstreams/u/targets/all?tags=a", "", 200, someID},
		{"GET", "/upstreams/u/targets?tags=b", "", 200, `{"data":[],"next":null}`},
		{"GET", "/upstreams/u/targets?offset=x", "", 400, `'x' is not a valid offset`},
		{"GET", "/upstreams/u/targets?offset=-1", "", 400, `"code":7`},
		{"GET", "/upstreams/u/targets?offset=9", "", 200, `{"data":[],"next":null}`},
		{"GET", "/upstreams/u/targets?size=0", "", 400, `"code":9`},
		{"POST", "/upstreams/u/targets/all", "", 405, "Method not allowed"},
		{"PUT", "/upstreams/u/targets/" + someID + "/healthy", "", 204, ""},
		{"PUT", "/upstreams/u/targets/" + someID + "/unhealthy", "", 204, ""},
		{"PUT", "/upstreams/v/targets/h:8000/1.2.3.4:8000/unhealthy", "", 204, ""},
		{"PUT", "/upstreams/v/targets/h:8000/a%20b/unhealthy", "", 404, "Not found"},
		{"PUT", "/upstreams/v/targets/nope:1/healthy", "", 404, "Not found"},
		{"PUT", "/upstreams/v/targets/" + someID + "/healthy", "", 404, "Not found"},
		{"POST", "/upstreams/u/targets/" + someID + "/healthy", "", 405, "Method not allowed"},
		{"DELETE", "/upstreams/v/targets/h:8000", "", 204, ""},
		{"DELETE", "/upstreams/v/targets/h:8000", "", 404, "Not found"},
		{"DELETE", "/upstreams/u", "", 204, ""},
	})
	if n := len(h.get("/tags").fields(t)["data"].([]any)); n != 0 {
		t.Errorf("%d tags are left of a target that is gone", n)
	}
}

// Pages of targets begin with the newest, whatever the order of ids.
func TestTargetPages(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/upstreams", "name=u&id="+someID)
	var want []string
	for i := range 5 {
		h.advance(time.Millisecond)
		id := fmt.Sprintf("%d0000000-0000-4000-8000-000000000000", []int{3, 9, 1, 7, 5}[i])
		h.must(201, "POST", "/upstreams/u/targets", fmt.Sprintf("target=h%d&id=%s", i, id))
		want = append([]string{id}, want...)
	}
	for _, path := range []string{"/upstreams/u/targets?size=2", "/upstreams/u/health?size=2"} {
		var got []string
		next := path
		for pages := 0; next != "" && pages < 9; pages++ {
			page := h.get(next)
			if ids := page.ids(t); len(ids) > 2 {
				t.Errorf("%s: %d targets", next, len(ids))
			}
			got = append(got, page.ids(t)...)
			next, _ = page.fields(t)["next"].(string)
			if _, more := page.fields(t)["offset"]; more != (next != "") {
				t.Errorf("offset and next do not agree: %s", page.body)
			}
			if next != "" {
				next += "&size=2"
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	page := h.get("/upstreams/u/targets/all?size=3")
	if next := page.fields(t)["next"].(string); !strings.HasPrefix(next, "/upstreams/"+someID+"/targets/all?offset=") || len(h.get(next).ids(t)) != 2 {
		t.Errorf("all: %s", page.body)
	}
}

func TestUpstreamHealth(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/upstreams", "name=u&id="+someID)
	h.must(201, "POST", "/upstreams/u/targets", "target=10.0.0.1:80&id="+someID)
	sameJSON(t, []byte(`{"data":[{
		"created_at":1795447786,"updated_at":1795447786,"id":"`+someID+`","tags":null,"target":"10.0.0.1:80","upstream":{"id":"`+someID+`"},"weight":100,
		"health":"HEALTHCHECKS_OFF",
		"data":{"addresses":[{"health":"HEALTHCHECKS_OFF","ip":"10.0.0.1","port":80,"weight":100}],"dns":"ttl=0, virtual SRV","host":"10.0.0.1",
			"port":80,"nodeWeight":100,"weight":{"available":100,"total":100,"unavailable":0}}}],
		"next":null,"node_id":"`+nodeID+`"}`), h.get("/upstreams/u/health").body)
	h.must(201, "POST", "/upstreams/u/targets", "target=h.test&weight=5&id="+otherID)
	sameJSON(t, []byte(`{"data":{"id":"`+someID+`","health":"HEALTHCHECKS_OFF","details":{"weight":{"available":105,"total":105,"unavailable":0},"hosts":[
		{"addresses":[{"health":"HEALTHCHECKS_OFF","ip":"10.0.0.1","port":80,"weight":100}],"dns":"ttl=0, virtual SRV","host":"10.0.0.1",
			"port":80,"nodeWeight":100,"weight":{"available":100,"total":100,"unavailable":0}},
		{"addresses":[],"dns":null,"host":"h.test","port":8000,"nodeWeight":5,"weight":{"available":5,"total":5,"unavailable":0}}]}},
		"next":null,"node_id":"`+nodeID+`"}`), h.get("/upstreams/u/health?balancer_health=1").body)
}

// What is stored and not used yet says so.
func TestUpstreamWarnings(t *testing.T) {
	h := newHarness(t, nil)
	for _, step := range [][2]string{
		{"/upstreams", "name=u"}, {"/upstreams/u/targets", "target=h"},
	} {
		if r := h.must(201, "POST", step[0], step[1]); r.header.Get(headerWarning) != msgNotBalanced {
			t.Errorf("%s: %v", step[0], r.header)
		}
	}
	if r := h.do("PUT", "/upstreams/u/targets/h:8000/healthy", "", ""); r.header.Get(headerWarning) != msgNoHealth {
		t.Errorf("healthy: %v", r.header)
	}
	if r := h.must(201, "POST", "/services", "name=s&host=u"); r.header.Get(headerWarning) != "" {
		t.Errorf("a service: %v", r.header)
	}
}

// Writers that make one target or one group at once make one.
func TestConcurrentNested(t *testing.T) {
	cases := []struct {
		name, parent, parentBody string
		method, path, body       string
		others                   int // the status of all but the first
		list                     string
	}{
		{"targets", "/upstreams", "name=u", "POST", "/upstreams/u/targets", "target=h", http.StatusConflict, "/upstreams/u/targets"},
		{"groups", "/consumers", "username=c", "POST", "/consumers/c/acls", "group=g", http.StatusConflict, "/acls"},
		{"groups by name", "/consumers", "username=c", "PUT", "/consumers/c/acls/g", "", http.StatusOK, "/acls"},
		{"keys by name", "/key-sets", "name=k", "PUT", "/key-sets/k/keys/n", `kid=1&jwk={vault://env/j}`, http.StatusOK, "/keys"},
		{"vaults by prefix", "/consumers", "username=c", "PUT", "/vaults/my-env", "name=env", http.StatusOK, "/vaults"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.must(201, "POST", c.parent, c.parentBody)
			const writers = 8
			together := newRendezvous(writers)
			h.cluster.before = func(*fsm.Command) error { together.wait(); return nil }
			statuses := make(chan int, writers)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() { statuses <- h.form(c.method, c.path, c.body).status })
			}
			wg.Wait()
			close(statuses)
			first := 0
			for status := range statuses {
				switch {
				case status == c.others && (c.others == http.StatusConflict || first >= 0):
				case status == http.StatusCreated && first == 0:
					first++
				default:
					t.Errorf("status %d", status)
				}
			}
			if all := h.get(c.list).ids(t); len(all) != 1 {
				t.Errorf("%d entities", len(all))
			}
		})
	}
}

// Writers that patch one target each a field of their own do not undo each other.
func TestConcurrentTargetPatches(t *testing.T) {
	h := newHarness(t, nil)
	h.must(201, "POST", "/upstreams", "name=u")
	h.must(201, "POST", "/upstreams/u/targets", "target=h&id="+someID)
	together := newRendezvous(2)
	h.cluster.before = func(*fsm.Command) error { together.wait(); return nil }
	var wg sync.WaitGroup
	for _, body := range []string{"weight=7", "tags=a"} {
		wg.Go(func() {
			if r := h.form("PUT", "/upstreams/u/targets/h:8000", body); r.status != 200 {
				t.Errorf("%s: %d %s", body, r.status, r.body)
			}
		})
	}
	wg.Wait()
	got := h.get("/upstreams/u/targets/" + someID).fields(t)
	if got["weight"] != 7.0 || cmp.Diff([]any{"a"}, got["tags"]) != "" {
		t.Errorf("%v", got)
	}
}
