package fsm

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A view of an entity with secrets must not print them, whatever it is printed with.
func TestViewsKeepSecrets(t *testing.T) {
	const secret = "sEcReT"
	// secrets that Kong's schemas do not mark as encrypted
	more := map[string]string{
		"jwt_secrets": "secret", "keyauth_credentials": "key", "hmacauth_credentials": "secret",
		"oauth2_tokens": "access_token refresh_token", "vaults": "config", "keys": "pem",
	}
	found := 0
	for _, def := range Definitions() {
		view := reflect.ValueOf(def.newView()).Elem()
		for i := range view.NumField() {
			name := view.Type().Field(i).Tag.Get("json")
			f := def.Schema.Field(name)
			if f == nil || !f.Encrypted && !slices.Contains(strings.Fields(more[def.Kind]), name) {
				continue
			}
			found++
			switch value := view.Field(i); value.Kind() {
			case reflect.String:
				value.SetString(secret)
			case reflect.Map:
				value.Set(reflect.ValueOf(map[string]any{"x": secret}))
			default:
				value.Set(reflect.ValueOf(&PEM{PrivateKey: secret, PublicKey: secret}))
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			for _, v := range []any{view.Interface(), view.Addr().Interface()} {
				if text := fmt.Sprintf(verb, v); strings.Contains(text, secret) {
					t.Errorf("%s of %T: %s", verb, v, text)
				}
			}
		}
	}
	if found < 12 {
		t.Errorf("%d secrets: the test is not looking", found)
	}
	if text := fmt.Sprintf("%v %+v %#v", PEM{PrivateKey: secret}, &PEM{PrivateKey: secret}, PEM{PublicKey: secret}); strings.Contains(text, secret) {
		t.Error(text)
	}
}

// What belongs to an entity goes with it.
func TestCascades(t *testing.T) {
	consumer := `,"consumer":{"id":"` + idA + `"}`
	all := []Op{
		op(Create, "consumers", idA, `,"username":"bob"`),
		op(Create, "basicauth_credentials", idA, `,"username":"u","password":"p"`+consumer),
		op(Create, "hmacauth_credentials", idA, `,"username":"u","secret":"s"`+consumer),
		op(Create, "acls", idA, `,"group":"g"`+consumer),
		op(Create, "oauth2_credentials", idA, `,"client_id":"c"`+consumer),
		op(Create, "services", idA, `,"host":"h"`),
		op(Create, "oauth2_tokens", idA, `,"access_token":"a","service":{"id":"`+idA+`"},"credential":{"id":"`+idA+`"}`),
		op(Create, "upstreams", idA, `,"name":"u"`),
		op(Create, "targets", idA, `,"target":"h:1","created_at":1.5,"upstream":{"id":"`+idA+`"}`),
		op(Create, "key_sets", idA, `,"name":"k"`),
		op(Create, "keys", idA, `,"kid":"1","set":{"id":"`+idA+`"},"pem":{"public_key":"p"}`),
	}
	for owner, gone := range map[string][]string{
		"consumers": {"basicauth_credentials", "hmacauth_credentials", "acls", "oauth2_credentials", "oauth2_tokens"},
		"services":  {"oauth2_tokens"},
		"upstreams": {"targets"},
		"key_sets":  {"keys"},
	} {
		l := newLog(t)
		l.must(all...)
		l.must(Op{Verb: Delete, Kind: owner, ID: idA})
		for _, o := range all {
			left := l.m.View().Get(o.Kind, idA) != nil
			if want := o.Kind != owner && !slices.Contains(gone, o.Kind); left != want {
				t.Errorf("DELETE of %s: %s is there: %v", owner, o.Kind, left)
			}
		}
	}
}

func TestLookupNested(t *testing.T) {
	l := newLog(t)
	l.must(op(Create, "upstreams", idA, `,"name":"u"`), op(Create, "upstreams", idB, `,"name":"v"`),
		op(Create, "targets", idC, `,"target":"h:1","upstream":{"id":"`+idA+`"}`),
		op(Create, "targets", idD, `,"target":"h:1","upstream":{"id":"`+idB+`"}`))
	v := l.m.View()
	for owner, want := range map[string]string{idA: idC, idB: idD} {
		if e := v.LookupNested("targets", owner, "h:1"); e == nil || e.ID != want {
			t.Errorf("%s: %v, want %s", owner, e, want)
		}
	}
	for _, c := range [][3]string{
		{"targets", idA, "h:2"}, {"targets", idA, ""}, {"targets", "", "h:1"}, {"services", idA, "u"}, {"spaceships", idA, "u"},
	} {
		if e := v.LookupNested(c[0], c[1], c[2]); e != nil {
			t.Errorf("%v: %v", c, e)
		}
	}
}
