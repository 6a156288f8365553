package fsm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	idA = "11111111-1111-4111-8111-111111111111"
	idB = "22222222-2222-4222-8222-222222222222"
	idC = "33333333-3333-4333-8333-333333333333"
	idD = "44444444-4444-4444-8444-444444444444"
)

// log drives a machine as raft would: one command after another.
type log struct {
	t     *testing.T
	m     *Machine
	index uint64
}

func newLog(t *testing.T) *log {
	t.Helper()
	m, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &log{t: t, m: m}
}

func (l *log) apply(c *Command) *Result {
	l.t.Helper()
	data, err := c.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	l.index++
	return l.m.Apply(l.index, data)
}

func (l *log) write(ops ...Op) *Result {
	l.t.Helper()
	return l.apply(NewWrite("", 0, ops...))
}

func (l *log) must(ops ...Op) *Result {
	l.t.Helper()
	r := l.write(ops...)
	if r.Err != nil {
		l.t.Fatalf("write: %v", r.Err)
	}
	return r
}

func op(verb Verb, kind, id string, fields string) Op {
	raw := json.RawMessage(fmt.Sprintf(`{"id":%q%s}`, id, fields))
	if verb == Delete {
		raw = nil
	}
	return Op{Verb: verb, Kind: kind, ID: id, Raw: raw}
}

