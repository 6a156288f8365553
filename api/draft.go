package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/sluicegate/sluice/fsm"
)

// Changes of many entities at once: they are made on a draft, and the draft becomes one write.

// drafter does what a request wants to a draft. misses says that it found nothing to do for want of an entity.
type drafter func(d *fsm.Draft) (misses bool, err error)

// drafted is what became of it.
type drafted struct {
	view    *fsm.View // that the changes were made to
	changes []fsm.ChangedEntity
	index   uint64 // of the write, 0 if there was nothing to write
}

// commitDraft makes a draft and writes it, and makes it anew while other writers are faster. With dry nothing is
// written.
func (a *API) commitDraft(q *request, rep *reply, dry bool, do drafter) (*drafted, error) {
	wait := q.query.Get("wait")
	if wait != "" && wait != "all" {
		return nil, errBadWait
	}
	identity, err := q.identify()
	if err != nil {
		return nil, err
	}
	rep.set(headerRequestID, q.id)
	ctx, cancel := context.WithTimeout(q.Context(), draftTimeout)
	defer cancel()
	upToDate := false
	for attempt := range maxAttempts {
		made, w, err := a.draft(ctx, q, do, &upToDate)
		if err != nil || dry || len(w.Ops) == 0 {
			if made != nil {
				rep.index = made.view.ConfigIndex()
			}
			return made, err
		}
		result, err := a.cfg.Cluster.Apply(ctx, a.command(identity+"/"+strconv.Itoa(attempt), q.origin(), w))
		switch {
		case err != nil:
			return nil, a.unconfirmed(ctx, err)
		case result.Err == nil:
			a.awaitServed(q.Context(), rep, result.Index, wait == "all")
			made.index, rep.index = result.Index, result.Index
			return made, nil
		case statusOf[result.Err.Code] == 0 && result.Err.Code != fsm.CodeConflict:
			return nil, result.Err // nothing that another look would change
		}
		if a.catchUp(ctx, result.Index, attempt) != nil {
			break
		}
	}
	return nil, errContended
}

// draft makes one on the newest view, and a second time on one that is certain to be up to date if the first
// finds no entity.
func (a *API) draft(ctx context.Context, q *request, do drafter, upToDate *bool) (*drafted, *fsm.Write, error) {
	for {
		v, now := a.view(), a.now()
		d := a.cfg.Machine.Draft(v, now)
		misses, err := do(d)
		if err != nil {
			misses = missesEntity(nil, err)
		} else {
			err = q.judgeDraft(v, now, d)
		}
		switch {
		case misses && !*upToDate:
		case err != nil:
			return nil, nil, err
		default:
			w := d.Write()
			if !q.who.free() {
				alone(w.Ops)
			}
			return &drafted{view: v, changes: d.Changes()}, w, nil
		}
		if err := a.bringUpToDate(ctx); err != nil {
			return nil, nil, err
		}
		*upToDate = true
	}
}

// shownChange is a change of an entity as answers have it.
type shownChange struct {
	Action string `json:"action"` // create, update or delete
	Kind   string `json:"entity"`
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// showChange makes one; with bodies it has the entity before and after, without what is secret.
func (a *API) showChange(c *fsm.ChangedEntity, bodies bool) shownChange {
	e := c.Entity()
	s := shownChange{Action: "update", Kind: e.Kind, ID: e.ID, Name: a.nameOf(e)}
	switch {
	case c.Before == nil:
		s.Action = "create"
	case c.After == nil:
		s.Action = "delete"
	}
	if bodies {
		s.Before, s.After = a.masked(c.Before), a.masked(c.After)
	}
	return s
}

func (a *API) showChanges(changes []fsm.ChangedEntity, bodies bool) []shownChange {
	list := make([]shownChange, len(changes))
	for i := range changes {
		list[i] = a.showChange(&changes[i], bodies)
	}
	return list
}

// nameOf is what people call an entity, "" if nothing or if that is a secret.
func (a *API) nameOf(e *fsm.Entity) string {
	c := a.byKind[e.Kind]
	if c == nil || c.Key == "" || isSecret(e.Kind, c.Key) {
		return ""
	}
	fields, err := fieldsOf(e)
	if err != nil {
		return ""
	}
	name, _ := fields[c.Key].(string)
	if name == "" && e.Kind == "plugins" {
		name, _ = fields["name"].(string)
	}
	return name
}

// secretFields are the fields of entities that histories and exports do not show.
var secretFields = map[string][]string{
	"certificates":          {"key", "key_alt"},
	"keys":                  {"jwk", "pem"},
	"jwt_secrets":           {"key", "secret"},
	"keyauth_credentials":   {"key"},
	"basicauth_credentials": {"password"},
	"hmacauth_credentials":  {"secret"},
	"oauth2_credentials":    {"client_secret"},
	"oauth2_tokens":         {"access_token", "refresh_token"},
	"vaults":                {"config"},
	fsm.KindAdminToken:      {memberTokenHash},
}

func isSecret(kind, field string) bool { return slices.Contains(secretFields[kind], field) }

// mask stands for a secret.
const mask = "***"

// masked is an entity without its secrets: those of its kind, and of a plugin's config what its schema calls
// encrypted or referenceable.
func (a *API) masked(e *fsm.Entity) any {
	if e == nil {
		return nil
	}
	fields, err := fieldsOf(e)
	if err != nil {
		return nil
	}
	a.mask(e.Kind, fields)
	return fields
}

// mask masks in the fields of an entity what masked leaves out.
func (a *API) mask(kind string, fields map[string]any) {
	for _, name := range secretFields[kind] {
		if fields[name] != nil {
			fields[name] = mask
		}
	}
	if c := a.byKind[kind]; c != nil && kind == "plugins" {
		maskConfig(c.schema.For(fields).Fields, fields)
	}
}

// draftTimeout bounds a write of many entities.
const draftTimeout = 2 * writeTimeout

var errBadDryRun = &statusError{http.StatusBadRequest, "dry_run must be 1 or 0"}

// dry says whether a request only wants to know what it would do.
func (q *request) dry() (bool, error) {
	switch q.query.Get("dry_run") {
	case "", "0", "false":
		return q.query.Has("dry_run") && q.query.Get("dry_run") == "", nil
	case "1", "true":
		return true, nil
	}
	return false, errBadDryRun
}
