package fsm

// The typed views of entities, as the data plane reads them. Field names and
// defaults are Kong's; the Admin API has filled every default before an entity
// is stored, so a view never needs one. Views are immutable and shared.

// Ref names another entity by id (Kong's foreign fields).
type Ref struct {
	ID string `json:"id"`
}

// Service is an upstream application (Kong's services).
type Service struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Path     string `json:"path"`
	// Retries is how many further tries follow a failed one.
	Retries int `json:"retries"`
	// The timeouts are in milliseconds, for each try.
	ConnectTimeout int `json:"connect_timeout"`
	WriteTimeout   int `json:"write_timeout"`
	ReadTimeout    int `json:"read_timeout"`
	// TLSVerify is nil when unset: the upstream certificate is not verified
	// then, as in Kong.
	TLSVerify *bool `json:"tls_verify"`
	// TLSVerifyDepth is how many certificates may stand between the service's
	// own and a trusted one; nil is the node's setting.
	TLSVerifyDepth *int `json:"tls_verify_depth"`
	// CACertificates are the ids of what the service is verified with; none is
	// the node's setting.
	CACertificates []string `json:"ca_certificates"`
	// ClientCertificate is shown to the service; nil is the node's setting.
	ClientCertificate *Ref `json:"client_certificate"`
	Enabled           bool `json:"enabled"`
}

// Certificate is a chain with its private key, and perhaps a second one for
// clients of another kind (Kong's certificates), all in PEM. It prints without
// its keys.
type Certificate struct {
	ID      string `json:"id"`
	Cert    string `json:"cert"`
	Key     string `json:"key"`
	CertAlt string `json:"cert_alt"`
	KeyAlt  string `json:"key_alt"`
}

// String names the certificate.
func (c Certificate) String() string { return "certificate " + c.ID }

// GoString is String: %#v must not show a key either.
func (c Certificate) GoString() string { return c.String() }

// SNI is a server name that a certificate is served for (Kong's snis): exact,
// with * as its first or last label, or * alone.
type SNI struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Certificate Ref    `json:"certificate"`
}

// CACertificate is the certificate of an authority (Kong's ca_certificates), in
// PEM.
type CACertificate struct {
	ID   string `json:"id"`
	Cert string `json:"cert"`
}

// Route matches requests and leads them to a service (Kong's routes).
type Route struct {
	ID                      string              `json:"id"`
	Name                    string              `json:"name"`
	CreatedAt               int64               `json:"created_at"`
	Service                 *Ref                `json:"service"`
	Protocols               []string            `json:"protocols"`
	Methods                 []string            `json:"methods"`
	Hosts                   []string            `json:"hosts"`
	Paths                   []string            `json:"paths"`
	Headers                 map[string][]string `json:"headers"`
	SNIs                    []string            `json:"snis"`
	RegexPriority           int64               `json:"regex_priority"`
	StripPath               bool                `json:"strip_path"`
	PathHandling            string              `json:"path_handling"`
	PreserveHost            bool                `json:"preserve_host"`
	HTTPSRedirectStatusCode int                 `json:"https_redirect_status_code"`
	RequestBuffering        bool                `json:"request_buffering"`
	ResponseBuffering       bool                `json:"response_buffering"`
}

// Consumer is who a request comes from (Kong's consumers).
type Consumer struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	CustomID string `json:"custom_id"`
}

// Plugin is one configured instance of a plugin (Kong's plugins).
type Plugin struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	InstanceName string         `json:"instance_name"`
	Service      *Ref           `json:"service"`
	Route        *Ref           `json:"route"`
	Consumer     *Ref           `json:"consumer"`
	Protocols    []string       `json:"protocols"`
	Enabled      bool           `json:"enabled"`
	Config       map[string]any `json:"config"`
}
