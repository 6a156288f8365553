package api

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/fsm/schema"
)

// A declarative configuration is read in three steps: the text into a tree (package yamldoc), the tree into a list
// of items (here), the items into operations (declarative_plan.go). The items are never changed, so that a plan
// can be made anew when another writer was faster.

// document is a declarative configuration as it was sent.
type document struct {
	// sealed is _transform: false. Secrets are as they are stored.
	sealed bool
	// selectTags (decK's) bound what the configuration is about: entities that have all of them, and every
	// entity of the file gets them.
	selectTags []string
	items      map[string][]*item // by kind, in the order of the file
}

// item is an entity of a document.
type item struct {
	coll     *collection
	fields   map[string]any // as given, without what is nested in it
	parent   *item          // that it is nested in; nil at the top
	field    string         // by which it names the parent
	index    int            // in its list, from 0
	children []*item
}

// The versions of Kong's format. Before 3.0 a path was a regular expression if it looked like one.
var formatVersions = []string{"1.1", "2.1", "3.0"}

// ignoredSections are in Kong's dumps, and are about what is not here: a single workspace, and what the nodes of
// a Kong share.
var ignoredSections = []string{"parameters", "clustering_data_planes"}

const (
	msgUnknownField = "unknown field"
	msgRequired     = "required field missing"
	msgNoArray      = "expected an array"
	msgNoRecord     = "expected a record"
	msgNoString     = "expected a string"
	msgKonnect      = "this file is for Konnect, which Sluice is not: take the section out"
	msgWorkspace    = "there are no workspaces here: take it out, or write 'default'"
	msgDefaults     = "decK's own defaults are not known here: write them into the entities (deck file render does)"
)

// documentReader makes a document of a tree.
type documentReader struct {
	a       *API
	doc     *document
	version string
	failed  *declarativeError
	nested  map[string][]nesting // by the kind of the parent
	configs map[string]any       // decK's _plugin_configs
}

// nesting is a kind that may be nested in another one.
type nesting struct {
	coll  *collection
	field string
}

// readDocument reads a tree, and gives what is wrong with its form, if anything is, and the document as far as it
// could be read.
func (a *API) readDocument(tree map[string]any) (*document, *declarativeError) {
	r := &documentReader{a: a, doc: &document{items: make(map[string][]*item)}, failed: newDeclarativeError(),
		nested: make(map[string][]nesting)}
	for _, c := range a.declared() {
		for _, f := range c.Foreign {
			if parent := a.byKind[f.Kind]; !f.List && parent != nil && !keepsField(parent, c.Kind) {
				r.nested[f.Kind] = append(r.nested[f.Kind], nesting{c, f.Field})
			}
		}
	}
	r.meta(tree)
	for _, c := range a.declared() {
		r.list(c, tree[c.Kind], nil, "")
	}
	return r.doc, r.failed
}

// declared are the kinds that a configuration is made of.
func (a *API) declared() []*collection {
	return slices.DeleteFunc(slices.Clone(a.collections), func(c *collection) bool { return c.Access })
}

// keepsField says that a kind has a field of its own that is called as a kind is.
func keepsField(c *collection, kind string) bool {
	f := c.schema.Field(kind)
	return f != nil && !f.Transient
}

// meta reads what is not entities, and refuses what is nothing.
func (r *documentReader) meta(tree map[string]any) {
	r.doc.sealed = tree["_transform"] == false
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if problem := r.section(name, tree[name]); problem != "" {
			r.failed.field(name, problem)
		}
	}
	if _, given := tree["_format_version"]; !given {
		r.failed.field("_format_version", msgRequired)
	}
}

func (r *documentReader) section(name string, v any) string {
	switch name {
	case "_format_version":
		version, ok := v.(string)
		switch {
		case !ok:
			return msgNoString
		case !slices.Contains(formatVersions, version):
			return "expected one of: " + strings.Join(formatVersions, ", ")
		}
		r.version = version
	case "_transform":
		if _, ok := v.(bool); !ok {
			return "expected a boolean"
		}
	case "_comment":
		if _, ok := v.(string); !ok && v != nil {
			return msgNoString
		}
	case "_ignore":
	case "_info":
		return r.info(v)
	case "_workspace":
		if v != "default" && v != "" && v != nil {
			return msgWorkspace
		}
	case "_konnect":
		return msgKonnect
	case "_plugin_configs":
		var ok bool
		if r.configs, ok = v.(map[string]any); !ok && v != nil {
			return msgNoRecord
		}
	case "workspaces":
		if list, ok := v.([]any); ok && len(list) > 1 {
			return msgWorkspace
		}
	default:
		if c := r.a.byKind[name]; (c == nil || c.Access) && !slices.Contains(ignoredSections, name) {
			return msgUnknownField
		}
	}
	return ""
}

