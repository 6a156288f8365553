package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/internal/yamldoc"
)

// /config: the whole configuration as a declarative file. Kong has it without a database only; here it is a change
// of the cluster like others, done on all nodes at once or not at all.

var (
	errNoConfig    = &statusError{http.StatusBadRequest, "expected a declarative configuration"}
	errNoConfigArg = &statusError{http.StatusBadRequest,
		"expected a declarative configuration: send it as the argument 'config', or with the Content-Type text/yaml or application/json"}
	errBadFormat = &statusError{http.StatusBadRequest, "format must be 'yaml' or 'json'"}
)

func (a *API) declarativeRoutes(rt *router) {
	rt.handle(http.MethodGet, "/config", a.getConfig)
	rt.handle(http.MethodPost, "/config", a.postConfig)
	e, _ := rt.find("/config")
	e.read = a.readConfig
}

// getConfig answers GET /config as Kong without a database does, with the file as a string. with_secrets=1 leaves
// secrets in, nested=1 writes what belongs to an entity in it, format=json writes JSON.
func (a *API) getConfig(q *request) (*reply, error) {
	v := q.view()
	doc, err := a.export(v, exportForm{secrets: q.truthy("with_secrets"), nested: q.truthy("nested")})
	if err != nil {
		return nil, err
	}
	var text []byte
	switch q.query.Get("format") {
	case "", "yaml":
		text, err = yamldoc.YAML(doc)
	case "json":
		text, err = yamldoc.JSON(doc)
	default:
		return nil, errBadFormat
	}
	if err != nil {
		return nil, err
	}
	body, err := encodeJSON(map[string]string{"config": string(text)})
	if err != nil {
		return nil, err
	}
	return readReply(v, body), nil
}

// truthy reads an argument of the query, or of the body, as Kong reads flatten_errors.
func (q *request) truthy(name string) bool {
	value := q.query.Get(name)
	if given := q.body.fields[name]; given != nil && value == "" {
		value = fmt.Sprint(given)
	}
	return slices.Contains([]string{"1", "true", "on", "yes"}, strings.ToLower(value))
}

// readConfig reads the body of POST /config: what other endpoints take, and YAML. A body that is the file becomes
// the argument "config".
func (a *API) readConfig(w http.ResponseWriter, r *http.Request) (requestBody, error) {
	none := requestBody{}
	b, err := readRaw(w, r, a.cfg.MaxConfigBody)
	if err != nil {
		return none, err
	}
	for _, known := range []string{"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain", "application/octet-stream"} {
		if b.contentType == "" || b.is(known) {
			return requestBody{fields: map[string]any{"config": string(b.data)}, form: true}, nil
		}
	}
	if b.is("application/json") {
		if err := yamldoc.Bounded(b.data); err != nil {
			return none, unreadable(err)
		}
		if len(b.data) == 0 {
			return none, nil
		}
	}
	return b.decode()
}

// configTree gives the file of a request as a tree.
func (q *request) configTree() (map[string]any, error) {
	if _, direct := q.body.fields["_format_version"]; direct && !q.body.form {
		tree := maps.Clone(q.body.fields)
		for _, name := range []string{"check_hash", "flatten_errors"} { // Kong's clients may put them there
			delete(tree, name)
		}
		return tree, nil
	}
	value, given := q.body.fields["config"]
	text, isText := value.(string)
	switch {
	case isText && text != "":
		return parseConfig([]byte(text))
	case given || len(q.body.fields) == 0:
		return nil, errNoConfig
	case !q.body.form:
		return q.body.fields, nil // the reader says what is missing
	}
	return nil, errNoConfigArg
}

// parseConfig parses JSON or YAML. JSON is YAML, nearly; a text that looks like it is tried as JSON first.
func parseConfig(text []byte) (map[string]any, error) {
	if err := yamldoc.Bounded(text); err != nil {
		return nil, unreadable(err)
	}
	if strings.HasPrefix(strings.TrimLeft(string(text[:min(len(text), 1000)]), " \t\r\n"), "{") {
		if tree, err := decodeJSON(text); err == nil {
			return tree, nil
		}
	}
	tree, err := yamldoc.Parse(text)
	if err != nil {
		return nil, unreadable(err)
	}
	return tree, nil
}

// postConfig answers POST /config: it makes the configuration what a file says. Arguments: merge=1 removes
// nothing; dry_run=1 only tells what would change; check_hash=1 answers 304 if nothing does; flatten_errors=1
// lists errors by entity; answer=changes answers with what was changed in place of Kong's entities, which have
// their secrets with with_secrets=1.
func (a *API) postConfig(q *request) (*reply, error) {
	dry, err := q.dry()
	if err != nil {
		return nil, err
	}
	tree, err := q.configTree()
	if err != nil {
		return nil, err
	}
	doc, failed := a.readDocument(tree)
	failed.flatten = q.truthy("flatten_errors")
	if !dry && failed.orNil() == nil {
		// A file says what there is to be, so it must meet all that was made before it was sent.
		ctx, cancel := context.WithTimeout(q.Context(), servedTimeout)
		defer cancel()
		if err := a.bringUpToDate(ctx); err != nil {
			return nil, err
		}
	}
	rep := &reply{status: http.StatusCreated}
	var im *importer
	made, err := a.commitDraft(q, rep, dry, func(d *fsm.Draft) (bool, error) {
		im = a.newImporter(doc, failed, q.truthy("merge"), d)
		return false, im.run(d)
	})
	if err != nil {
		return rep, err
	}
	if q.truthy("check_hash") && len(made.changes) == 0 {
		rep.status = http.StatusNotModified
		return rep, nil
	}
	if dry {
		rep.status = http.StatusOK
	}
	if dry || q.query.Get("answer") == "changes" {
		rep.body, err = encodeJSON(a.configChanges(made, dry))
	} else {
		rep.body, err = encodeJSON(im.entities(q.truthy("with_secrets")))
	}
	return rep, err
}

// shownChanges is the answer that tells what a file changes.
type shownChanges struct {
	Index   uint64          `json:"index,omitempty"` // of the change
	DryRun  bool            `json:"dry_run,omitempty"`
	Count   int             `json:"count"`
	Changes []plannedChange `json:"changes"`
}

func (a *API) configChanges(made *drafted, dry bool) shownChanges {
	return shownChanges{made.index, dry, len(made.changes), a.planned(made.changes, dry)}
}

// entities is Kong's answer: the entities of the file, by kind and id.
func (im *importer) entities(secrets bool) map[string]map[string]any {
	all := make(map[string]map[string]any)
	for _, w := range im.order {
		if all[w.coll.Kind] == nil {
			all[w.coll.Kind] = make(map[string]any)
		}
		entity := w.entity
		if !secrets {
			entity = im.a.maskedFields(w.coll, entity)
		}
		all[w.coll.Kind][w.id] = entity
	}
	return all
}
