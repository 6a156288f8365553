package proxy

import (
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/tlsconf"
	"github.com/sluicegate/sluice/vault"
)

// resolver finds the values of references by a view's vaults.
func resolver(vaults *vault.Vaults) tlsconf.Resolve {
	if vaults == nil {
		return nil
	}
	return func(v *fsm.View, reference string) (string, error) {
		return vaults.Resolve(reference, func(prefix string) (vault.Entity, bool) {
			e := v.Lookup("vaults", prefix)
			if e == nil {
				return vault.Entity{}, false
			}
			entity, ok := e.Value.(*fsm.Vault)
			if !ok {
				return vault.Entity{}, false
			}
			begin, _ := entity.Config["prefix"].(string)
			return vault.Entity{Kind: entity.Name, Prefix: begin}, true
		})
	}
}

// dereference gives a plugin's config with the values of its references, and
// whether it has any.
func (c *compiler) dereference(view *fsm.View, def *plugin.Definition, config map[string]any) (out map[string]any, refers bool, err error) {
	if def.Schema == nil || c.secrets == nil {
		return config, false, nil
	}
	f := def.Schema.Field("config")
	if f == nil {
		return config, false, nil
	}
	fields := f.Fields
	if len(def.Unused) > 0 {
		fields = slices.DeleteFunc(slices.Clone(fields), func(f schema.Field) bool { return slices.Contains(def.Unused, f.Name) })
	}
	return schema.Dereference(fields, config, func(reference string) (string, error) { return c.secrets(view, reference) })
}
