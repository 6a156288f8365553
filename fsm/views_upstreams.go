package fsm

// Upstream is a name that stands for several targets (Kong's upstreams): a
// service whose host it is goes to one of them.
type Upstream struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Algorithm is round-robin, consistent-hashing, least-connections or latency.
	Algorithm string `json:"algorithm"`
	// HashOn and HashFallback are none, consumer, ip, header, cookie, path,
	// query_arg or uri_capture; the fields after them say which header and so on.
	HashOn                 string `json:"hash_on"`
	HashFallback           string `json:"hash_fallback"`
	HashOnHeader           string `json:"hash_on_header"`
	HashFallbackHeader     string `json:"hash_fallback_header"`
	HashOnCookie           string `json:"hash_on_cookie"`
	HashOnCookiePath       string `json:"hash_on_cookie_path"`
	HashOnQueryArg         string `json:"hash_on_query_arg"`
	HashFallbackQueryArg   string `json:"hash_fallback_query_arg"`
	HashOnURICapture       string `json:"hash_on_uri_capture"`
	HashFallbackURICapture string `json:"hash_fallback_uri_capture"`
	// Slots is the size of the hash ring.
	Slots        int          `json:"slots"`
	Healthchecks Healthchecks `json:"healthchecks"`
	// HostHeader is sent to targets in place of the target's host, unless the
	// route preserves the client's.
	HostHeader        string `json:"host_header"`
	ClientCertificate *Ref   `json:"client_certificate"`
	// UseSRVName makes the name in an SRV record the Host that is sent.
	UseSRVName bool `json:"use_srv_name"`
}

// Healthchecks is how the targets of an upstream are watched. Threshold is the
// percentage of weight below which the upstream as a whole is unhealthy.
type Healthchecks struct {
	Active    ActiveChecks  `json:"active"`
	Passive   PassiveChecks `json:"passive"`
	Threshold float64       `json:"threshold"`
}

// ActiveChecks are requests of the gateway's own. Timeout is in seconds.
type ActiveChecks struct {
	Type                   string              `json:"type"`
	Concurrency            int                 `json:"concurrency"`
	HTTPPath               string              `json:"http_path"`
	Timeout                float64             `json:"timeout"`
	HTTPSVerifyCertificate bool                `json:"https_verify_certificate"`
	HTTPSSNI               string              `json:"https_sni"`
	Headers                map[string][]string `json:"headers"`
	Healthy                HealthySigns        `json:"healthy"`
	Unhealthy              UnhealthySigns      `json:"unhealthy"`
}

// PassiveChecks look at the requests of clients. They have no Interval.
type PassiveChecks struct {
	Type      string         `json:"type"`
	Healthy   HealthySigns   `json:"healthy"`
	Unhealthy UnhealthySigns `json:"unhealthy"`
}

// HealthySigns makes a target healthy after so many successes in a row; 0 never.
// Interval is in seconds between probes of an unhealthy target, 0 for no probes.
type HealthySigns struct {
	HTTPStatuses []int   `json:"http_statuses"`
	Interval     float64 `json:"interval"`
	Successes    int     `json:"successes"`
}

// UnhealthySigns makes a target unhealthy after so many failures of a kind in a
// row; 0 never. Interval is in seconds between probes, 0 for no probes.
type UnhealthySigns struct {
	HTTPStatuses []int   `json:"http_statuses"`
	Interval     float64 `json:"interval"`
	HTTPFailures int     `json:"http_failures"`
	TCPFailures  int     `json:"tcp_failures"`
	Timeouts     int     `json:"timeouts"`
}

// Target is a place that an upstream stands for (Kong's targets). Target is
// host:port, an IPv6 address in brackets; CreatedAt is in seconds and has
// milliseconds; Weight 0 takes no requests.
type Target struct {
	ID        string  `json:"id"`
	CreatedAt float64 `json:"created_at"`
	Upstream  Ref     `json:"upstream"`
	Target    string  `json:"target"`
	Weight    int     `json:"weight"`
}