// info reads decK's section of that name.
func (r *documentReader) info(v any) string {
	info, ok := v.(map[string]any)
	if !ok {
		return msgNoRecord
	}
	if defaults, _ := info["defaults"].(map[string]any); len(defaults) > 0 {
		return msgDefaults
	}
	tags, ok := texts(info["select_tags"])
	if !ok {
		return "select_tags: expected an array of strings"
	}
	r.doc.selectTags = tags
	return ""
}

// texts gives a list of strings, and whether a value is one; null is an empty one.
func texts(v any) (list []string, ok bool) {
	values, ok := v.([]any)
	for _, value := range values {
		text, isText := value.(string)
		if !isText {
			return nil, false
		}
		list = append(list, text)
	}
	return list, ok || v == nil
}

// list reads the entities of one kind, at the top or nested in an entity.
func (r *documentReader) list(c *collection, v any, parent *item, field string) {
	list, ok := v.([]any)
	if empty, isMap := v.(map[string]any); v == nil || isMap && len(empty) == 0 {
		return
	}
	if !ok {
		r.failed.at(parent, c.Kind, msgNoArray)
		return
	}
	for i, element := range list {
		it := &item{coll: c, parent: parent, field: field, index: i}
		if name, isName := element.(string); isName && c.Kind == "snis" && parent != nil {
			element = map[string]any{"name": name} // as the Admin API has it
		}
		fields, ok := element.(map[string]any)
		if !ok {
			r.failed.add(it, msgNoRecord)
			continue
		}
		r.doc.items[c.Kind] = append(r.doc.items[c.Kind], it)
		if parent != nil {
			parent.children = append(parent.children, it)
		}
		r.item(it, fields)
	}
}

// item reads an entity, and what is nested in it.
func (r *documentReader) item(it *item, fields map[string]any) {
	it.fields = maps.Clone(fields)
	if comment, given := fields["_comment"]; given {
		if _, ok := comment.(string); !ok && comment != nil {
			r.failed.at(it, "_comment", msgNoString)
		}
	}
	for _, name := range []string{"_comment", "_ignore", "ws_id"} {
		delete(it.fields, name)
	}
	if it.coll.Kind == "plugins" {
		r.pluginConfig(it)
	}
	if it.coll.Kind == "routes" && (r.version == "1.1" || r.version == "2.1") {
		migratePaths(it.fields)
	}
	for _, n := range r.nested[it.coll.Kind] {
		delete(it.fields, n.coll.Kind)
		r.list(n.coll, fields[n.coll.Kind], it, n.field)
	}
}

// pluginConfig lays a plugin's config over the one that it shares with others by decK's _config.
func (r *documentReader) pluginConfig(it *item) {
	name, given := it.fields["_config"]
	if !given {
		return
	}
	delete(it.fields, "_config")
	key, _ := name.(string)
	shared, ok := r.configs[key].(map[string]any)
	if !ok {
		r.failed.at(it, "_config", fmt.Sprintf("there is no '%v' in _plugin_configs", name))
		return
	}
	config := maps.Clone(shared)
	if own, ok := it.fields["config"].(map[string]any); ok {
		maps.Copy(config, own)
	}
	it.fields["config"] = config
}

// literalPath is what was no regular expression before 3.0.
var literalPath = regexp.MustCompile(`^[a-zA-Z0-9.\-_~/%]*$`)

// migratePaths gives the paths of a route the form of 3.0, in which a regular expression begins with ~.
func migratePaths(fields map[string]any) {
	paths, ok := fields["paths"].([]any)
	if !ok {
		return
	}
	paths = slices.Clone(paths)
	for i, v := range paths {
		switch path, ok := v.(string); {
		case !ok:
		case literalPath.MatchString(path):
			paths[i] = schema.NormalizePath(path)
		default:
			paths[i] = "~" + decodeRegex(path)
		}
	}
	fields["paths"] = paths
}

var percentEscape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// decodeRegex decodes the escapes of a path that is a regular expression, once, as Kong did when it matched:
// those of reserved characters stay, and what would mean something in an expression is quoted.
func decodeRegex(path string) string {
	return percentEscape.ReplaceAllStringFunc(path, func(escape string) string {
		c := fromHex(escape[1])<<4 | fromHex(escape[2])
		switch {
		case strings.IndexByte("!#$%&'()*+,/:;=?@[]", c) >= 0:
			return strings.ToUpper(escape)
		case strings.IndexByte(`.^-{}\|`, c) >= 0:
			return `\` + string(rune(c))
		}
		return string([]byte{c})
	})
}
