package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/audit"
)

// openAudit opens the record of admissions, if limits_audit asks for one: else
// it returns nil, and a decision costs nothing more.
func (g *gateway) openAudit(log *zap.Logger) (func(limiter.Admission), error) {
	dir := g.cfg.LimitsAudit()
	if dir == "" {
		return nil, nil
	}
	w, err := audit.Open(dir, audit.Who{
		ID: g.node.ID(), Name: g.cfg.NodeName(),
		Warn: func(err error) { log.Error("limits_audit", zap.Error(err)) },
	})
	if err != nil {
		return nil, fmt.Errorf("limits_audit %s: %w", dir, err)
	}
	// Closed after the limiter, which starts later.
	g.onClose(func(context.Context) error { return w.Close() })
	return func(a limiter.Admission) {
		r := auditRecord(&a)
		w.Append(&r)
	}, nil
}

// auditRecord is what is written of an admission. It is all that the record
// knows of the limiter's types.
func auditRecord(a *limiter.Admission) audit.Record {
	p := a.Budget.Period
	w, _ := a.Budget.Window() // there is one, of what was admitted
	unit, length := auditUnit(p)
	tokens := int32(1)
	if a.Over {
		tokens = -1
	}
	return audit.Record{
		KeyHi: a.Budget.Key.Hi, KeyLo: a.Budget.Key.Lo,
		Start: w.From, Unit: unit, Length: length, Local: p.IsLocal(),
		Lo: a.At.Lo, Hi: a.At.Hi, Incarnation: a.Incarnation,
		Version: a.Limit.Version, Max: a.Limit.Max, Burst: uint32(a.Limit.Burst), Tokens: tokens,
	}
}

// auditUnit is what the record calls a period, and its length where that does not
// say it.
func auditUnit(p limiter.Period) (u audit.Unit, seconds uint32) {
	switch {
	case p.IsSliding():
		return audit.Sliding, uint32(p.Seconds())
	case p.IsBucket():
		return audit.Bucket, uint32(p.Seconds())
	case p.IsInFlight():
		return audit.InFlight, 0
	}
	if c := p &^ limiter.Second.Local(); c < limiter.Periods {
		return audit.Second + audit.Unit(c), 0
	}
	return audit.Fixed, uint32(p.Seconds())
}
