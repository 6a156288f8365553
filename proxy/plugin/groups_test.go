package plugin

import "testing"

func TestGroups(t *testing.T) {
	var none *Groups
	some, more := NewGroups("b", "a", "b"), NewGroups("c", "d", "a", "e")
	if none.String() != "" || some.String() != "a, b" || none.Len() != 0 || some.Len() != 2 {
		t.Errorf("%q, %q, %d, %d", none, some, none.Len(), some.Len())
	}
	tests := []struct {
		a, b *Groups
		want bool
	}{
		{none, none, false}, {none, some, false}, {NewGroups(), some, false}, {some, more, true}, {some, some, true},
		{some, NewGroups("c"), false}, {NewGroups("A"), some, false},
	}
	for _, tt := range tests {
		if tt.a.Meets(tt.b) != tt.want || tt.b.Meets(tt.a) != tt.want {
			t.Errorf("(%s) meets (%s): want %t", tt.a, tt.b, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { some.Meets(more) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
