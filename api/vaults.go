package api

import (
	"fmt"
	"net/http"

	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/vault"
)

// withVaults lays every kind of vault over the vaults entity.
func withVaults(base *schema.Schema, _ []*plugin.Definition) *schema.Schema {
	subs := make(map[string]*schema.Schema)
	for _, k := range vault.Kinds() {
		subs[k.Name] = k.Schema
	}
	return base.WithSubschemas(subs)
}

// vaultSchema shows what a kind of vault changes in the vaults entity.
func (a *API) vaultSchema(q *request) (*reply, error) {
	for _, k := range vault.Kinds() {
		if k.Name == q.params[0] {
			return jsonReply(http.StatusOK, k.Schema)
		}
	}
	return nil, &statusError{http.StatusNotFound, fmt.Sprintf("No vault named '%s'", q.params[0])}
}
