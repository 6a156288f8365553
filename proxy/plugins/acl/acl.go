// Package acl is the plugin acl: consumers are let in or kept out by the groups
// that they belong to (Kong's acls).
//
// # Config
//
// Exactly one of the first two is set.
//
//   - allow: groups of which a client must be in one.
//   - deny: groups of which it must be in none.
//   - hide_groups_header (default false): the upstream is not told the groups.
//     Otherwise it finds them in X-Consumer-Groups, or in X-Authenticated-Groups
//     if they are not a consumer's, as "a, b" in order.
//   - always_use_authenticated_groups (false): groups that an auth plugin found
//     itself count for clients with a credential too. They always do for clients
//     without one, the anonymous consumer included.
//
// # What a client is told
//
// 401 if it is nobody: neither a consumer, nor with a credential, nor in a group.
// 403 if it is somebody who may not. A consumer in no group at all is kept out by
// allow and let in by deny; so is the anonymous consumer, who may be in groups
// like any other.
//
// What a client itself sends in the two fields never reaches the upstream.
//
// # Cost
//
// The groups of a consumer are looked up in the configuration's directory, which
// keeps them as sets; the config's are made into one when it is compiled. The
// smaller set's names are looked up in the larger one, and nothing is allocated.
package acl

import (
	"github.com/sluicegate/sluice/proxy/plugin"
)

const (
	name = "acl"
	// version is the release of Kong whose behaviour this plugin has.
	version  = "3.9.1"
	priority = 950
)

// The fields that tell the upstream of the groups.
const (
	consumerGroups      = "X-Consumer-Groups"
	authenticatedGroups = "X-Authenticated-Groups"
)

func init() {
	plugin.Register(&plugin.Definition{
		Name: name, Version: version, Priority: priority, Schema: configSchema(), New: New,
	})
}

// Config is the plugin's config, described in the package's comment.
type Config struct {
	Allow                        []string `json:"allow"`
	Deny                         []string `json:"deny"`
	HideGroupsHeader             bool     `json:"hide_groups_header"`
	AlwaysUseAuthenticatedGroups bool     `json:"always_use_authenticated_groups"`
}

// Plugin is one configured acl. Safe for concurrent use.
type Plugin struct {
	Config
	listed *plugin.Groups
	// lets says whether those in a listed group are let in or kept out.
	lets bool
}

var _ plugin.Accessor = (*Plugin)(nil)

// New makes an instance; see plugin.Definition.
func New(_ *plugin.Env, in *plugin.Instance) (any, error) {
	p := &Plugin{}
	if err := in.Decode(&p.Config); err != nil {
		return nil, err
	}
	p.listed, p.lets = plugin.NewGroups(p.Allow...), true
	if len(p.Deny) > 0 {
		p.listed, p.lets = plugin.NewGroups(p.Deny...), false
	}
	return p, nil
}

// Access implements plugin.Accessor.
func (p *Plugin) Access(ex *plugin.Exchange) plugin.Verdict {
	groups, field, known := p.groups(ex)
	switch {
	case !known && ex.Credential.ID == "":
		return ex.Error(401, "Unauthorized")
	case !known || groups.Meets(p.listed) != p.lets:
		return ex.Error(403, "You cannot consume this service")
	}
	h := ex.Request.Header
	h.Del(consumerGroups)
	h.Del(authenticatedGroups)
	if !p.HideGroupsHeader && groups.Len() > 0 {
		h.Set(field, groups.String())
	}
	return plugin.Continue
}

// groups gives the groups that count for a request, and the field that tells of
// them. known says that the client is somebody who could be in any.
func (p *Plugin) groups(ex *plugin.Exchange) (groups *plugin.Groups, field string, known bool) {
	switch {
	case ex.Groups != nil && (p.AlwaysUseAuthenticatedGroups || ex.Credential.ID == "" || ex.Consumer == nil):
		return ex.Groups, authenticatedGroups, true
	case ex.Consumer != nil:
		return ex.Directory.Groups(ex.Consumer.ID), consumerGroups, true
	}
	return nil, "", false
}
