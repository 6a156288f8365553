package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/limiter/ledger"
	"github.com/sluicegate/sluice/limiter/window"
)

func TestAuditRecord(t *testing.T) {
	fixed, _ := window.Fixed(45)
	sliding, _ := window.Sliding(16)
	bucket, _ := window.Bucket(60)
	const at = 1_780_000_019_250_000
	for _, tt := range []struct {
		period limiter.Period
		over   bool
		want   audit.Record
	}{
		{limiter.Second, false, audit.Record{Unit: audit.Second, Start: 1_780_000_019_000_000}},
		{limiter.Year.Local(), false, audit.Record{Unit: audit.Year, Local: true, Start: 1_767_225_600_000_000}},
		{window.InFlight, false, audit.Record{Unit: audit.InFlight, Tokens: 1}},
		{window.InFlight.Local(), true, audit.Record{Unit: audit.InFlight, Local: true, Tokens: -1}},
		{bucket, false, audit.Record{Unit: audit.Bucket, Length: 60, Burst: 6}},
		{fixed, false, audit.Record{Unit: audit.Fixed, Length: 45, Start: 1_780_000_000_000_000 - 1_780_000_000_000_000%45_000_000}},
		{sliding, false, audit.Record{Unit: audit.Sliding, Length: 16, Start: at}},
	} {
		a := limiter.Admission{
			Budget: ledger.Budget{Key: ledger.Key{Hi: 1, Lo: 2}, Period: tt.period, Start: tt.period.At(at).Start},
			Limit:  ledger.Limit{Version: 3, Max: 4, Burst: int64(tt.want.Burst)}, Incarnation: 5, Over: tt.over,
		}
		a.At.Lo, a.At.Hi = at, at+1
		want := tt.want
		want.KeyHi, want.KeyLo, want.Version, want.Max, want.Incarnation, want.Lo, want.Hi = 1, 2, 3, 4, 5, at, at+1
		if !tt.over {
			want.Tokens = 1
		}
		if diff := cmp.Diff(want, auditRecord(&a)); diff != "" {
			t.Errorf("%s: %s", tt.period, diff)
		}
	}
}