func TestWriteChecks(t *testing.T) {
	service := op(Create, "services", idA, `,"name":"s","host":"h"`)
	route := op(Create, "routes", idB, `,"name":"r","paths":["/"],"service":{"id":"`+idA+`"}`)
	consumer := op(Create, "consumers", idC, `,"username":"bob","custom_id":"7"`)
	certificate := op(Create, "certificates", idA, `,"cert":"c","key":"k"`)
	authority := op(Create, "ca_certificates", idB, `,"cert":"c","cert_digest":"d"`)
	sni := op(Create, "snis", idD, `,"name":"a.test","certificate":{"id":"`+idA+`"}`)
	secure := op(Create, "services", idD, `,"client_certificate":{"id":"`+idA+`"},"ca_certificates":["`+idB+`"]`)
	upstream := op(Create, "upstreams", idA, `,"name":"u"`)
	target := op(Create, "targets", idB, `,"target":"h:1","upstream":{"id":"`+idA+`"}`)
	app := op(Create, "oauth2_credentials", idA, `,"name":"n","client_id":"i","consumer":{"id":"`+idC+`"}`)
	token := op(Create, "oauth2_tokens", idB, `,"access_token":"a","refresh_token":null,"credential":{"id":"`+idA+`"}`)
	cases := []struct {
		name    string
		before  []Op
		op      Op
		code    Code
		message string
	}{
		{"create twice", []Op{service}, service, CodePrimaryKey, `primary key violation on key '{id="` + idA + `"}'`},
		{"name taken", []Op{service}, op(Create, "services", idD, `,"name":"s","host":"x"`), CodeUnique,
			`UNIQUE violation detected on '{name="s"}'`},
		{"null names never collide", []Op{op(Create, "services", idA, `,"name":null,"host":"h"`)},
			op(Create, "services", idD, `,"name":null,"host":"h"`), 0, ""},
		{"second unique field", []Op{consumer}, op(Create, "consumers", idD, `,"username":"eve","custom_id":"7"`), CodeUnique,
			`UNIQUE violation detected on '{custom_id="7"}'`},
		{"composite key with nulls", []Op{op(Create, "plugins", idA, `,"name":"jwt","route":null,"service":null,"consumer":null,"config":{}`)},
			op(Create, "plugins", idB, `,"name":"jwt","route":null,"service":null,"consumer":null,"config":{}`), CodeUnique,
			`UNIQUE violation detected on '{consumer=null,name="jwt",route=null,service=null}'`},
		{"dangling reference", nil, route, CodeForeignKey,
			`the foreign key '{id="` + idA + `"}' does not reference an existing 'services' entity.`},
		{"delete what is referenced", []Op{service, route}, op(Delete, "services", idA, ""), CodeForeignKey,
			`an existing 'routes' entity references this 'services' entity`},
		{"delete what is not there", nil, op(Delete, "services", idA, ""), 0, ""},
		{"update what is not there", nil, op(Update, "services", idA, `,"host":"h"`), CodeNotFound,
			`could not find the entity with primary key '{id="` + idA + `"}'`},
		{"put replaces", []Op{service}, op(Put, "services", idA, `,"name":"s2","host":"h"`), 0, ""},
		{"put if absent", []Op{service}, Op{Verb: Put, Kind: "services", ID: idA, Raw: service.Raw, IfAbsent: true}, CodePrimaryKey,
			`primary key violation on key '{id="` + idA + `"}'`},
		{"stale compare and set", []Op{service}, Op{Verb: Update, Kind: "services", ID: idA, Raw: service.Raw, IfIndex: 99}, CodeConflict,
			`services ` + idA + ` has modify index 1, not 99`},
		{"sni of no certificate", nil, sni, CodeForeignKey,
			`the foreign key '{id="` + idA + `"}' does not reference an existing 'certificates' entity.`},
		{"sni taken", []Op{certificate, sni}, op(Create, "snis", idC, `,"name":"a.test","certificate":{"id":"`+idA+`"}`), CodeUnique,
			`UNIQUE violation detected on '{name="a.test"}'`},
		{"client certificate that is not there", nil, secure, CodeForeignKey,
			`the foreign key '{id="` + idA + `"}' does not reference an existing 'certificates' entity.`},
		{"authority that is not there", []Op{certificate, authority}, op(Create, "services", idD, `,"ca_certificates":["`+idB+`","`+idC+`"]`),
			CodeForeignKey, `the foreign key '{id="` + idC + `"}' does not reference an existing 'ca_certificates' entity.`},
		{"authority twice in a list", []Op{authority}, op(Create, "services", idD, `,"ca_certificates":["`+idB+`","`+idB+`"]`), 0, ""},
		{"delete a client certificate", []Op{certificate, authority, sni, secure}, op(Delete, "certificates", idA, ""), CodeForeignKey,
			`an existing 'services' entity references this 'certificates' entity`},
		{"delete a listed authority", []Op{certificate, authority, secure}, op(Delete, "ca_certificates", idB, ""), CodeReferenced,
			`ca certificate ` + idB + ` is still referenced by services (id = ` + idD + `)`},
		{"delete an authority no longer listed", []Op{certificate, authority, secure, op(Update, "services", idD, `,"ca_certificates":null`)},
			op(Delete, "ca_certificates", idB, ""), 0, ""},
		{"same authority again", []Op{authority}, op(Create, "ca_certificates", idC, `,"cert":"x","cert_digest":"d"`), CodeUnique,
			`UNIQUE violation detected on '{cert_digest="d"}'`},
		{"target twice", []Op{upstream, target}, op(Create, "targets", idC, `,"target":"h:1","upstream":{"id":"`+idA+`"}`), CodeUnique,
			`UNIQUE violation detected on '{target="h:1",upstream={id="` + idA + `"}}'`},
		{"target of two upstreams", []Op{upstream, op(Create, "upstreams", idC, `,"name":"v"`), target},
			op(Create, "targets", idD, `,"target":"h:1","upstream":{"id":"`+idC+`"}`), 0, ""},
		{"group twice", []Op{consumer, op(Create, "acls", idA, `,"group":"g","consumer":{"id":"`+idC+`"}`)},
			op(Create, "acls", idB, `,"group":"g","consumer":{"id":"`+idC+`"}`), CodeUnique,
			`UNIQUE violation detected on '{consumer={id="` + idC + `"},group="g"}'`},
		{"key id twice, without a set", []Op{op(Create, "keys", idA, `,"kid":"1","set":null`)}, op(Create, "keys", idB, `,"kid":"1","set":null`),
			CodeUnique, `UNIQUE violation detected on '{kid="1",set=null}'`},
		{"key id in two sets", []Op{op(Create, "key_sets", idC, ""), op(Create, "keys", idA, `,"kid":"1","set":null`)},
			op(Create, "keys", idB, `,"kid":"1","set":{"id":"`+idC+`"}`), 0, ""},
		{"null tokens never collide", []Op{consumer, app, token}, op(Create, "oauth2_tokens", idD, `,"access_token":"b","refresh_token":null,"credential":{"id":"`+idA+`"}`), 0, ""},
		{"delete the certificate of an upstream", []Op{op(Create, "certificates", idB, ""), op(Create, "upstreams", idA, `,"client_certificate":{"id":"`+idB+`"}`)},
			op(Delete, "certificates", idB, ""), CodeForeignKey, `an existing 'upstreams' entity references this 'certificates' entity`},
		{"prefix of two vaults", []Op{op(Create, "vaults", idA, `,"prefix":"p"`)}, op(Create, "vaults", idB, `,"prefix":"p"`), CodeUnique,
			`UNIQUE violation detected on '{prefix="p"}'`},
		{"unknown kind", nil, op(Create, "spaceships", idA, ""), CodeRefused, `unknown command: kind "spaceships"`},
		{"unknown verb", nil, op("upset", "services", idA, ""), CodeRefused, `unknown command: verb "upset"`},
		{"id in the body differs", nil, Op{Verb: Create, Kind: "services", ID: idA, Raw: []byte(`{"id":"x"}`)}, CodeRefused,
			`malformed command: services has id "x" in its body and "` + idA + `" in its operation`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLog(t)
			if len(c.before) > 0 {
				l.must(c.before...)
			}
			before := l.bytes()
			r := l.write(c.op)
			if c.code == 0 {
				if r.Err != nil {
					t.Fatalf("refused: %v", r.Err)
				}
				return
			}
			if r.Err == nil || r.Err.Code != c.code || r.Err.Message != c.message {
				t.Fatalf("got %+v, want code %d and %q", r.Err, c.code, c.message)
			}
			if l.m.ConfigIndex() == l.index {
				t.Error("a refused write moved the config index")
			}
			if after := l.bytes(); !bytes.Equal(entityRecords(t, before), entityRecords(t, after)) {
				t.Error("a refused write changed the state")
			}
		})
	}
}

