package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/fsm/schema"
)

// fill makes a service with n routes, every second of them tagged "even", and n consumers. It gives the ids
// of the routes in order.
func (h *harness) fill(n int) []string {
	h.t.Helper()
	h.must(http.StatusCreated, http.MethodPost, "/services", "name=s&host=h.test")
	var ids []string
	for i := range n {
		tags := "tags=all"
		if i%2 == 0 {
			tags += "&tags=even"
		}
		r := h.must(http.StatusCreated, http.MethodPost, "/services/s/routes", fmt.Sprintf("name=r%d&paths=/%d&%s", i, i, tags))
		ids = append(ids, r.fields(h.t)["id"].(string))
		h.must(http.StatusCreated, http.MethodPost, "/consumers", fmt.Sprintf("username=u%d&tags=c%%20d", i))
	}
	slices.Sort(ids)
	return ids
}

// walk follows a collection to its end, by offset or by next, and gives the ids (or entity ids) seen.
func (h *harness) walk(path, size, extra string, followNext bool) []string {
	h.t.Helper()
	ids := []string{}
	at := path + "?size=" + size + extra
	for range 1000 {
		r := h.get(at)
		if r.status != http.StatusOK {
			h.t.Fatalf("%s: %d %s", at, r.status, r.body)
		}
		fields := r.fields(h.t)
		for _, entry := range fields["data"].([]any) {
			entity := entry.(map[string]any)
			if id, ok := entity["entity_id"]; ok {
				entity["id"] = id
			}
			ids = append(ids, entity["id"].(string))
		}
		offset, more := fields["offset"].(string)
		if !more {
			if fields["next"] != nil {
				h.t.Fatalf("%s: next %v without an offset", at, fields["next"])
			}
			return ids
		}
		at = path + "?size=" + size + "&offset=" + url.QueryEscape(offset) + extra
		if followNext {
			at = fields["next"].(string)
		}
	}
	h.t.Fatalf("%s has no end", path)
	return nil
}

func TestWalk(t *testing.T) {
	h := newHarness(t, nil)
	routes := h.fill(7)
	var even []string
	for e := range h.api.view().Tagged("routes", "even") {
		even = append(even, e.ID)
	}
	slices.Sort(even)
	cases := []struct {
		name, path, extra string
		want              []string
	}{
		{"all", "/routes", "", routes},
		{"nested by name", "/services/s/routes", "", routes},
		{"all of two tags", "/routes", "&tags=all,even", even},
		{"any of two tags", "/routes", "&tags=even/none", even},
		{"any, both on the same", "/routes", "&tags=even/all", routes},
		{"no such tag", "/routes", "&tags=none", []string{}},
		{"nested with tags", "/services/s/routes", "&tags=even", even},
		{"of one tag", "/tags/even", "", even},
	}
	for _, c := range cases {
		for _, size := range []string{"1", "2", "7", "1000"} {
			for _, followNext := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s %v", c.name, size, followNext), func(t *testing.T) {
					if diff := cmp.Diff(c.want, h.walk(c.path, size, c.extra, followNext)); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
	if got := h.walk("/tags", "1", "", true); len(got) != 7+4+7 {
		t.Errorf("/tags has %d rows, want 18", len(got))
	}
}

// A page begins behind the last entity of the one before, even if that one is gone since.
func TestWalkWhileDeleting(t *testing.T) {
	h := newHarness(t, nil)
	routes := h.fill(5)
	fields := h.get("/routes?size=2").fields(t)
	h.must(http.StatusNoContent, http.MethodDelete, "/routes/"+routes[1], "")
	rest := h.get("/routes?offset=" + fields["offset"].(string)).ids(t)
	if diff := cmp.Diff(routes[2:], rest); diff != "" {
		t.Error(diff)
	}
}

func TestPageErrors(t *testing.T) {
	h := newHarness(t, nil)
	size := `{"code":9,"name":"invalid size","message":"size must be an integer between 1 and 1000"}`
	number := `{"code":9,"name":"invalid size","message":"size must be a number"}`
	offset := func(token, why string) string {
		return fmt.Sprintf(`{"code":7,"name":"invalid offset","message":"'%s' is not a valid offset: bad %s encoding"}`, token, why)
	}
	tags := func(why string) string {
		return fmt.Sprintf(`{"code":11,"name":"invalid options","message":"invalid option (tags: %s)","options":{"tags":"%s"}}`, why, why)
	}
	cases := []struct{ query, want string }{
		{"size=0", size}, {"size=-1", size}, {"size=1001", size}, {"size=1.5", size}, {"size=1e9", size},
		{"size=abc", number}, {"size=", number}, {"size=NaN", size},
		{"offset=zzz", offset("zzz", "json")}, {"offset=!", offset("!", "base64")}, {"offset=", offset("", "json")},
		{"offset=" + formatOffset("a", "b"), offset(formatOffset("a", "b"), "json")},
		{"tags=", tags("cannot be null")}, {"tags=a,b/c", tags("invalid filter syntax")}, {"tags=a,", tags("invalid filter syntax")},
		{"tags=a%01", tags("invalid filter syntax")},
		{"tags=a,b,c,d,e,f", tags("cannot query more than 5 tags")},
	}
	for _, c := range cases {
		t.Run(c.query, func(t *testing.T) {
			r := h.get("/services?" + c.query)
			if r.status != http.StatusBadRequest {
				t.Errorf("status %d", r.status)
			}
			sameJSON(t, []byte(c.want), r.body)
		})
	}
	for _, query := range []string{"size=1", "size=1000", "size=10.0", "tags=a,b,c,d,e", "tags=a%20b/%C3%A9"} {
		if r := h.get("/services?" + query); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
	bad := h.get("/tags/a%2Fb")
	if bad.status != http.StatusBadRequest || bad.fields(t)["code"] != float64(codeInvalidUnique) {
		t.Errorf("a bad tag: %d %s", bad.status, bad.body)
	}
}

func FuzzOffset(f *testing.F) {
	for _, seed := range []string{"", "zzz", "WyJhIl0", "WyJhIl0=", formatOffset("a"), formatOffset("a", "b", "c"), "bnVsbA", "W251bGxd"} {
		f.Add(seed, "key")
	}
	f.Fuzz(func(t *testing.T, token, key string) {
		if keys, err := parseOffset(token, 1); err == nil && len(keys) != 1 {
			t.Fatalf("%q gave %q", token, keys)
		}
		keys, err := parseOffset(formatOffset(key, token), 2)
		if err != nil || len(keys) != 2 {
			t.Fatalf("(%q, %q) became %q: %v", key, token, keys, err)
		}
		if schema.ValidUTF8(key) == nil && keys[0] != key {
			t.Fatalf("%q became %q", key, keys[0])
		}
	})
}

func FuzzTags(f *testing.F) {
	for _, seed := range []string{"", "a", "a,b", "a/b", "a,b/c", ",", "/", "a,,b", "é", "\xff", "a,b,c,d,e,f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := parseTags(text)
		if err != nil {
			return
		}
		if len(filter.tags) == 0 || len(filter.tags) > maxTags {
			t.Fatalf("%q gave %d tags", text, len(filter.tags))
		}
		for _, tag := range filter.tags {
			if err := schema.ValidTag(tag); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}
