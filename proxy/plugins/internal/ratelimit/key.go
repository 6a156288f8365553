package ratelimit

import (
	"net/textproto"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// The values of By, which are Kong's.
const (
	ByConsumer   = "consumer"
	ByCredential = "credential"
	ByIP         = "ip"
	ByService    = "service"
	ByRoute      = "route"
	ByHeader     = "header"
	ByPath       = "path"
)

// Identity says what has a budget of its own. A request without it is counted by
// its client's address.
type Identity struct {
	By string
	// Header is the name of the request field whose value counts, of ByHeader.
	Header string
	// Path is the one path whose requests count together, of ByPath.
	Path string
}

// NewIdentity makes an Identity of a config's fields.
func NewIdentity(by, header, path string) Identity {
	return Identity{By: by, Header: textproto.CanonicalMIMEHeaderKey(header), Path: path}
}

// Key gives what a request is counted under, which may be a piece of it. Only a
// client address that was not seen lately allocates.
func (s *Shared) Key(ex *plugin.Exchange, id *Identity) string {
	switch id.By {
	case ByConsumer:
		if ex.Consumer != nil {
			return ex.Consumer.ID
		}
		if ex.Credential.ID != "" {
			return ex.Credential.ID
		}
	case ByCredential:
		if ex.Credential.ID != "" {
			return ex.Credential.ID
		}
	case ByService:
		if ex.Service != nil {
			return ex.Service.ID
		}
	case ByRoute:
		if ex.Route != nil {
			return ex.Route.ID
		}
	case ByHeader:
		if ex.Request.Header.Has(id.Header) {
			return ex.Request.Header.Get(id.Header)
		}
	case ByPath:
		if ex.Request.RawPath == id.Path {
			return id.Path
		}
	}
	return s.addresses.key(ex.Client.Addr())
}
