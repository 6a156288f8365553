package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/limiter/window"
)

// ErrNoBudget is wrapped by ParseBudget's error.
var ErrNoBudget = errors.New("not the id of a budget")

// keyDigits is how many hex digits a Key has.
const keyDigits = 32

// ID names the budget in URLs and in logs, the same on all nodes: the key in hex,
// the period's code, and the window's start, with dashes in between.
func (b Budget) ID() string {
	return fmt.Sprintf("%016x%016x-%s-%d", b.Key.Hi, b.Key.Lo, b.Period.Code(), b.Start)
}

// ParseBudget reads what ID gives.
func ParseBudget(id string) (Budget, error) {
	parts := strings.Split(id, "-")
	if len(parts) == 3 && len(parts[0]) == keyDigits {
		hi, err1 := strconv.ParseUint(parts[0][:keyDigits/2], 16, 64)
		lo, err2 := strconv.ParseUint(parts[0][keyDigits/2:], 16, 64)
		start, err3 := strconv.ParseInt(parts[2], 10, 64)
		p, ok := window.ParseCode(parts[1])
		b := Budget{Key: Key{Hi: hi, Lo: lo}, Period: p, Start: start}
		// Only one text is a budget's id.
		if _, there := b.Window(); errors.Join(err1, err2, err3) == nil && ok && there && b.ID() == id {
			return b, nil
		}
	}
	return Budget{}, fmt.Errorf("%w: %q", ErrNoBudget, id)
}
