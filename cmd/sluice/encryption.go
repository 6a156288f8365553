package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/internal/seal"
)

// rotateTimeout bounds a rotation; the Admin API's own limit is a little later.
const rotateTimeout = 110 * time.Second

// encryptionAnswer is how every member stores the state. Message says why a
// rotation was refused or is not complete.
type encryptionAnswer struct {
	Message string               `json:"message,omitempty"`
	Nodes   []cluster.Encryption `json:"nodes"`
}

// rotate leaves one key in use. What has become of it is told also if that failed.
func (g *gateway) rotate(ctx context.Context, _ []string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	nodes, err := g.node.RotateEncryption(ctx)
	answer := encryptionAnswer{Message: "one key is in use", Nodes: nodes}
	if err != nil {
		answer.Message = err.Error()
	}
	return answer, operationFailed(err)
}

func encryptionCommand() *cobra.Command {
	var admin adminOptions
	cmd := &cobra.Command{
		Use:   "encryption",
		Short: "Show how the state is stored, and make keys",
		Long: `Encryption shows, for each node, by which key it seals what it stores now, and
what its disk holds: snapshots and log entries by the keys that sealed them.`,
		Example: `  sluice encryption
  sluice encryption key >> /etc/sluice/keys`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			var answer encryptionAnswer
			if err := client.call(cmd.Context(), http.MethodGet, pathEncryption, nil, &answer); err != nil {
				return err
			}
			return printEncryption(cmd.OutOrStdout(), answer.Nodes)
		},
	}
	admin.bind(cmd.Flags())
	cmd.AddCommand(&cobra.Command{
		Use:   "key",
		Short: "Print a new key for encryption_keys",
		Long: `Key prints 32 random bytes in base64: one key for the setting encryption_keys, or
a line of a file that it names. Every node needs the same keys. Whoever loses them
loses the configuration: keep a copy elsewhere.`,
		Example: `  (umask 077; sluice encryption key > /etc/sluice/keys)`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), seal.NewKeyText())
			return err
		},
	})
	return cmd
}

func rotateCommand(admin *adminOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-encryption",
		Short: "Leave only the first of encryption_keys in use, on every node",
		Long: `Rotate-encryption has every node write its state anew, sealed with the first of
encryption_keys, and remove what is sealed with others, or in clear. After it, the
other keys can be taken out of the settings.

It changes nothing unless every node answers and has the same first key: put a new
key before the old one on each node, and restart them one by one. It can be repeated,
and finishes what was interrupted.`,
		Example: `  sluice cluster rotate-encryption`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client()
			if err != nil {
				return err
			}
			client.http.Timeout = rotateTimeout + 10*time.Second
			var answer encryptionAnswer
			if err := client.call(cmd.Context(), http.MethodPost, pathRotate, nil, &answer); err != nil {
				// How far it is, if there is somebody to tell.
				if client.call(cmd.Context(), http.MethodGet, pathEncryption, nil, &answer) == nil {
					return errors.Join(err, printEncryption(cmd.OutOrStdout(), answer.Nodes))
				}
				return err
			}
			if err := printEncryption(cmd.OutOrStdout(), answer.Nodes); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "\nonly the first key is in use; the others can be taken out of encryption_keys")
			return err
		},
	}
}

// printEncryption prints one line for each node.
func printEncryption(out io.Writer, nodes []cluster.Encryption) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tKEYS\tSEALS WITH\tSNAPSHOTS\tLOG ENTRIES")
	for _, e := range nodes {
		if e.Error != "" {
			fmt.Fprintf(table, "%s\t%s\n", e.Name, e.Error)
			continue
		}
		var entries []string
		for key, count := range e.Entries {
			entries = append(entries, fmt.Sprintf("%s: %d", keyName(key), count))
		}
		slices.Sort(entries)
		var snapshots []string
		for _, key := range e.Snapshots {
			snapshots = append(snapshots, keyName(key))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.Name, orDash(e.Keys), keyName(e.Key), orDash(snapshots), orDash(entries))
	}
	return table.Flush()
}

func keyName(id string) string {
	if id == "" {
		return "(clear)"
	}
	return id
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
