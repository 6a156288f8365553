package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

const pathBudgets = "/cluster/budgets"

// shownBudgets is the part of GET /cluster/budgets that is printed.
type shownBudgets struct {
	Data        []shownBudget `json:"data"`
	Next        string        `json:"next"`
	Unreachable []shownNode   `json:"unreachable"`
}

type shownBudget struct {
	ID    string `json:"id"`
	Limit *struct {
		ID           string `json:"id"`
		Plugin       string `json:"plugin"`
		InstanceName string `json:"instance_name"`
	} `json:"limit"`
	Key         string        `json:"key"`
	Window      string        `json:"window"`
	Reset       int64         `json:"reset"`
	Max         int64         `json:"max"`
	Granted     int64         `json:"granted"`
	Spent       int64         `json:"spent"`
	Left        int64         `json:"left"`
	Pool        int64         `json:"pool"`
	Holders     []shownHolder `json:"holders"`
	Unreachable []shownNode   `json:"unreachable"` // of an answer about one budget
}

type shownHolder struct {
	Node      shownNode `json:"node"`
	Reachable bool      `json:"reachable"`
	Tokens    int64     `json:"tokens"`
	Pending   int64     `json:"pending"`
}

type shownNode struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (n shownNode) String() string {
	if n.Name == "" {
		return n.ID
	}
	return n.Name
}

func budgetsCommand() *cobra.Command {
	var admin adminOptions
	var all bool
	filters := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "budgets",
		Short: "Show what is left of rate limits, and who holds it; add to a budget or reset it",
		Long: `Budgets lists what every key has used of every limit in the windows that are open,
over the whole cluster: MAX is the limit, with what was granted on top; HELD says where
what is LEFT is: with which nodes, and in the pool that the replicated log keeps. ID is
what "grant" and "reset" want.

Name what is counted with --consumer, with --ip where the limit counts addresses, and
with --key for anything else: a header's value, a credential's, service's or route's id.
Keys are kept as hashes only, so KEY shows the one that was asked for.`,
		Example: `  sluice budgets
  sluice budgets --consumer alice
  sluice budgets --limit my-limit --ip 192.0.2.7 --window minute
  sluice budgets grant 2f0b6c...-minute-1781524800 100
  sluice budgets reset 2f0b6c...-minute-1781524800`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range filters {
				if cmd.Flags().Changed(name) {
					query.Set(name, *value)
				}
			}
			return printBudgets(cmd.Context(), cmd.OutOrStdout(), client, query, all)
		},
	}
	admin.bind(cmd.PersistentFlags())
	cmd.Flags().BoolVar(&all, "all", false, "all budgets instead of the first 100")
	for name, usage := range map[string]string{
		"limit":    "only of the plugin with this `id` or instance_name",
		"key":      "only of what is counted under this `text`",
		"consumer": "only of the consumer with this `name` or id, if the limit counts consumers",
		"ip":       "only of the client with this `address`, if the limit counts addresses",
		"window":   "only of windows of this `length`: minute, 90s, sliding.60s",
		"node":     "only of what the `node` with this name or id has counted",
	} {
		filters[name] = cmd.Flags().String(name, "", usage)
	}
	cmd.AddCommand(grantCommand(&admin), resetCommand(&admin))
	return cmd
}

// printBudgets prints the first page, or all.
func printBudgets(ctx context.Context, out io.Writer, client *adminClient, query url.Values, all bool) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LIMIT\tKEY\tWINDOW\tMAX\tSPENT\tLEFT\tRESET\tHELD\tID")
	next := pathBudgets
	if len(query) > 0 {
		next += "?" + query.Encode()
	}
	var page shownBudgets
	for first := true; next != "" && (first || all); first = false {
		page = shownBudgets{}
		if err := client.call(ctx, "GET", next, nil, &page); err != nil {
			return err
		}
		for i := range page.Data {
			page.Data[i].row(table)
		}
		next = page.Next
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if next != "" {
		fmt.Fprintln(out, "\nThere are more: --all shows them, --limit, --consumer and others narrow the list.")
	}
	return printUnreachable(out, page.Unreachable)
}

// printUnreachable says whose share is not in the numbers.
func printUnreachable(out io.Writer, nodes []shownNode) error {
	if len(nodes) == 0 {
		return nil
	}
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.String()
	}
	_, err := fmt.Fprintf(out, "\nNot reachable: %s. What they have spent and hold is missing above.\n", strings.Join(names, ", "))
	return err
}

// row prints a budget as a line of a table.
func (b *shownBudget) row(table io.Writer) {
	limit, key, most := "unknown", "-", strconv.FormatInt(b.Max, 10)
	if b.Limit != nil {
		if limit = b.Limit.InstanceName; limit == "" {
			limit = b.Limit.Plugin + " " + b.Limit.ID
		}
	}
	if b.Key != "" {
		key = b.Key
	}
	if b.Granted > 0 {
		most += fmt.Sprintf("+%d", b.Granted)
	}
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%ds\t%s\t%s\n", limit, key, b.Window, most, b.Spent, b.Left, b.Reset, b.held(), b.ID)
}

// held says where the tokens are.
func (b *shownBudget) held() string {
	var parts []string
	for _, h := range b.Holders {
		switch n := h.Tokens + h.Pending; {
		case !h.Reachable:
			parts = append(parts, h.Node.String()+" ?")
		case n != 0:
			parts = append(parts, fmt.Sprintf("%s %d", h.Node, n))
		}
	}
	if b.Pool > 0 {
		parts = append(parts, fmt.Sprintf("pool %d", b.Pool))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func grantCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "grant BUDGET-ID TOKENS",
		Short: "Let a budget's window admit more than its limit",
		Long: `Grant adds tokens to one budget until its window ends, on all nodes. The limit and
the windows to come stay as they are. "sluice budgets" shows the ids.`,
		Example: `  sluice budgets grant 2f0b6c...-minute-1781524800 100`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%s takes the id of a budget (sluice budgets shows them) and how many tokens to add", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			tokens, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || tokens < 1 {
				return fmt.Errorf("%q is no number of tokens", args[1])
			}
			return changeBudget(cmd, admin, args[0], "grant", map[string]int64{"tokens": tokens})
		},
	}
}

func resetCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "reset BUDGET-ID",
		Short: "Give a budget back what was spent of it",
		Long: `Reset grants what has been spent of one budget, so that as much is left as at the
beginning of its window. What nodes have spent that do not answer is not known,
and not given back. "sluice budgets" shows the ids.`,
		Example: `  sluice budgets reset 2f0b6c...-minute-1781524800`,
		Args:    exactlyOne("the id of a budget (sluice budgets shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeBudget(cmd, admin, args[0], "reset", nil)
		},
	}
}

// changeBudget asks for a change and prints what the budget is then.
func changeBudget(cmd *cobra.Command, admin *adminOptions, id, what string, body any) error {
	client, err := admin.client()
	if err != nil {
		return err
	}
	var now shownBudget
	if err := client.call(cmd.Context(), "POST", pathBudgets+"/"+url.PathEscape(id)+"/"+what, body, &now); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d left of %d and %d granted, for %d s\n", now.Left, now.Max, now.Granted, now.Reset)
	return printUnreachable(out, now.Unreachable)
}
