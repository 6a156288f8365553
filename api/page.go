package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

const (
	defaultSize = 100
	maxSize     = 1000
	maxTags     = 5
)

// page is which part of a collection is asked for.
type page struct {
	size  int
	after []string // the keys of the last entry of the page before; nil for the first page
	tags  tagFilter
	query url.Values
}

// parsePage reads size and offset, and tags where the entities have them. keys is how many strings an
// offset is made of.
func parsePage(query url.Values, keys int, tagged bool) (*page, error) {
	p := &page{size: defaultSize, query: query}
	var err error
	if query.Has("size") {
		if p.size, err = parseSize(query.Get("size")); err != nil {
			return nil, err
		}
	}
	if query.Has("offset") {
		if p.after, err = parseOffset(query.Get("offset"), keys); err != nil {
			return nil, err
		}
	}
	if tagged && query.Has("tags") {
		if p.tags, err = parseTags(query.Get("tags")); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// withoutOffset gives a query whose pages have tokens of another kind.
func withoutOffset(query url.Values) url.Values {
	query = maps.Clone(query)
	query.Del("offset")
	return query
}

func parseSize(text string) (int, error) {
	invalid := func(message string) error { return kongError(codeInvalidSize, "invalid size", message, nil) }
	size, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, invalid("size must be a number")
	}
	if size != math.Trunc(size) || size < 1 || size > maxSize {
		return 0, invalid(fmt.Sprintf("size must be an integer between 1 and %d", maxSize))
	}
	return int(size), nil
}

// formatOffset makes Kong's token of the keys of the last entry of a page.
func formatOffset(keys ...string) string {
	text, err := json.Marshal(keys)
	if err != nil {
		return "" // strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseOffset(token string, keys int) ([]string, error) {
	invalid := func(why string) error {
		return kongError(codeInvalidOffset, "invalid offset", fmt.Sprintf("'%s' is not a valid offset: %s", token, why), nil)
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(token, "="))
	if err != nil {
		return nil, invalid("bad base64 encoding")
	}
	var after []string
	if err := json.Unmarshal(text, &after); err != nil || len(after) != keys {
		return nil, invalid("bad json encoding")
	}
	return after, nil
}

// tagFilter selects entities by tags; the zero value takes all.
type tagFilter struct {
	tags []string
	any  bool // one of the tags is enough
}

// parseTags reads "a,b" (all of these) or "a/b" (any of these).
func parseTags(text string) (tagFilter, error) {
	invalid := func(why string) (tagFilter, error) {
		return tagFilter{}, &schema.Violation{Options: true, Fields: map[string]any{"tags": why}}
	}
	if text == "" {
		return invalid("cannot be null")
	}
	f := tagFilter{any: strings.Contains(text, "/")}
	separator := ","
	if f.any {
		separator = "/"
	}
	f.tags = strings.Split(text, separator)
	for _, tag := range f.tags {
		if schema.ValidTag(tag) != nil {
			return invalid("invalid filter syntax")
		}
	}
	if len(f.tags) > maxTags {
		return invalid(fmt.Sprintf("cannot query more than %d tags", maxTags))
	}
	return f, nil
}

func (f tagFilter) matches(e *fsm.Entity) bool {
	if f.any {
		return slices.ContainsFunc(f.tags, func(tag string) bool { return slices.Contains(e.Tags(), tag) })
	}
	for _, tag := range f.tags {
		if !slices.Contains(e.Tags(), tag) {
			return false
		}
	}
	return true
}

// next gives the path of the next page. Kong repeats size on top-level collections only; tags are repeated
// wherever they select, or the next page would be one of another collection.
func (p *page) next(path, offset string, topLevel bool) string {
	next := path + "?offset=" + queryEscape(offset)
	if p.query.Has("tags") {
		next += "&tags=" + queryEscape(p.query.Get("tags"))
	}
	if topLevel && p.query.Has("size") {
		next += "&size=" + queryEscape(p.query.Get("size"))
	}
	return next
}

func queryEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// appendPage appends a page made of entries that are JSON already. offset is "" on the last page.
func appendPage(b []byte, next, offset string, entries func(b []byte) []byte) []byte {
	b = append(b, `{"data":[`...)
	b = entries(b)
	if offset == "" {
		return append(b, `],"next":null}`...)
	}
	b = append(b, `],"next":`...)
	b = appendString(b, next)
	b = append(b, `,"offset":`...)
	b = appendString(b, offset)
	return append(b, '}')
}

// appendString appends a string as JSON.
func appendString(b []byte, s string) []byte {
	text, err := encodeJSON(s)
	if err != nil {
		return append(b, `""`...) // strings always encode
	}
	return append(b, text...)
}
