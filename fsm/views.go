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
	Enabled   bool  `json:"enabled"`
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

// JWTSecret is a consumer's credential for the jwt plugin (jwt_secrets).
type JWTSecret struct {
	ID           string `json:"id"`
	Consumer     Ref    `json:"consumer"`
	Key          string `json:"key"`
	Secret       string `json:"secret"`
	RSAPublicKey string `json:"rsa_public_key"`
	Algorithm    string `json:"algorithm"`
}

// KeyAuth is a consumer's credential for the key-auth plugin
// (keyauth_credentials).
type KeyAuth struct {
	ID       string `json:"id"`
	Consumer Ref    `json:"consumer"`
	Key      string `json:"key"`
}
