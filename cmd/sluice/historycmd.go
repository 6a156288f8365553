package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// shownHistory is the part of GET /history that is printed.
type shownHistory struct {
	Data   []shownWrite `json:"data"`
	Since  uint64       `json:"since"`
	Offset string       `json:"offset"`
}

type shownWrite struct {
	Index   uint64        `json:"index"`
	Time    string        `json:"time"`
	Who     string        `json:"who"`
	From    string        `json:"from"`
	Action  string        `json:"action"`
	Count   int           `json:"count"`
	Changes []shownChange `json:"changes"`
}

type shownChange struct {
	Action string `json:"action"`
	Entity string `json:"entity"`
	ID     string `json:"id"`
	Name   string `json:"name"`
}

func (c *shownChange) String() string {
	name := c.Name
	if name == "" {
		name = c.ID
	}
	return c.Action + " " + c.Entity + " " + name
}

func historyCommand() *cobra.Command {
	var admin adminOptions
	var size int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List who changed what of the configuration, the newest change first",
		Long: `History lists the changes of the configuration that the cluster remembers: the index
of each in the replicated log, when it was made, from where, and what it changed.
GET /history/INDEX of the Admin API shows the entities before and after, and
?as_of=INDEX on any GET what the configuration was.`,
		Example: `  sluice history
  sluice history --size 5
  sluice config rollback 1234 --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			var page shownHistory
			if err := client.call(cmd.Context(), http.MethodGet, "/history?size="+strconv.Itoa(size), nil, &page); err != nil {
				return err
			}
			return page.print(cmd.OutOrStdout())
		},
	}
	admin.bind(cmd.Flags())
	cmd.Flags().IntVar(&size, "size", 20, "how many changes, 1 to 1000")
	return cmd
}

func (p *shownHistory) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "INDEX\tTIME\tFROM\tREQUEST\tCHANGED")
	for i := range p.Data {
		w := &p.Data[i]
		from := w.From
		if w.Who != "" {
			from = w.Who + " (" + w.From + ")"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", w.Index, w.Time, from, w.Action, summary(w.Changes, w.Count))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case p.Offset != "":
		fmt.Fprintln(out, "\nThere are more: --size shows them.")
	case p.Since > 0:
		fmt.Fprintf(out, "\nWhat was up to index %d is not remembered.\n", p.Since)
	}
	return nil
}

// summary names a few changes and counts the rest.
func summary(changes []shownChange, count int) string {
	const most = 3
	var parts []string
	for i := range changes[:min(most, len(changes))] {
		parts = append(parts, changes[i].String())
	}
	if rest := count - len(parts); rest > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(parts, ", ")
}

func rollbackCommand() *cobra.Command {
	var admin adminOptions
	var dry bool
	cmd := &cobra.Command{
		Use:   "rollback INDEX",
		Short: "Make the configuration what it was after a change",
		Long: `Rollback makes the whole configuration what it was after the change of an index, or at
a time (2026-01-31T12:00:00Z). It is a new change, on all nodes at once or not at all:
the history goes on, and another rollback undoes it. "sluice history" lists the indexes.`,
		Example: `  sluice config rollback 1234 --dry-run
  sluice config rollback 1234
  sluice config rollback 2026-01-31T12:00:00Z`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			return rollback(cmd.Context(), cmd.OutOrStdout(), client, args[0], dry)
		},
	}
	admin.bind(cmd.Flags())
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would change")
	return cmd
}

func rollback(ctx context.Context, out io.Writer, client *adminClient, to string, dry bool) error {
	path := "/history/" + url.PathEscape(to) + "/rollback"
	if dry {
		path += "?dry_run=1"
	}
	var done struct {
		Index   uint64        `json:"index"`
		Count   int           `json:"count"`
		Changes []shownChange `json:"changes"`
	}
	if err := client.call(ctx, http.MethodPost, path, nil, &done); err != nil {
		return err
	}
	for i := range done.Changes {
		fmt.Fprintln(out, done.Changes[i].String())
	}
	switch {
	case done.Count == 0:
		fmt.Fprintf(out, "Nothing to do: the configuration is that of %s.\n", to)
	case dry:
		fmt.Fprintf(out, "%s; nothing was done.\n", changes(done.Count))
	default:
		fmt.Fprintf(out, "%s at index %d.\n", changes(done.Count), done.Index)
	}
	return nil
}

func changes(n int) string {
	if n == 1 {
		return "1 change"
	}
	return strconv.Itoa(n) + " changes"
}

func auditCommand() *cobra.Command {
	var access adminOptions
	var admin []string
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the history was not altered",
		Long: `Verify has nodes compute the chain of hashes of their history anew: each change's hash
is of the change and of the hash before. With several nodes it also compares what they
have at the same index.`,
		Example: `  sluice audit verify
  sluice audit verify --admin http://node1:8001 --admin http://node2:8001`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return verifyHistories(cmd.Context(), cmd.OutOrStdout(), access, admin)
		},
	}
	verify.Flags().StringArrayVar(&admin, "admin", []string{defaultAdminURL}, "URL of a node's Admin API; may be repeated")
	access.bindAccess(verify.Flags())
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check the history of the configuration",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verify)
	return cmd
}

var errDiffer = errors.New("nodes have different histories")

func verifyHistories(ctx context.Context, out io.Writer, access adminOptions, nodes []string) error {
	hashes := map[uint64]string{} // by index
	for _, node := range nodes {
		access.url = node
		client, err := access.client()
		if err != nil {
			return err
		}
		var v struct {
			Changes int    `json:"changes"`
			Index   uint64 `json:"index"`
			Since   uint64 `json:"since"`
			Hash    string `json:"hash"`
		}
		if err := client.call(ctx, http.MethodGet, "/history/verify", nil, &v); err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
		fmt.Fprintf(out, "%s: %s after index %d are whole, up to index %d: %s\n", node, changes(v.Changes), v.Since, v.Index, v.Hash)
		if other, known := hashes[v.Index]; known && other != v.Hash {
			return fmt.Errorf("%w at index %d", errDiffer, v.Index)
		}
		hashes[v.Index] = v.Hash
	}
	return nil
}
