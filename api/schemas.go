package api

import (
	"fmt"
	"net/http"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
)

func (a *API) schemaRoutes(rt *router) {
	rt.handle(http.MethodGet, "/schemas/{name}", a.entitySchema)
	rt.handle(http.MethodGet, "/schemas/plugins/{name}", a.pluginSchema)
	rt.handle(http.MethodGet, "/plugins/schema/{name}", a.pluginConfigSchema)
	rt.handle(http.MethodGet, "/schemas/vaults/{name}", a.vaultSchema)
	rt.handle(http.MethodPost, "/schemas/{db_entity_name}/validate", func(q *request) (*reply, error) {
		return a.validate(q, q.params[0])
	})
	for _, kind := range []string{"plugins", "vaults"} { // a fixed segment hides the pattern above
		rt.handle(http.MethodPost, "/schemas/"+kind+"/validate", func(q *request) (*reply, error) {
			return a.validate(q, kind)
		})
	}
}

// schemaOf gives an entity's schema: as it is published, and complete with its subschemas. Both are nil for
// an entity that there is not.
func (a *API) schemaOf(kind string) (published, complete *schema.Schema) {
	if c := a.byKind[kind]; c != nil {
		return c.Definition.Schema, c.schema
	}
	return a.unstored[kind], a.unstored[kind]
}

func (a *API) entitySchema(q *request) (*reply, error) {
	published, _ := a.schemaOf(q.params[0])
	if published == nil {
		return nil, noEntity(q.params[0])
	}
	return jsonReply(http.StatusOK, published)
}

// pluginSchema shows what a plugin changes in the plugins entity.
func (a *API) pluginSchema(q *request) (*reply, error) {
	p, err := a.plugin(q.params[0])
	if err != nil {
		return nil, err
	}
	return jsonReply(http.StatusOK, p.Schema)
}

// pluginConfigSchema shows the config alone: Kong's older form of the above.
func (a *API) pluginConfigSchema(q *request) (*reply, error) {
	p, err := a.plugin(q.params[0])
	if err != nil {
		return nil, err
	}
	config := &schema.Schema{}
	if f := p.Schema.Field("config"); f != nil {
		config.Fields, config.Checks = f.Fields, f.Checks
	}
	return jsonReply(http.StatusOK, config)
}

func (a *API) plugin(name string) (*plugin.Definition, error) {
	for _, p := range a.cfg.Plugins() {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, &statusError{http.StatusNotFound, fmt.Sprintf("No plugin named '%s'", name)}
}

// validate answers whether a POST of the body would fit the schema. References and unique fields are not
// looked at: decK validates files whose entities do not exist yet.
func (a *API) validate(q *request, kind string) (*reply, error) {
	_, s := a.schemaOf(kind)
	if s == nil {
		return nil, noEntity(kind)
	}
	entity, violation := s.Insert(a.schemas, q.body.typed(s, nil))
	if violation != nil {
		return nil, violation
	}
	if err := checkResolved(s, entity); err != nil {
		return nil, err
	}
	return messageReply(http.StatusOK, "schema validation successful"), nil
}

func noEntity(name string) error {
	return &statusError{http.StatusNotFound, fmt.Sprintf("No entity named '%s'", name)}
}
