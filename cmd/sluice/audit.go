package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/limiter"
	"github.com/sluicegate/sluice/limiter/audit"
	"github.com/sluicegate/sluice/limiter/ledger"
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
	return audit.Record{
		KeyHi: a.Budget.Key.Hi, KeyLo: a.Budget.Key.Lo,
		Start: a.Budget.Start * ledger.Second, Unit: audit.Second + audit.Unit(a.Budget.Period),
		Lo: a.At.Lo, Hi: a.At.Hi, Incarnation: a.Incarnation,
		Version: a.Limit.Version, Max: a.Limit.Max, Tokens: 1,
	}
}