func TestWriteIsAllOrNothing(t *testing.T) {
	l := newLog(t)
	r := l.write(op(Create, "services", idA, `,"name":"s","host":"h"`), op(Create, "services", idB, `,"name":"s","host":"h"`))
	if r.Err == nil || r.Err.Code != CodeUnique {
		t.Fatalf("got %+v", r.Err)
	}
	if l.m.View().Get("services", idA) != nil {
		t.Fatal("half a write is there")
	}
}

// TestCertificateTakesItsSNIs: a delete takes the names along, or, where a service needs the certificate,
// nothing at all.
func TestCertificateTakesItsSNIs(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "certificates", idA, `,"cert":"c","key":"k"`),
		op(Create, "snis", idB, `,"name":"a.test","certificate":{"id":"`+idA+`"}`),
		op(Create, "services", idC, `,"client_certificate":{"id":"`+idA+`"}`))
	if r := l.write(op(Delete, "certificates", idA, "")); r.Err == nil || l.m.View().Lookup("snis", "a.test") == nil {
		t.Fatalf("got %+v, and the name is %v", r.Err, l.m.View().Lookup("snis", "a.test"))
	}
	l.must(op(Delete, "services", idC, ""), op(Delete, "certificates", idA, ""))
	if l.m.View().Lookup("snis", "a.test") != nil {
		t.Error("a name survived its certificate")
	}
}

