package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLeft, plotRight = 540, 1000
	plotRow, plotTop    = 30, 50
	plotWidth           = 1030
)

// plot draws each work's ratios to nginx on a logarithmic axis, with the range
// of the rounds and the goal.
func plot(results []result) string {
	var rows []*result
	low, high := 0.5, 2.0
	for i := range results {
		r := &results[i]
		if r.absent() != "" || r.work.contestants != nil {
			continue
		}
		rows = append(rows, r)
		o := evaluate(r)
		for _, q := range o.ratio {
			if q.min > 0 && !math.IsInf(q.max, 0) {
				low, high = min(low, q.min), max(high, q.max)
			}
		}
	}
	low, high = low*0.9, high*1.1
	x := func(v float64) float64 {
		v = min(max(v, low), high)
		return plotLeft + (plotRight-plotLeft)*math.Log(v/low)/math.Log(high/low)
	}
	var t strings.Builder
	add := func(format string, args ...any) { _, _ = fmt.Fprintf(&t, format+"\n", args...) }
	height := plotTop + plotRow*len(rows) + 40
	add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, plotWidth, height)
	add(`<rect width="%d" height="%d" fill="#fff"/>`, plotWidth, height)
	add(`<text x="12" y="20" font-size="14">Ratio to nginx: left is better. <tspan fill="#c60">haproxy</tspan>, <tspan fill="#06c">Sluice</tspan>, bar: the rounds; green: the goal</text>`)
	for _, v := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100} {
		if v >= low && v <= high {
			add(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/>`, x(v), x(v), plotTop-14, height-34, map[bool]string{true: "#000", false: "#ddd"}[v == 1])
			add(`<text x="%.1f" y="%d" text-anchor="middle">%g</text>`, x(v), height-18, v)
		}
	}
	for i, r := range rows {
		o, y := evaluate(r), plotTop+plotRow*i
		add(`<text x="12" y="%d">%s</text>`, y+4, html.EscapeString(r.work.title))
		if !r.work.absolute && !r.work.noGoal {
			add(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#090" stroke-width="3"/>`, x(r.work.limit), x(r.work.limit), y-10, y+10)
		}
		for k := 1; k < len(r.names); k++ {
			q, at, color := o.ratio[k], y-4, "#c60"
			if r.names[k] == "sluice" {
				at, color = y+4, "#06c"
			}
			if math.IsNaN(q.median) {
				continue
			}
			add(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="2"/>`, x(q.min), x(q.max), at, at, color)
			add(`<circle cx="%.1f" cy="%d" r="4" fill="%s"><title>%s %.2f</title></circle>`, x(q.median), at, color, r.names[k], q.median)
		}
	}
	add(`</svg>`)
	return t.String()
}
