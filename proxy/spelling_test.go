package proxy

import (
	"net/textproto"
	"testing"
)

func TestSpellingsAreOfCanonicalNames(t *testing.T) {
	for name, wire := range spellings {
		if textproto.CanonicalMIMEHeaderKey(wire) != name || wire == name {
			t.Errorf("%s is written %s, which is another field or no other spelling", name, wire)
		}
	}
	if spelled("X-Real-Ip") != "X-Real-IP" || spelled("Accept") != "Accept" {
		t.Error("a name is spelled wrong")
	}
}
