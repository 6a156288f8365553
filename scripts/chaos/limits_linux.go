package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// The plugins that limit.
const (
	rateLimiting = "rate-limiting"
	advanced     = "rate-limiting-advanced"
	concurrency  = "concurrency-limiting"
)

// demand is a limit, and how many requests a second want to pass it.
type demand struct {
	name     string
	plugin   string
	windows  []book.Window
	tolerant bool
	local    bool // counted on each node by itself
	keys     int
	rate     float64
	// hold is how long a request takes, on the average.
	hold time.Duration
	// volley, if set, is what is wanted at once, and nothing for a while then.
	volley int
}

// demands are the limits of a run: of every sort and length of window, of few keys
// and many, and with more demand than they allow. What is in flight lasts well below
// the three seconds for which it counts after a node is lost.
func demands() []demand {
	per := func(unit string, n int64) book.Window { return book.Window{Unit: unit, Max: n} }
	of := func(ws ...book.Window) []book.Window { return ws }
	in := func(unit string, seconds uint32, n, burst int64) []book.Window {
		return of(book.Window{Unit: unit, Length: seconds, Max: n, Burst: burst})
	}
	ds := []demand{
		{name: "five", windows: of(per("minute", 5)), keys: 8, rate: 8},
		{name: "one", windows: of(per("second", 1)), keys: 1, rate: 5},
		{name: "fifty", windows: of(per("second", 50)), keys: 1, rate: 90},
		{name: "thousand", windows: of(per("minute", 1000)), keys: 1, rate: 40},
		{name: "many", windows: of(per("minute", 20)), keys: 40, rate: 40},
		{name: "pair", windows: of(per("second", 12), per("minute", 240)), keys: 1, rate: 25},
		{name: "tolerant", windows: of(per("second", 20)), tolerant: true, keys: 1, rate: 40},
		{name: "hour", windows: of(per("hour", 150)), keys: 2, rate: 8},
		{name: "month", windows: of(per("month", 300)), keys: 1, rate: 8},
		{name: "fixed", plugin: advanced, windows: in(book.Fixed, 7, 20, 0), keys: 1, rate: 6},

		{name: "slide1", plugin: advanced, windows: in(book.Sliding, 1, 10, 0), keys: 1, rate: 20},
		{name: "slide3", plugin: advanced, windows: in(book.Sliding, 3, 2, 0), keys: 2, rate: 4},
		{name: "slide10", plugin: advanced, windows: in(book.Sliding, 10, 40, 0), keys: 1, rate: 8},
		{name: "slide60", plugin: advanced, windows: in(book.Sliding, 60, 90, 0), keys: 2, rate: 8},

		{name: "drip", plugin: advanced, windows: in(book.Bucket, 10, 5, 3), keys: 3, rate: 6},
		{name: "flow", plugin: advanced, windows: in(book.Bucket, 1, 10, 6), keys: 1, rate: 20},
		{name: "deep", plugin: advanced, windows: in(book.Bucket, 60, 90, 40), keys: 1, rate: 5},
		{name: "volley", plugin: advanced, windows: in(book.Bucket, 1, 100, 60), keys: 1, rate: 30, volley: 60},

		{name: "flight", plugin: concurrency, windows: of(per(book.InFlight, 3)), keys: 1, rate: 24, hold: 250 * time.Millisecond},
		{name: "flights", plugin: concurrency, windows: of(per(book.InFlight, 6)), keys: 2, rate: 48, hold: 500 * time.Millisecond},

		{name: "own", local: true, windows: of(per("second", 3), per("minute", 100)), keys: 1, rate: 12},
		{name: "ownminute", local: true, windows: of(per("minute", 20)), keys: 2, rate: 6},
		{name: "ownslide", local: true, plugin: advanced, windows: in(book.Sliding, 4, 6, 0), keys: 1, rate: 6},
		{name: "ownbucket", local: true, plugin: advanced, windows: in(book.Bucket, 5, 6, 4), keys: 1, rate: 6},
		{name: "ownflight", local: true, plugin: concurrency, windows: of(per(book.InFlight, 2)), keys: 1, rate: 20, hold: 200 * time.Millisecond},
	}
	for i := range ds {
		if ds[i].plugin == "" {
			ds[i].plugin = rateLimiting
		}
	}
	return ds
}

// config is the plugin's name and all of its config, as fields of a form.
func (d *demand) config() []string {
	fields := []string{"name", d.plugin, "config.header_name", keyHeader, "config.fault_tolerant", fmt.Sprint(d.tolerant)}
	by, how := "limit_by", "policy"
	if d.plugin == advanced {
		by, how = "identifier", "strategy"
		if unit := d.windows[0].Unit; unit != book.Bucket { // which burst makes them
			fields = append(fields, "config.window_type", unit)
		}
	}
	fields = append(fields, "config."+by, "header")
	if d.local {
		fields = append(fields, "config."+how, "node")
	}
	return append(fields, d.budget(d.windows)...)
}

// budget is the part of the config that changes with the limit.
func (d *demand) budget(ws []book.Window) (fields []string) {
	for _, w := range ws {
		limit := fmt.Sprint(w.Max)
		switch d.plugin {
		case concurrency:
			fields = append(fields, "config.limit", limit)
		case advanced:
			fields = append(fields, "config.limit[]", limit, "config.window_size[]", fmt.Sprint(w.Length))
		default:
			fields = append(fields, "config."+w.Unit, limit)
		}
		if w.Burst > 0 {
			fields = append(fields, "config.burst[]", fmt.Sprint(w.Burst))
		}
	}
	return fields
}

// keyText is the value of the header by which requests are counted.
func keyText(key int) string { return fmt.Sprintf("k%d", key) }

// keyHeader has it.
const keyHeader = "X-Key"

// holdHeader tells the service how long to take, in milliseconds.
const holdHeader = "X-Hold"

// countedBy are the fields of which a counted answer has one.
var countedBy = []string{"Ratelimit-Limit", "X-Concurrency-Limit"}

// path is that of the demand's route. None is the beginning of another: a node that
// is started again serves its last snapshot at first, which may have the other only,
// and what counts there is another limit.
func (d *demand) path() string { return "/" + d.name + "/" }

// limit is the demand's entry in the book, once its plugin has an id.
func (d *demand) limit(id string) *book.Limit {
	l := &book.Limit{Name: d.name, Tolerant: d.tolerant, Local: d.local, ID: id, Plugin: id, Hold: d.hold.Microseconds()}
	if d.plugin == advanced {
		// What it counts under is its namespace, which is its id if it was given none.
		l.ID = advanced + ":" + strings.ReplaceAll(id, "-", "")
	}
	for k := range d.keys {
		l.Keys = append(l.Keys, keyText(k))
	}
	return l
}
