package fsm

// The typed views of credentials. Those that hold a secret print without it,
// whatever verb they are printed with.

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

// BasicAuth is a consumer's credential for the basic-auth plugin
// (basicauth_credentials). Password is entities.PasswordHash of the password.
type BasicAuth struct {
	ID       string `json:"id"`
	Consumer Ref    `json:"consumer"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// HMACAuth is a consumer's credential for the hmac-auth plugin
// (hmacauth_credentials).
type HMACAuth struct {
	ID       string `json:"id"`
	Consumer Ref    `json:"consumer"`
	Username string `json:"username"`
	Secret   string `json:"secret"`
}

// ACL puts a consumer into a group (acls).
type ACL struct {
	ID       string `json:"id"`
	Consumer Ref    `json:"consumer"`
	Group    string `json:"group"`
}

// OAuth2Credential is a consumer's application for the oauth2 plugin
// (oauth2_credentials). With HashSecret, ClientSecret is schema.HashSecret of the
// secret.
type OAuth2Credential struct {
	ID           string   `json:"id"`
	Consumer     Ref      `json:"consumer"`
	Name         string   `json:"name"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	HashSecret   bool     `json:"hash_secret"`
	RedirectURIs []string `json:"redirect_uris"`
	ClientType   string   `json:"client_type"`
}

// OAuth2Token is a token of the oauth2 plugin (oauth2_tokens). Its lifetime is
// ExpiresIn seconds from CreatedAt, 0 for ever; the entity itself may go earlier
// or later.
type OAuth2Token struct {
	ID                  string `json:"id"`
	CreatedAt           int64  `json:"created_at"`
	Credential          Ref    `json:"credential"`
	Service             *Ref   `json:"service"`
	TokenType           string `json:"token_type"`
	ExpiresIn           int64  `json:"expires_in"`
	AccessToken         string `json:"access_token"`
	RefreshToken        string `json:"refresh_token"`
	AuthenticatedUserID string `json:"authenticated_userid"`
	Scope               string `json:"scope"`
}

func (c JWTSecret) String() string          { return "jwt_secret " + c.ID }
func (c JWTSecret) GoString() string        { return c.String() }
func (c KeyAuth) String() string            { return "keyauth_credential " + c.ID }
func (c KeyAuth) GoString() string          { return c.String() }
func (c BasicAuth) String() string          { return "basicauth_credential " + c.ID }
func (c BasicAuth) GoString() string        { return c.String() }
func (c HMACAuth) String() string           { return "hmacauth_credential " + c.ID }
func (c HMACAuth) GoString() string         { return c.String() }
func (c OAuth2Credential) String() string   { return "oauth2_credential " + c.ID }
func (c OAuth2Credential) GoString() string { return c.String() }
func (c OAuth2Token) String() string        { return "oauth2_token " + c.ID }
func (c OAuth2Token) GoString() string      { return c.String() }
