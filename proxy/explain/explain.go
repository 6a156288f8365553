// Package explain has the words for why a request is treated as it is: what is
// asked, and what is answered. The proxy answers; nothing is sent anywhere, and no
// plugin runs.
package explain

import (
	"net/netip"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/limiter"
)

// Question describes a request.
type Question struct {
	Method string
	// Scheme is http or https, Host may have a port, Target is path and query as on the
	// wire.
	Scheme, Host, Target string
	// SNI is the server name of the TLS handshake; it counts with https only.
	SNI string
	// Port is the local port that the request comes in on; 0: that of the scheme.
	Port uint16
	// HTTP2 says that it comes by HTTP/2, else it is HTTP/1.1.
	HTTP2   bool
	Headers []Header
	Client  netip.Addr
	// Consumer is who the auth plugins find, nil for nobody.
	Consumer *fsm.Consumer
	// AllRoutes asks for every route; else there are the nearest ones.
	AllRoutes bool
}

// Header is one field of the request.
type Header struct{ Name, Value string }

// Explanation is what would become of the request, as JSON.
type Explanation struct {
	// Index is that of the configuration.
	Index uint64 `json:"index"`
	// Path is normalised, which is what routes match.
	Path  string `json:"path"`
	Route *Named `json:"route"` // null: none matches
	// Routes tells of each why it won or lost, in the order in which they are tried.
	// Total is how many there are; a route whose paths have several lengths counts as
	// several.
	Routes []Route `json:"routes"`
	Total  int     `json:"routes_total"`
	// Answer is set if the request is answered here and not sent to the service, as
	// far as that is known without running plugins.
	Answer  *Answer  `json:"answer"`
	Service *Named   `json:"service"`
	Plugins []Plugin `json:"plugins"` // in the order in which they run
	// Upstream is where the request goes before plugins change that; null if there is
	// no service.
	Upstream *Upstream `json:"upstream"`
	Notes    []string  `json:"notes"`
	// Counted is what rate limits would count; the Admin API adds what is left.
	Counted []Counted `json:"-"`
}

// Named is an entity.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Route tells why a route won or lost.
type Route struct {
	Named
	Paths   []string `json:"paths,omitempty"`
	Outcome string   `json:"outcome"` // "won", "outranked" or "no match"
	// Field is the first that does not match.
	Field string `json:"field,omitempty"`
	Why   string `json:"why"`
}

// Answer is one that is made here.
type Answer struct {
	Status int    `json:"status"`
	Body   string `json:"body,omitempty"`
}

// Plugin is an instance that runs.
type Plugin struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	InstanceName string   `json:"instance_name,omitempty"`
	Priority     int      `json:"priority"`
	Scope        []string `json:"scope"` // "route", "service", "consumer"; empty: global
	Phases       []string `json:"phases"`
	Error        string   `json:"error,omitempty"` // why it cannot run; then the answer is 500
}

// Upstream is a request to a service.
type Upstream struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Host   string `json:"host"` // the Host field
	// Timeouts are in milliseconds.
	ConnectTimeout int `json:"connect_timeout"`
	ReadTimeout    int `json:"read_timeout"`
	WriteTimeout   int `json:"write_timeout"`
	Retries        int `json:"retries"`
}

// Counted is what an instance would count a request under.
type Counted struct {
	Plugin *Plugin
	Limit  *limiter.Limit
	Key    string
}
