package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
)

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show and change who belongs to a cluster",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var admin adminOptions
	admin.bind(cmd.PersistentFlags())
	cmd.AddCommand(membersCommand(&admin), leaveCommand(&admin), removeCommand(&admin), rotateCommand(&admin))
	return cmd
}

func membersCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the nodes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			var cluster clusterStatus
			if err := client.call(cmd.Context(), "GET", "/cluster", nil, &cluster); err != nil {
				return err
			}
			return printNodes(cmd.OutOrStdout(), cluster.Nodes)
		},
	}
}

func leaveCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "Take the node that is asked out of its cluster, and stop it",
		Long: `Leave makes the node behind --admin give up its membership: it finishes its
requests, hands what it holds of rate limits to the other nodes, hands over
leadership if it has it, is removed from the cluster, and stops. To stop a node that shall come back, send it
SIGTERM: that is a restart and changes no membership.`,
		Example: `  sluice cluster leave --admin http://localhost:28001`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			if err := client.call(cmd.Context(), "POST", pathLeave, nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the node has left the cluster and is stopping")
			return err
		},
	}
}

func removeCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE-ID",
		Short: "Remove a node that will not come back",
		Long: `Remove takes a node that is gone for good out of the cluster, so that it no
longer counts for the quorum. "sluice cluster members" shows the ids.`,
		Example: `  sluice cluster remove 0198c3f2-7d1e-7b52-8a1f-2f3c4d5e6f70`,
		Args:    exactlyOne("the id of a node (sluice cluster members shows them)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			if err := client.call(cmd.Context(), "DELETE", pathNodes+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return err
		},
	}
}

// exactlyOne wants one argument and says which.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s takes %s", cmd.CommandPath(), what)
		}
		return nil
	}
}
