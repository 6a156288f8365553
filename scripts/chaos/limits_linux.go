package main

import (
	"fmt"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// demand is a limit, and how many requests a second want to pass it.
type demand struct {
	name     string
	windows  []book.Window
	tolerant bool
	keys     int
	rate     float64
}

// demands are the limits of a run: of every length of window, of few keys and
// many, and with more demand than they allow.
func demands() []demand {
	per := func(unit string, n int64) book.Window { return book.Window{Unit: unit, Max: n} }
	of := func(ws ...book.Window) []book.Window { return ws }
	return []demand{
		{name: "five", windows: of(per("minute", 5)), keys: 8, rate: 8},
		{name: "one", windows: of(per("second", 1)), keys: 1, rate: 5},
		{name: "fifty", windows: of(per("second", 50)), keys: 1, rate: 90},
		{name: "thousand", windows: of(per("minute", 1000)), keys: 1, rate: 40},
		{name: "many", windows: of(per("minute", 20)), keys: 40, rate: 40},
		{name: "pair", windows: of(per("second", 12), per("minute", 240)), keys: 1, rate: 25},
		{name: "tolerant", windows: of(per("second", 20)), tolerant: true, keys: 1, rate: 40},
		{name: "hour", windows: of(per("hour", 150)), keys: 2, rate: 8},
		{name: "month", windows: of(per("month", 300)), keys: 1, rate: 8},
	}
}

// keyText is the value of the header by which requests are counted.
func keyText(key int) string { return fmt.Sprintf("k%d", key) }

// keyHeader has it.
const keyHeader = "X-Key"

// limit is the demand's entry in the book, before it has an id.
func (d *demand) limit() *book.Limit {
	l := &book.Limit{Name: d.name, Tolerant: d.tolerant}
	for k := range d.keys {
		l.Keys = append(l.Keys, keyText(k))
	}
	return l
}