// TestCertificateHidesItsKey: no way of printing a certificate shows its keys.
func TestCertificateHidesItsKey(t *testing.T) {
	c := Certificate{ID: idA, Cert: "cert", Key: "secret", KeyAlt: "secret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, &c, []*Certificate{&c}, map[string]any{"c": c}} {
			if text := fmt.Sprintf(verb, v); bytes.Contains([]byte(text), []byte("secret")) {
				t.Errorf("%s of %T: %s", verb, v, text)
			}
		}
	}
}

func TestDeleteCascades(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "services", idA, `,"name":"s","host":"h"`),
		op(Create, "routes", idB, `,"name":"r","service":{"id":"`+idA+`"}`),
		op(Create, "consumers", idC, `,"username":"bob"`),
		op(Create, "jwt_secrets", idD, `,"key":"k","consumer":{"id":"`+idC+`"}`))
	// Scoped to both, the plugin is met twice by a delete of the consumer and once of the route.
	l.must(op(Create, "plugins", idD, `,"name":"rate-limiting","route":{"id":"`+idB+`"},"service":null,"consumer":{"id":"`+idC+`"},"config":{}`))
	l.must(op(Delete, "consumers", idC, ""))
	v := l.m.View()
	for kind, id := range map[string]string{"consumers": idC, "jwt_secrets": idD, "plugins": idD} {
		if v.Get(kind, id) != nil {
			t.Errorf("%s survived its consumer", kind)
		}
	}
	if v.Lookup("jwt_secrets", "k") != nil {
		t.Error("the key of a deleted credential is still found")
	}
	if v.Lookup("routes", "r") == nil {
		t.Error("the route went with a consumer it has nothing to do with")
	}
}

func TestViewsDoNotChange(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "services", idA, `,"name":"old","host":"h"`))
	before := l.m.View()
	l.must(op(Update, "services", idA, `,"name":"new","host":"h"`))
	l.must(op(Delete, "services", idA, ""))
	if e := before.Lookup("services", "old"); e == nil || e.Value.(*Service).Name != "old" {
		t.Fatalf("an old view lost its service: %+v", e)
	}
	if l.m.View().Get("services", idA) != nil {
		t.Fatal("the new view kept it")
	}
}

func TestRepeatedRequestIsDoneOnce(t *testing.T) {
	l := newLog(t)
	c := NewWrite("req-1", 0, op(Create, "services", idA, `,"name":"s","host":"h"`))
	first, second := l.apply(c), l.apply(c)
	if second.Err != nil || second.Index != first.Index || len(second.Entities) != 1 || second.Entities[0].ID != idA {
		t.Fatalf("repeat answered %+v, first was %+v", second, first)
	}
	refusedOnce := NewWrite("req-2", 0, op(Create, "services", idB, `,"name":"s","host":"h"`))
	first = l.apply(refusedOnce)
	l.must(op(Delete, "services", idA, ""))
	second = l.apply(refusedOnce)
	if second.Err == nil || second.Err.Code != CodeUnique || second.Index != first.Index {
		t.Fatalf("a refused request was done after all: %+v", second)
	}
}

func TestRequestsAreForgottenInOrder(t *testing.T) {
	r := newRequests()
	for i := range requestsKept + 3 {
		r.remember(&request{ID: fmt.Sprint(i), Index: uint64(i)})
	}
	if _, ok := r.find("2"); ok {
		t.Error("the oldest is still remembered")
	}
	if _, ok := r.find("3"); !ok {
		t.Error("one too many was forgotten")
	}
	all := r.all()
	if len(all) != requestsKept || all[0].ID != "3" || all[len(all)-1].ID != fmt.Sprint(requestsKept+2) {
		t.Errorf("kept %d, from %s to %s", len(all), all[0].ID, all[len(all)-1].ID)
	}
}

