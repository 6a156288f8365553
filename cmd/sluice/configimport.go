package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

const (
	// plannedMost is how many changes of a sort (create services, say) a plan names.
	plannedMost = 10
	// problemsMost is how many problems of a file are told.
	problemsMost = 50
	// progressFrom is from how many bytes of a file, or changes, on it is told what is being done.
	progressFrom    = 1 << 20
	progressChanges = 1000
)

// importRun is one import of a file, or a comparison with it.
type importRun struct {
	admin                  adminOptions
	file                   string
	dry, replace, yes, all bool
	in                     io.Reader
	out, errs              io.Writer

	client *adminClient // from open on, as the file's text
	text   []byte
}

// configPlan is the part of an answer to POST /config that is printed.
type configPlan struct {
	Index   uint64          `json:"index"`
	Count   int             `json:"count"`
	Changes []plannedChange `json:"changes"`
}

type plannedChange struct {
	shownChange
	Fields []struct {
		Field  string          `json:"field"`
		Before json.RawMessage `json:"before"`
		After  json.RawMessage `json:"after"`
	} `json:"fields"`
}

var errNotAsked = errors.New("this is no terminal to ask on: --yes imports without asking, --dry-run only shows the plan")

func (r *importRun) do(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	plan, err := r.plan(ctx)
	if err != nil {
		return err
	}
	if plan.Count == 0 {
		fmt.Fprintln(r.out, "Nothing to do: the configuration is what the file says.")
		return nil
	}
	plan.print(r.out, r.all)
	switch {
	case r.dry:
		fmt.Fprintln(r.out, "Nothing was done.")
		return nil
	case !r.yes:
		if err := r.ask(); err != nil {
			return err
		}
	}
	if plan.Count >= progressChanges {
		fmt.Fprintf(r.errs, "Importing %s ...\n", changes(plan.Count))
	}
	start := time.Now()
	done, err := r.post(ctx, url.Values{"answer": {"changes"}})
	if err != nil {
		return err
	}
	switch {
	case done.Count == 0:
		fmt.Fprintln(r.out, "Nothing to do any more: somebody else was faster.")
	case done.Count != plan.Count:
		fmt.Fprintf(r.out, "Imported, at index %d, in %s. The configuration was changed since the plan was made: %s and not %d.\n",
			done.Index, since(start), changes(done.Count), plan.Count)
	default:
		fmt.Fprintf(r.out, "Imported: %s at index %d, in %s.\n", changes(done.Count), done.Index, since(start))
	}
	return nil
}

func since(start time.Time) string { return time.Since(start).Round(10 * time.Millisecond).String() }

// diff prints what differs, and ends with exit code 1 if anything does.
func (r *importRun) diff(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	plan, err := r.plan(ctx)
	if err != nil || plan.Count == 0 {
		return err
	}
	for i := range plan.Changes {
		c := &plan.Changes[i]
		fmt.Fprintln(r.out, c.mark())
		for _, f := range c.Fields {
			before, after := shortValue(f.Before), shortValue(f.After)
			if before == after { // a secret
				after += " (another one)"
			}
			fmt.Fprintf(r.out, "    %s: %s -> %s\n", f.Field, before, after)
		}
	}
	fmt.Fprintln(r.out, plan.summary())
	return &codeError{1, errTold}
}

// shortValue is a value on one line of bearable length.
func shortValue(raw json.RawMessage) string {
	const most = 200
	if text := string(bytes.TrimSpace(raw)); len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	} else if text != "" {
		return text
	}
	return "null"
}

// open finds the node and reads the file.
func (r *importRun) open() (err error) {
	if r.client, err = configClient(&r.admin); err == nil {
		r.text, err = r.read()
	}
	return err
}

