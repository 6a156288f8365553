package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// clusterStatus is the answer of GET /cluster.
type clusterStatus struct {
	ClusterID string       `json:"cluster_id"`
	Leader    string       `json:"leader"`
	Index     uint64       `json:"index"`
	Nodes     []nodeStatus `json:"nodes"`
	Quorum    bool         `json:"quorum"`
}

type nodeStatus struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Voter   bool   `json:"voter"`
	State   string `json:"state"`
	Leader  bool   `json:"leader"`
	Index   uint64 `json:"index"`
}

func statusCommand() *cobra.Command {
	var admin adminOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a node and its cluster are doing",
		Long: `Status asks a node's Admin API what its cluster is and prints it. The exit code
is 1 if the node does not answer or the cluster has no quorum.`,
		Example: `  sluice status
  sluice status --admin http://localhost:18001`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			return printStatus(cmd, client)
		},
	}
	admin.bind(cmd.Flags())
	return cmd
}

func printStatus(cmd *cobra.Command, client *adminClient) error {
	var cluster clusterStatus
	if err := client.call(cmd.Context(), "GET", "/cluster", nil, &cluster); err != nil {
		return err
	}
	var node struct {
		Server struct {
			Active int64 `json:"connections_active"`
			Total  int64 `json:"total_requests"`
		} `json:"server"`
	}
	if err := client.call(cmd.Context(), "GET", "/status", nil, &node); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	leader := "none"
	for _, n := range cluster.Nodes {
		if n.Leader {
			leader = n.Name
		}
	}
	fmt.Fprintf(out, "cluster   %s\nleader    %s\nindex     %d\nrequests  %d proxied by this node, %d connections now\n\n",
		cluster.ClusterID, leader, cluster.Index, node.Server.Total, node.Server.Active)
	if err := printNodes(out, cluster.Nodes); err != nil {
		return err
	}
	if !cluster.Quorum {
		return fmt.Errorf("no quorum: the cluster takes no writes until more voters are back")
	}
	return nil
}

// printNodes prints them by name.
func printNodes(out io.Writer, nodes []nodeStatus) error {
	slices.SortFunc(nodes, func(a, b nodeStatus) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tID\tADDRESS\tSTATE\tROLE\tINDEX")
	for _, n := range nodes {
		role := "non-voter"
		switch {
		case n.Leader:
			role = "leader"
		case n.Voter:
			role = "voter"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\n", n.Name, n.ID, n.Address, n.State, role, n.Index)
	}
	return table.Flush()
}
