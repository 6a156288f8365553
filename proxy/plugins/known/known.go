// Package known has the plugins of Kong that Sluice knows by their schemas only:
// it publishes them and checks configs against them, and refuses to store one
// (package api) because nothing would run. A plugin that is built moves into a
// folder of its own, with its schema: its file here is deleted, or the program
// stops at once because a plugin is registered twice.
//
// What Kong checks in code is written here too where Sluice could tell a right
// value from a wrong one. It cannot where the check needs Lua's parser or nginx's
// shared memory; DESIGN.md lists those.
package known

import (
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// version is the release of Kong whose schemas these are.
const version = "3.9.1"

// register makes a plugin known. It keeps Kong's place in the order of plugins.
// Most nodes never ask for a schema of these, so it is described when one does.
func register(priority int, name string, describe func(name string) *schema.Schema) {
	s := schema.Later(name, func() *schema.Schema { return describe(name) })
	plugin.Register(&plugin.Definition{Name: name, Version: version, Priority: priority, Schema: s})
}
