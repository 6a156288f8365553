package fsm

// KeySet is a group of keys (Kong's key_sets).
type KeySet struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Key is a JSON Web Key, or one or both halves of a pair in PEM (Kong's keys).
// It prints without them.
type Key struct {
	ID   string `json:"id"`
	Set  *Ref   `json:"set"`
	Name string `json:"name"`
	KID  string `json:"kid"`
	JWK  string `json:"jwk"`
	PEM  *PEM   `json:"pem"`
}

// PEM is the form of a key that is not a JSON Web Key. It prints without the key.
type PEM struct {
	PrivateKey string `json:"private_key"`
	PublicKey  string `json:"public_key"`
}

// Vault is where references with its prefix lead: {vault://prefix/...} (Kong's
// vaults). Name is the kind of vault, which says what Config means; it prints
// without Config.
type Vault struct {
	ID     string         `json:"id"`
	Prefix string         `json:"prefix"`
	Name   string         `json:"name"`
	Config map[string]any `json:"config"`
}

func (k Key) String() string     { return "key " + k.ID }
func (k Key) GoString() string   { return k.String() }
func (PEM) String() string       { return "pem" }
func (p PEM) GoString() string   { return p.String() }
func (v Vault) String() string   { return "vault " + v.ID }
func (v Vault) GoString() string { return v.String() }
