package fsm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

// limits applies a limiter entry that joins a node and asks for tokens.
func (l *log) limits(t *testing.T, seq uint64) *Result {
	t.Helper()
	m := ledger.Member{Node: "n1", Incarnation: 7}
	const noon = 1_781_524_800
	c, err := NewLimits(&ledger.Entry{
		Stamp:   noon*ledger.Second + int64(seq),
		Changes: []ledger.Change{{Kind: ledger.Join, Member: m}},
		Batches: []ledger.Batch{{Member: m, Session: 1, Seq: seq, Asks: []ledger.Ask{{
			Budget: ledger.Budget{Key: ledger.Key{Hi: 1, Lo: 2}, Period: window.Hour, Start: noon},
			Limit:  ledger.Limit{Version: 1, Max: 100}, Want: 10, Waiting: 10,
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l.apply(c)
}

// TestLimits: a limiter entry goes to the ledger, is told to who wants to know,
// survives a snapshot, and is no change of the configuration.
func TestLimits(t *testing.T) {
	l := newLog(t)
	r := l.limits(t, 1)
	if r.Err != nil || r.Limits == nil || r.Limits.Answers[0].Grants[0].Granted != 10 {
		t.Fatalf("%+v", r)
	}
	if l.m.ConfigIndex() != 0 || l.m.Index() != l.index {
		t.Errorf("index %d, config index %d", l.m.Index(), l.m.ConfigIndex())
	}
	other := newLog(t)
	if err := other.m.Restore(bytes.NewReader(l.bytes())); err != nil {
		t.Fatal(err)
	}
	if got, want := other.m.Limits().Stamp(), l.m.Limits().Stamp(); got != want || want == 0 {
		t.Errorf("restored at %d, want %d", got, want)
	}
	other.index = l.index
	if r := other.limits(t, 2); r.Limits.Answers[0].Grants[0].Pool != 80 {
		t.Errorf("after a restore: %+v", r.Limits.Answers[0])
	}
}

// TestRestoreIsTold: who follows the outcomes learns what the entries that a
// restored snapshot stands for have decided.
func TestRestoreIsTold(t *testing.T) {
	l := newLog(t)
	l.limits(t, 1)
	var told []*ledger.Outcome
	m, err := New(func(o *ledger.Outcome) { told = append(told, o) })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(bytes.NewReader(l.bytes())); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Stamp != l.m.Limits().Stamp() || told[0].Rosters == nil || len(told[0].Rosters.Last().Members) != 1 {
		t.Errorf("told of %+v", told)
	}
}

// TestMalformedLimits: an entry that does not decode changes nothing, and
// neither does one of a build before shares.
func TestMalformedLimits(t *testing.T) {
	l := newLog(t)
	l.limits(t, 1)
	before := l.m.Limits().Stamp()
	for _, data := range []string{
		`{"v":1,"t":5,"limits":"AAAA"}`, `{"v":1,"t":5}`, `{"v":1,"t":5,"limits":{"Stamp":9}}`, `{"v":1,"t":3,"limits":{"Stamp":9}}`,
	} {
		l.index++
		if r := l.m.Apply(l.index, []byte(data)); r.Err == nil || r.Limits != nil {
			t.Errorf("%s: %+v", data, r)
		}
	}
	if got := l.m.Limits().Stamp(); got != before {
		t.Errorf("stamp %d, want %d", got, before)
	}
	if _, err := NewLimits(&ledger.Entry{Changes: make([]ledger.Change, ledger.MaxChanges+1)}); !errors.Is(err, ledger.ErrTooLarge) {
		t.Errorf("an entry too large: %v", err)
	}
}
