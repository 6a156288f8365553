package ledger

import (
	"errors"
	"testing"

	"github.com/sluicegate/sluice/limiter/window"
)

func TestBudgetID(t *testing.T) {
	b := Budget{Key: Key{Hi: 0xabc, Lo: 1 << 63}, Period: window.Minute, Start: noon}
	const id = "0000000000000abc8000000000000000-minute-1781524800"
	if b.ID() != id {
		t.Errorf("ID %s", b.ID())
	}
	if got, err := ParseBudget(id); err != nil || got != b {
		t.Errorf("%+v, %v", got, err)
	}
	sliding, _ := window.Sliding(90)
	if c := (Budget{Period: sliding.Local(), Start: 5}); c.ID() != "00000000000000000000000000000000-local.sliding.90s-5" {
		t.Errorf("ID %s", c.ID())
	} else if got, err := ParseBudget(c.ID()); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{
		"", "x", id + "-", id + "1", "0000000000000ABC8000000000000000-minute-1781524800", "+" + id[1:],
		"0000000000000abc8000000000000000-eon-1781524800", "0000000000000abc8000000000000000-minute-1781524801",
		"0000000000000abc8000000000000000-minute--60", "0000000000000abc8000000000000000-second-99999999999",
		"0000000000000abc8000000000000000-minute-01781524800",
	} {
		if got, err := ParseBudget(wrong); !errors.Is(err, ErrNoBudget) {
			t.Errorf("%q is %+v, %v", wrong, got, err)
		}
	}
}
