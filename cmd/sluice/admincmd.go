package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const pathTokens = "/admin_tokens"

// adminToken is a token of the Admin API, as that shows it. Token is only in the
// answer to the request that made it.
type adminToken struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Roles     []string `json:"roles"`
	Subject   *string  `json:"subject"`
	CreatedAt int64    `json:"created_at"`
	TTL       *int64   `json:"ttl"`
	Token     string   `json:"token"`
}

func adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Say who may use the Admin API",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(adminTokenCommand())
	return cmd
}

func adminTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke tokens",
		Long: `Tokens are what admin_auth asks for. Each has a name, which the history and the access
log show, and roles: super-admin, read-only, or one of /admin_roles. Only its hash is kept.

Whoever has lost all tokens makes a new one on a node's own machine: with admin_auth auto,
an admin_listen on loopback asks for none.`,
		Example: `  sluice admin token create ci --role team-a --ttl 720h
  sluice admin token create ops --role super-admin --subject ops.example.com
  sluice admin token list
  sluice admin token revoke ci`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var admin adminOptions
	admin.bind(cmd.PersistentFlags())
	cmd.AddCommand(createTokenCommand(&admin), listTokensCommand(&admin), revokeTokenCommand(&admin))
	return cmd
}

func createTokenCommand(admin *adminOptions) *cobra.Command {
	var roles []string
	var ttl time.Duration
	var subject string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it; it cannot be seen again",
		Long: `Create prints a new token, and nothing else, on its standard output. With --subject no
token is made: who shows a certificate of that common name, or with that URI if it has ://
in it, has the roles instead (see admin_ssl_client_ca).`,
		Args: exactlyOne("the name of the token"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			wanted := map[string]any{"name": args[0], "roles": roles}
			if ttl != 0 {
				if ttl < time.Second {
					return fmt.Errorf("--ttl %s: must be a second at least", ttl)
				}
				wanted["ttl"] = int64(ttl / time.Second)
			}
			if subject != "" {
				wanted["subject"] = subject
			}
			var made adminToken
			// Every node is to know it when it is used.
			if err := client.call(cmd.Context(), http.MethodPost, pathTokens+"?wait=all", wanted, &made); err != nil {
				return err
			}
			if made.Token != "" {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Token)
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&roles, "role", []string{"read-only"}, "role of the token; may be repeated")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it is valid, such as 720h; 0: until it is revoked")
	cmd.Flags().StringVar(&subject, "subject", "", "common name, or URI, of a client certificate that takes the token's place")
	return cmd
}

func listTokensCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without what is secret",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			return listTokens(cmd.Context(), cmd.OutOrStdout(), client)
		},
	}
}

func listTokens(ctx context.Context, out io.Writer, client *adminClient) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tROLES\tCERTIFICATE\tMADE\tVALID FOR")
	for next := pathTokens + "?size=1000"; next != ""; {
		var page struct {
			Data []adminToken `json:"data"`
			Next string       `json:"next"`
		}
		if err := client.call(ctx, http.MethodGet, next, nil, &page); err != nil {
			return err
		}
		for _, t := range page.Data {
			subject, left := "-", "ever"
			if t.Subject != nil {
				subject = *t.Subject
			}
			if t.TTL != nil {
				left = (time.Duration(*t.TTL) * time.Second).String()
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", t.Name, strings.Join(t.Roles, ","), subject,
				time.Unix(t.CreatedAt, 0).UTC().Format(time.RFC3339), left)
		}
		next = page.Next
	}
	return table.Flush()
}

func revokeTokenCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take a token away",
		Long: `Revoke returns when every live node has heard of it. One that is cut off from the others
takes the token until it is back.`,
		Args: exactlyOne("the name of a token (sluice admin token list shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			path := pathTokens + "/" + url.PathEscape(args[0])
			// A DELETE of what is not there is no error.
			if err := client.call(cmd.Context(), http.MethodGet, path, nil, nil); err != nil {
				return fmt.Errorf("token %s: %w", args[0], err)
			}
			if err := client.call(cmd.Context(), http.MethodDelete, path+"?wait=all", nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked %s\n", args[0])
			return err
		},
	}
}
