// Command sluice is an API gateway that is its own cluster, and the tools to
// run one. start.go shows how a node is put together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicegate/sluice/internal/config"
)

// version is set by the Makefile's -ldflags.
var version string

func main() {
	stop := profile()
	code := run(os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and gives the exit code. A failure is one
// sentence on stderr.
func run(args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(context.Background()); err != nil {
		if !errors.Is(err, errTold) {
			fmt.Fprintf(stderr, "sluice: %s\n", oneLine(err))
		}
		var coded *codeError
		if errors.As(err, &coded) {
			return coded.code
		}
		return 1
	}
	return 0
}

// errTold ends a command with exit code 1 after it has told everything itself.
var errTold = errors.New("told already")

// oneLine keeps joined errors in one sentence.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "An API gateway that is its own cluster",
		Long: `Sluice is an API gateway that is its own cluster: nodes find each other by
gossip, replicate their configuration through a Raft log, and keep rate limits
exactly across all nodes. It speaks Kong's Admin API and needs no database.`,
		Example: `  sluice dev --nodes 3 --upstream     three nodes on this machine, to try it
  sluice start                        one node on Kong's ports
  sluice start --join a:8005,b:8005   one more node for a cluster
  sluice jwt --consumer alice         a token for a request
  sluice check                        every setting and where it comes from`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(startCommand(), devCommand(), statusCommand(), clusterCommand(), encryptionCommand(), budgetsCommand(), historyCommand(), configCommand(), auditCommand(), adminCommand(), jwtCommand(), demoUpstreamCommand(), checkCommand(), versionCommand())
	return root
}

// knownCommand refuses what is no command, with the one that was meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return fmt.Errorf("unknown command %q%s", args[0], config.DidYouMean(args[0], names))
}

// flagError adds the flag that was meant to an unknown one.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := unknown.GetSpecifiedName()
	if hint := config.DidYouMean(name, names); hint != "" {
		return fmt.Errorf("unknown flag --%s%s", name, strings.Replace(hint, "mean ", "mean --", 1))
	}
	return fmt.Errorf("%w (sluice %s --help lists them)", err, strings.TrimPrefix(cmd.CommandPath(), "sluice "))
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "sluice %s (Kong Admin API %s)\n", buildVersion(), kongVersion)
			return err
		},
	}
}

// kongVersion is the Kong release whose Admin API and headers are spoken.
const kongVersion = "3.9.1"

// buildVersion is the version of this binary, "devel" if it was built without
// the Makefile.
func buildVersion() string {
	if version != "" {
		return version + buildKind
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version + buildKind
	}
	return "devel" + buildKind
}