func TestExpiredCredentials(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "consumers", idC, `,"username":"bob"`))
	cred := op(Create, "keyauth_credentials", idA, `,"key":"k","consumer":{"id":"`+idC+`"}`)
	cred.ExpiresAt = 100
	l.must(cred)
	again := op(Create, "keyauth_credentials", idB, `,"key":"k","consumer":{"id":"`+idC+`"}`)
	if r := l.apply(NewWrite("", 99, again)); r.Err == nil || r.Err.Code != CodeUnique {
		t.Fatalf("a live key was taken over: %+v", r.Err)
	}
	if r := l.apply(NewWrite("", 100, again)); r.Err != nil {
		t.Fatalf("an expired key was not free: %v", r.Err)
	}
	if l.m.View().Get("keyauth_credentials", idA) != nil {
		t.Error("the expired credential is still there")
	}
}

func TestExpiredAreRemovedInBoundedWork(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "consumers", idC, `,"username":"bob"`))
	for i := range 3 * expiredPerWrite {
		id := fmt.Sprintf("55555555-5555-4555-8555-%012d", i)
		cred := op(Create, "keyauth_credentials", id, fmt.Sprintf(`,"key":"k%d","consumer":{"id":"%s"}`, i, idC))
		cred.ExpiresAt = int64(10 + i)
		l.must(cred)
	}
	count := func() (n int) {
		for range l.m.View().All("keyauth_credentials") {
			n++
		}
		return n
	}
	for _, want := range []int{2 * expiredPerWrite, expiredPerWrite, 0, 0} {
		l.apply(NewWrite("", 1_000_000, op(Delete, "services", idD, "")))
		if got := count(); got != want {
			t.Fatalf("%d are left, want %d", got, want)
		}
	}
}

func TestMalformedCommandsChangeNothing(t *testing.T) {
	for _, data := range []string{"", "{", `{"v":1,"t":2}`, `{"v":1,"t":77}`, `{"v":9,"t":2,"write":{"ops":[]}}`} {
		l := newLog(t)
		r := l.m.Apply(1, []byte(data))
		if r.Err == nil || r.Err.Code != CodeRefused {
			t.Errorf("%q: got %+v", data, r.Err)
		}
		if l.m.Index() != 1 {
			t.Errorf("%q: the index stayed behind", data)
		}
	}
	l := newLog(t)
	if r := l.m.Apply(1, []byte(`{"v":1,"t":129}`)); r.Err != nil {
		t.Errorf("an ignorable command was refused: %v", r.Err)
	}
}

func TestBarrierMovesOnlyTheIndex(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "services", idA, `,"name":"s","host":"h"`))
	changed := l.m.Changed()
	if r := l.apply(NewBarrier()); r.Err != nil || r.Index != 2 {
		t.Fatalf("got %+v", r)
	}
	select {
	case <-changed:
		t.Error("a barrier is a change of entities")
	default:
	}
	if l.m.Index() != 2 || l.m.ConfigIndex() != 1 {
		t.Errorf("index %d, config index %d", l.m.Index(), l.m.ConfigIndex())
	}
}

func TestClusterIDIsGivenOnce(t *testing.T) {
	l := newLog(t)
	l.apply(NewInit("one"))
	l.apply(NewInit("two"))
	if got := l.m.ClusterID(); got != "one" {
		t.Fatalf("cluster id is %q", got)
	}
}

func TestWaitAndChanged(t *testing.T) {
	l := newLog(t)
	changed := l.m.Changed()
	done := make(chan error, 1)
	go func() { done <- l.m.Wait(t.Context(), 2) }()
	l.apply(NewInit("x"))
	select {
	case <-changed:
		t.Fatal("a command without entities woke Changed")
	default:
	}
	l.must(op(Create, "services", idA, `,"name":"s","host":"h"`))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-changed
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("too late"))
	defer cancel()
	if err := l.m.Wait(ctx, 99); err == nil {
		t.Fatal("waited for an entry that never came")
	}
}

