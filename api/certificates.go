package api

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// A certificate has no name of its own: a path names it by one of its SNIs, and its body shows and sets them
// as the list "snis". They are entities of their own, written in the same command as the certificate.

// errSNINotFound is Kong's answer where a path names a certificate by a server name that none has.
var errSNINotFound = &statusError{http.StatusNotFound, "SNI not found"}

// certificateOf finds a certificate by a server name. Wildcards are names like others here: *.a.test names
// the certificate with that SNI, and b.a.test does not.
func certificateOf(v *fsm.View, name string) (*fsm.Entity, error) {
	if err := schema.ValidWildcardHost(name); err != nil {
		return nil, kongError(codeInvalidUnique, "invalid unique name", err.Error(), map[string]any{"name": err.Error()})
	}
	if sni := v.Lookup("snis", name); sni != nil {
		return v.Get("certificates", sni.Ref("certificate")), nil
	}
	return nil, errSNINotFound
}

// prepareSNIs gives the list its final form before a PUT or a PATCH: null empties it, a single name is a list
// of one, a PUT without a list empties it too, and the name in the path of a PUT belongs to the list.
func prepareSNIs(in map[string]any, t *target, put bool) {
	value, given := in["snis"]
	direct := t.owner == nil && t.child == nil
	switch list := value.(type) {
	case nil:
		if given || put && direct {
			in["snis"] = []any{}
		}
		return
	case string:
		value = []any{list}
	case []any:
		value = slices.Clone(list)
	}
	if list, ok := value.([]any); ok && put && direct && t.key != "" && !schema.IsUUID(t.key) && !slices.Contains(list, any(t.key)) {
		value = append(list, t.key)
	}
	in["snis"] = value
}

// relateSNIs makes the operations that give a certificate the names in its list, and takes from it all
// others. No list changes nothing.
func relateSNIs(a *API, v *fsm.View, certificate map[string]any) ([]fsm.Op, error) {
	list, given := certificate["snis"].([]any)
	if !given {
		return nil, nil
	}
	id, _ := certificate["id"].(string)
	wanted := make(map[string]bool, len(list))
	var ops []fsm.Op
	for _, value := range list {
		name, _ := value.(string) // the schema has looked
		if wanted[name] {
			return nil, schema.FieldViolation("snis", name+" is duplicated")
		}
		wanted[name] = true
		row := v.Lookup("snis", name)
		if row != nil && row.Ref("certificate") == id {
			continue
		}
		if row != nil {
			return nil, schema.FieldViolation("snis", name+" already associated with existing certificate '"+row.Ref("certificate")+"'")
		}
		op, err := a.newSNI(v, name, id)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	for row := range v.Referencing("snis", "certificate", id) {
		if sni, ok := row.Value.(*fsm.SNI); ok && !wanted[sni.Name] {
			// the index: another writer may have given the name to another certificate meanwhile
			ops = append(ops, fsm.Op{Verb: fsm.Delete, Kind: "snis", ID: row.ID, IfIndex: row.ModifyIndex})
		}
	}
	return ops, nil
}

func (a *API) newSNI(v *fsm.View, name, certificate string) (fsm.Op, error) {
	c := a.byKind["snis"]
	entity, err := a.insert(v, c, map[string]any{"name": name, "certificate": map[string]any{"id": certificate}})
	if err != nil {
		return fsm.Op{}, err
	}
	return c.operation(fsm.Create, entity, a.now(), 0, false)
}

// lostSNI says that another writer was faster with one of the names: taken, or given away.
func lostSNI(e *fsm.Error) bool { return e.Code == fsm.CodeUnique || movedOn(e) }

// warnCertificate says of a certificate that no client will be content with it.
func warnCertificate(a *API, e *fsm.Entity) []string {
	entity, ok := e.Value.(*fsm.Certificate)
	if !ok { // the result of a write on another node has no typed view
		entity = new(fsm.Certificate)
		if json.Unmarshal(e.Raw, entity) != nil {
			return nil
		}
	}
	var said []string
	for _, field := range [][2]string{{"cert", entity.Cert}, {"key", entity.Key}, {"cert_alt", entity.CertAlt}, {"key_alt", entity.KeyAlt}} {
		if chain, err := schema.Certificates(field[1]); err == nil && chain[0].NotAfter.Before(a.cfg.Now()) {
			said = append(said, field[0]+": expired")
		}
	}
	return said
}

// appendSNIs appends the member "snis" of a certificate, sorted.
func appendSNIs(b []byte, v *fsm.View, e *fsm.Entity) []byte {
	names := []string{}
	for row := range v.Referencing("snis", "certificate", e.ID) {
		if sni, ok := row.Value.(*fsm.SNI); ok {
			names = append(names, sni.Name)
		}
	}
	slices.Sort(names)
	b = append(b, `"snis":[`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
	}
	return append(b, ']')
}
