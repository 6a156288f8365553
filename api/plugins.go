package api

import (
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

// withPlugins lays every plugin's own schema over the plugins entity: at once for those that run, so that one
// that does not fit stops the program, when it is asked for for the others.
func withPlugins(base *schema.Schema, plugins []*plugin.Definition) *schema.Schema {
	subs := make(map[string]*schema.Schema, len(plugins))
	for _, p := range plugins {
		subs[p.Name] = p.Schema
	}
	all := base.WithSubschemas(subs)
	for _, p := range plugins {
		if p.Runs() {
			all.For(map[string]any{"name": p.Name})
		}
	}
	return all
}

// admitPlugin refuses a plugin that Sluice knows and does not run: stored, it would break the route it is for.
// Kong has no such plugins, so the words are ours; those for a name that nobody knows are the schema's.
func (a *API) admitPlugin(fields, stored map[string]any) error {
	name, given := fields["name"]
	if !given {
		name = stored["name"]
	}
	for _, p := range a.cfg.Plugins() {
		if p.Name == name && !p.Runs() {
			return schema.FieldViolation("name", fmt.Sprintf(msgDoesNotRun, p.Name))
		}
	}
	return nil
}

// warnings gives what a plugin accepts in this config and does not do.
func (a *API) warnings(e *fsm.Entity) []string {
	fields, err := fieldsOf(e)
	if err != nil {
		return nil
	}
	config, _ := fields["config"].(map[string]any)
	for _, p := range a.cfg.Plugins() {
		if p.Name == fields["name"] && p.Warn != nil {
			return p.Warn(config)
		}
	}
	return nil
}

// The messages for a plugin that could never run, or not where it is attached.
const (
	msgDoesNotRun       = "plugin '%s' is known to this version of Sluice, but does not run in it yet"
	msgRouteProtocols   = "must match the associated route's protocols"
	msgServiceProtocols = "must match the protocols of at least one route pointing to this Plugin's service"
)

// checkProtocols demands that a plugin has a protocol in common with its route, or with one of its service's
// routes if there are any.
func checkProtocols(_ *API, v *fsm.View, entity map[string]any) error {
	protocols, _ := entity["protocols"].([]any)
	common := func(e *fsm.Entity) bool {
		route, ok := e.Value.(*fsm.Route)
		return !ok || slices.ContainsFunc(route.Protocols, func(p string) bool { return slices.Contains(protocols, any(p)) })
	}
	if id := referenceID(entity, "route"); id != "" {
		if route := v.Get("routes", id); route != nil && !common(route) {
			return schema.FieldViolation("protocols", msgRouteProtocols)
		}
		return nil
	}
	id := referenceID(entity, "service")
	if id == "" {
		return nil
	}
	routes := 0
	for route := range v.Referencing("routes", "service", id) {
		if common(route) {
			return nil
		}
		routes++
	}
	if routes > 0 {
		return schema.FieldViolation("protocols", msgServiceProtocols)
	}
	return nil
}

// everyRequest says that a plugin has nothing that it is for.
func everyRequest(e *fsm.Entity) bool {
	return e.Ref("route") == "" && e.Ref("service") == "" && e.Ref("consumer") == ""
}

// referenceID gives the id in a foreign field, or "".
func referenceID(entity map[string]any, field string) string {
	reference, _ := entity[field].(map[string]any)
	id, _ := reference["id"].(string)
	return id
}
