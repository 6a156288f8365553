package ledger

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/limiter/window"
)

// topUp is one of a budget of the window that noon is in.
func topUp(id byte, key uint64, p window.Period, limit, tokens int64) TopUp {
	start := p.At(noon * Second).Start
	return TopUp{ID: OperationID{id}, Budget: Budget{Key: Key{Lo: key}, Period: p, Start: start}, Limit: Limit{Version: 1, Max: limit}, Tokens: tokens, Expect: -1}
}

// TestTopUp: tokens are added once for each operation, to pools that have some
// and to those of windows that were divided beforehand, and are granted then.
func TestTopUp(t *testing.T) {
	l := joined(3)
	send(l, batch("n1", 1, 1, hour(1, 10, 4)))
	sliding, _ := window.Sliding(60)
	late := topUp(6, 1, window.Minute, 5, 3)
	late.Budget.Start -= 60
	first, second := topUp(8, 1, window.Hour, 10, 1), topUp(9, 1, window.Hour, 10, 1)
	first.Expect, second.Expect = 7, 7
	for i, c := range []struct {
		topUp TopUp
		want  ToppedUp
	}{
		{topUp(1, 1, window.Hour, 10, 3), ToppedUp{Added: 3, Pool: 11}}, // 2 were granted of 10
		{topUp(1, 1, window.Hour, 10, 3), ToppedUp{Added: 3, Pool: 11, Repeated: true}},
		{topUp(2, 1, window.Hour, 10, 4), ToppedUp{Added: 7, Pool: 15}},
		{topUp(1, 1, window.Hour, 10, 3), ToppedUp{Added: 7, Pool: 15, Repeated: true}},
		{topUp(1, 1, window.Minute, 5, 3), ToppedUp{Added: 3, Pool: 3}}, // all 5 were divided
		{topUp(4, 2, window.Minute, 5, 0), ToppedUp{Refused: Malformed}},
		{topUp(4, 2, window.Minute, 5, MaxTokens), ToppedUp{Refused: TooLarge}},
		{topUp(5, 3, window.Month, 0, MaxTokens), ToppedUp{Added: MaxTokens, Pool: MaxTokens}},
		{late, ToppedUp{Refused: Expired}},
		{first, ToppedUp{Added: 8, Pool: 16}},
		{second, ToppedUp{Added: 8, Pool: 16, Refused: Changed}},
		{first, ToppedUp{Added: 8, Pool: 16, Repeated: true}},
		{topUp(7, 1, sliding, 5, 1), ToppedUp{Refused: Malformed}},
		{topUp(7, 1, window.Minute.Local(), 5, 1), ToppedUp{Refused: Malformed}},
		{topUp(7, 1, window.InFlight, 5, 1), ToppedUp{Refused: Malformed}},
	} {
		c.want.Budget = c.topUp.Budget
		got := l.Apply(&Entry{TopUps: []TopUp{c.topUp}}).TopUps
		if d := cmp.Diff([]ToppedUp{c.want}, got); d != "" {
			t.Fatalf("step %d: %s", i, d)
		}
	}
	k := hour(1, 5, 9)
	k.Budget.Period, k.Waiting = window.Minute, 9
	if g := send(l, batch("n1", 1, 2, k)).Grants[0]; g != (Grant{Granted: 3}) {
		t.Errorf("of a pool that was empty: %+v", g)
	}
	if n := len(l.State().TopUps); n != 3 || l.toppedUp != 3 {
		t.Errorf("%d budgets topped up, counted %d", n, l.toppedUp)
	}
	l.Apply(&Entry{Stamp: (noon + 64) * Second})
	if b := topUp(1, 1, window.Minute, 5, 3).Budget; l.Added(b) != 0 || l.toppedUp != 2 {
		t.Errorf("after the window: %d added, %d budgets", l.Added(b), l.toppedUp)
	}
}

// TestTopUpNeedsRoom: a budget that is shared cannot be topped up, as others would
// have it as well; nor can any number of budgets.
func TestTopUpNeedsRoom(t *testing.T) {
	l := joined(1)
	l.maxOwn = 1
	send(l, batch("n1", 1, 1, hour(1, 10, 1), hour(2, 10, 1)))
	e := &Entry{TopUps: []TopUp{topUp(1, 1, window.Hour, 10, 1), topUp(1, 2, window.Hour, 10, 1), topUp(1, 3, window.Hour, 10, 1)}}
	for i, want := range []Refusal{NotRefused, Crowded, Crowded} {
		if got := l.Apply(e).TopUps[i].Refused; got != want {
			t.Errorf("key %d: refused %d, want %d", i+1, got, want)
		}
	}
	l = joined(1)
	for i := range uint64(maxToppedUp + 1) {
		r := l.Apply(&Entry{TopUps: []TopUp{topUp(1, i, window.Hour, 10, 1)}}).TopUps[0].Refused
		if (r == Crowded) != (i == maxToppedUp) {
			t.Fatalf("budget %d: refused %d", i+1, r)
		}
	}
	for i := range 2 * maxDone { // older operations are forgotten
		l.Apply(&Entry{TopUps: []TopUp{topUp(byte(i), 1, window.Hour, 10, 1)}})
	}
	if b := l.windows[0].bonuses[Key{Lo: 1}]; len(b.done) != maxDone || b.added != 2*maxDone {
		t.Errorf("%d operations, %d added", len(b.done), b.added)
	}
}

// TestSnapshotOfBefore: a snapshot without top-ups is as releases that know of
// none write and read it.
func TestSnapshotOfBefore(t *testing.T) {
	l := joined(2)
	send(l, batch("n1", 1, 1, hour(1, 10, 1)))
	before, _ := l.MarshalBinary()
	l.Apply(&Entry{TopUps: []TopUp{topUp(1, 1, window.Hour, 10, 1)}})
	after, _ := l.MarshalBinary()
	if before[0] != snapshotVersion || after[0] != toppedVersion {
		t.Errorf("versions %d and %d", before[0], after[0])
	}
	for _, data := range [][]byte{before, after} {
		m := New()
		if err := m.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		if again, _ := m.MarshalBinary(); !bytes.Equal(again, data) {
			t.Errorf("version %d is encoded otherwise", data[0])
		}
	}
	none := binary.AppendUvarint(bytes.Clone(before), 0)
	none[0] = toppedVersion
	if err := New().UnmarshalBinary(none); err == nil {
		t.Error("a version of top-ups without one is restored")
	}
}