// read reads the file.
func (r *importRun) read() ([]byte, error) {
	in := r.in
	if r.file != "-" {
		f, err := os.Open(r.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxConfigFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", r.file, err)
	case len(text) > maxConfigFile:
		return nil, fmt.Errorf("%s is larger than %d MiB", r.file, maxConfigFile>>20)
	}
	return text, nil
}

func (r *importRun) plan(ctx context.Context) (*configPlan, error) {
	if len(r.text) >= progressFrom {
		fmt.Fprintf(r.errs, "Checking %d MB ...\n", len(r.text)/1_000_000+1)
	}
	return r.post(ctx, url.Values{"dry_run": {"1"}})
}

func (r *importRun) post(ctx context.Context, query url.Values) (*configPlan, error) {
	query.Set("flatten_errors", "1")
	if !r.replace {
		query.Set("merge", "1")
	}
	plan := new(configPlan)
	err := r.client.call(ctx, http.MethodPost, "/config?"+query.Encode(), map[string]string{"config": string(r.text)}, plan)
	var refused *adminError
	if errors.As(err, &refused) && refused.status == http.StatusBadRequest {
		return nil, r.told(refused)
	}
	return plan, err
}

// ask asks for a yes.
func (r *importRun) ask() error {
	f, ok := r.in.(*os.File)
	if !ok || r.file == "-" || !isatty.IsTerminal(f.Fd()) {
		return errNotAsked
	}
	fmt.Fprint(r.out, "\nImport this? Only yes is a yes: ")
	line, err := bufio.NewReader(f).ReadString('\n')
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("nothing was done")
	}
	return err
}

// mark is a change as plans show it.
func (c *plannedChange) mark() string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	return map[string]string{"create": "+", "update": "~", "delete": "-"}[c.Action] + " " + c.Entity + " " + name
}

// print shows a plan: what is made, changed and removed, of each sort the first few.
func (p *configPlan) print(out io.Writer, all bool) {
	for _, action := range []string{"create", "update", "delete"} {
		shown, entities := map[string]int{}, []string{}
		for i := range p.Changes {
			c := &p.Changes[i]
			if c.Action != action {
				continue
			}
			if shown[c.Entity] == 0 {
				entities = append(entities, c.Entity)
			}
			if shown[c.Entity]++; shown[c.Entity] <= plannedMost || all {
				fmt.Fprintln(out, c.mark()+c.fieldNames())
			}
		}
		for _, entity := range entities {
			if more := shown[entity] - plannedMost; more > 0 && !all {
				fmt.Fprintf(out, "... and %d more %s to %s (--all shows them)\n", more, entity, action)
			}
		}
	}
	fmt.Fprintln(out, p.summary())
}

// fieldNames lists the fields that an update changes.
func (c *plannedChange) fieldNames() string {
	const most = 5
	var names []string
	for i := range c.Fields[:min(most, len(c.Fields))] {
		names = append(names, c.Fields[i].Field)
	}
	if more := len(c.Fields) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func (p *configPlan) summary() string {
	count := map[string]int{}
	for i := range p.Changes {
		count[p.Changes[i].Action]++
	}
	return fmt.Sprintf("%d to create, %d to update, %d to delete.", count["create"], count["update"], count["delete"])
}

// told prints all that is wrong with a file, entity by entity, in place of one long sentence.
func (r *importRun) told(refused *adminError) error {
	var body struct {
		Fields    map[string]any `json:"fields"`
		Flattened []struct {
			Name   string         `json:"entity_name"`
			ID     string         `json:"entity_id"`
			Type   string         `json:"entity_type"`
			Entity map[string]any `json:"entity"`
			Errors []struct {
				Field   string `json:"field"`
				Message any    `json:"message"`
			} `json:"errors"`
		} `json:"flattened_errors"`
	}
	if json.Unmarshal(refused.body, &body) != nil || len(body.Fields)+len(body.Flattened) == 0 {
		return refused
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(body.Fields)) {
		lines = append(lines, fmt.Sprintf("%s: %v", name, body.Fields[name]))
	}
	for _, e := range body.Flattened {
		who := e.Type + " " + e.Name
		if e.Name == "" {
			who = e.Type + " " + calledBy(e.ID, e.Entity)
		}
		for _, problem := range e.Errors {
			line := who + ": "
			if problem.Field != "" {
				line += problem.Field + ": "
			}
			lines = append(lines, line+fmt.Sprint(problem.Message))
		}
	}
	fmt.Fprintf(r.errs, "sluice: %s is refused, and nothing was done:\n", r.file)
	for _, line := range lines[:min(problemsMost, len(lines))] {
		fmt.Fprintln(r.errs, "  "+line)
	}
	if more := len(lines) - problemsMost; more > 0 {
		fmt.Fprintf(r.errs, "  ... and %d more\n", more)
	}
	return errTold
}

// calledBy is what people would know an entity by that has no name.
func calledBy(id string, entity map[string]any) string {
	for _, field := range []string{"username", "custom_id", "target", "group", "prefix", "kid"} {
		if text, ok := entity[field].(string); ok && text != "" {
			return field + "=" + text
		}
	}
	if id != "" {
		return id
	}
	text, err := json.Marshal(entity)
	if err != nil {
		return "without a name"
	}
	return shortValue(text)
}