func BenchmarkApplyRoute(b *testing.B) {
	m, err := New(nil)
	if err != nil {
		b.Fatal(err)
	}
	cmds := make([][]byte, b.N)
	for i := range cmds {
		id := fmt.Sprintf("55555555-5555-4555-8555-%012d", i)
		c := NewWrite(id, 0, op(Create, "routes", id, fmt.Sprintf(`,"name":"r%d","paths":["/p%d"],"protocols":["http","https"]`, i, i)))
		if cmds[i], err = c.Encode(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, data := range cmds {
		if r := m.Apply(uint64(i+1), data); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	m, err := New(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := NewWrite("", 0, op(Create, "consumers", idC, `,"username":"bob"`), op(Create, "keyauth_credentials", idA, `,"key":"k","consumer":{"id":"`+idC+`"}`))
	data, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	m.Apply(1, data)
	v := m.View()
	b.ReportAllocs()
	for b.Loop() {
		if v.Lookup("keyauth_credentials", "k") == nil {
			b.Fatal("not found")
		}
	}
}

// TestVersionsOfKinds: a kind has a new version after a command that changed it,
// also by a cascade, and after a restore; no other command gives it one.
func TestVersionsOfKinds(t *testing.T) {
	l := newLog(t)
	kinds := []string{"services", "routes", "consumers"}
	versions := func() (all []uint64) {
		for _, kind := range kinds {
			all = append(all, l.m.View().Version(kind))
		}
		return all
	}
	last := versions()
	expect := func(what string, changed ...string) {
		t.Helper()
		now := versions()
		for i, kind := range kinds {
			if (now[i] != last[i]) != slices.Contains(changed, kind) {
				t.Errorf("%s: %s went from %d to %d", what, kind, last[i], now[i])
			}
		}
		last = now
	}
	l.must(op(Create, "services", idA, `,"name":"a","host":"h"`))
	expect("a service", "services")
	l.must(op(Create, "consumers", idB, `,"username":"b"`))
	expect("a consumer", "consumers")
	l.apply(NewWrite("", 0, op(Create, "consumers", idB, `,"username":"b"`)))
	expect("a refused command")
	l.apply(NewBarrier())
	expect("a barrier")
	l.must(op(Put, "services", idA, `,"name":"a","host":"g"`), op(Delete, "consumers", idB, ""))
	expect("two at once", "services", "consumers")
	if err := l.m.Restore(bytes.NewReader(l.bytes())); err != nil {
		t.Fatal(err)
	}
	expect("a restore", kinds...)
}

// TestEntitiesSince: what a view has and another had not, across a restore, too.
func TestEntitiesSince(t *testing.T) {
	l := newLog(t)
	last := l.m.View()
	expect := func(what string, want ...string) {
		t.Helper()
		now, got := l.m.View(), []string(nil)
		for was, is := range now.Entities("services").Since(last.Entities("services")) {
			told := ""
			if was != nil {
				told = was.Value.(*Service).Host
			}
			told += "->"
			if is != nil {
				told += is.Value.(*Service).Host
			}
			got = append(got, told)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		last = now
	}
	expect("nothing")
	l.must(op(Create, "services", idB, `,"name":"b","host":"b"`), op(Create, "services", idA, `,"name":"a","host":"a"`))
	expect("two", "->a", "->b")
	l.must(op(Create, "consumers", idB, `,"username":"b"`))
	expect("another kind")
	l.must(op(Put, "services", idA, `,"name":"a","host":"g"`))
	expect("a change", "a->g")
	l.must(op(Delete, "services", idB, ""))
	expect("a deletion", "b->")
	if err := l.m.Restore(bytes.NewReader(l.bytes())); err != nil {
		t.Fatal(err)
	}
	expect("a restore", "g->g")
	if got := l.m.View().Entities("unknown"); got != (Entities{}) {
		t.Errorf("an unknown kind has %v", got)
	}
}
