package fsm

import "slices"

// The kinds that say who may use the Admin API.
const (
	KindAdminRole  = "admin_roles"
	KindAdminToken = "admin_tokens"
)

// The places in Definition.Unique of what a token is found by, for LookupUnique.
const (
	AdminTokenByHash    = 1
	AdminTokenBySubject = 2
)

// AdminRole is what those who have it may do (admin_roles).
type AdminRole struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Permissions []Permission `json:"permissions"`
}

// Permission allows actions on collections: read, create, update and delete, or * for
// all; paths such as services, or * for all. With tags it reaches only what carries
// one of them.
type Permission struct {
	Collections []string `json:"collections"`
	Actions     []string `json:"actions"`
	Tags        []string `json:"tags"`
}

// Grants says whether the permission is for an action on a collection, whatever its
// tags.
func (p *Permission) Grants(action, collection string) bool {
	return has(p.Actions, action) && has(p.Collections, collection)
}

func has(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, "*")
}

// AdminToken lets somebody use the Admin API (admin_tokens): who knows the token
// whose SHA-256, in hexadecimal, is TokenHash, or who shows a certificate of Subject.
// It prints without the hash.
type AdminToken struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Roles     []string `json:"roles"` // names, of AdminRoles or built in
	TokenHash string   `json:"token_hash"`
	Subject   string   `json:"subject"`
}

func (t AdminToken) String() string   { return "admin_token " + t.ID }
func (t AdminToken) GoString() string { return t.String() }
