package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

const (
	// maxConfigFile bounds a file, in bytes; the Admin API has the same bound.
	maxConfigFile = 128 << 20
	// configTimeout bounds a request with a whole configuration.
	configTimeout = 3 * time.Minute
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Export, import and compare the configuration, or go back to an earlier one",
		Long: `Config works with the whole configuration of a cluster at once: as a file in the
declarative format of Kong (YAML or JSON, _format_version 1.1, 2.1 and 3.0; decK's files
too), and with its history. What a command changes it changes on all nodes at once or not
at all, and "sluice config rollback" takes it back.`,
		Example: `  sluice config export kong.yaml --with-secrets
  sluice config diff kong.yaml
  sluice config import kong.yaml
  sluice config rollback 1234`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(exportCommand(), importCommand(), diffCommand(), rollbackCommand())
	return cmd
}

// configClient is an Admin API client that waits for whole configurations.
func configClient(admin *adminOptions) (*adminClient, error) {
	client, err := admin.client()
	if err == nil {
		client.http.Timeout = configTimeout
	}
	return client, err
}

func exportCommand() *cobra.Command {
	var admin adminOptions
	var format string
	var secrets, nested bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the configuration to a file, or to standard output",
		Long: `Export writes the configuration as a declarative file, flat and sorted: equal
configurations give equal files, so they can be kept under version control. Times are left
out but where they mean something (created_at of routes and tokens, and the time at which
a credential ends, as ttl).

Secrets - keys, passwords, private keys, what plugins hold - are written as *** unless
--with-secrets is given. A file with *** is for reading: it cannot be imported. One with
secrets changes nothing when it is imported again; it can be read by its owner only.

With --nested what belongs to an entity is written in it, routes in their service and
credentials in their consumer, which decK reads too. But it refuses files with
oauth2_tokens, and with secrets of which only hashes are there ("_transform: false"):
passwords of basic-auth, and of oauth2 with hash_secret.`,
		Example: `  sluice config export
  sluice config export kong.yaml --with-secrets
  sluice config export deck.yaml --with-secrets --nested
  sluice config export --format json | jq .services`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := configClient(&admin)
			if err != nil {
				return err
			}
			text, err := export(cmd.Context(), client, format, secrets, nested)
			if err != nil {
				return err
			}
			if len(args) == 0 || args[0] == "-" {
				_, err = io.WriteString(cmd.OutOrStdout(), text)
				return err
			}
			mode := os.FileMode(0o644)
			if secrets {
				mode = 0o600
			}
			return replaceFile(args[0], text, mode)
		},
	}
	admin.bind(cmd.Flags())
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml or json")
	cmd.Flags().BoolVar(&secrets, "with-secrets", false, "write secrets as they are")
	cmd.Flags().BoolVar(&nested, "nested", false, "write what belongs to an entity in it")
	return cmd
}

func export(ctx context.Context, client *adminClient, format string, secrets, nested bool) (string, error) {
	if format != "yaml" && format != "json" {
		return "", fmt.Errorf("--format %q is not yaml or json", format)
	}
	query := url.Values{"format": {format}}
	if secrets {
		query.Set("with_secrets", "1")
	}
	if nested {
		query.Set("nested", "1")
	}
	var answer struct {
		Config string `json:"config"`
	}
	err := client.call(ctx, http.MethodGet, "/config?"+query.Encode(), nil, &answer)
	return answer.Config, err
}

// replaceFile writes a file whole or not at all.
func replaceFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".sluice-export-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func importCommand() *cobra.Command {
	var run importRun
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Make the configuration what a file says",
		Long: `Import reads a declarative file (- is standard input) and shows what it would change.
After a yes, or with --yes, it does all of it as one change, on all nodes at once or not at
all; if anything in the file is wrong, nothing is done.

Without --replace nothing is removed: entities are made, and those that are there become
what the file says of them, with the defaults for what it does not say. An entity without
an id is the one that has its name. With --replace what is not in the file goes; if the
file has select_tags in _info, only of what has all these tags. What decides who may use
the Admin API is neither exported nor touched.

It exits with 0 if the file was imported or there was nothing to do, and with 1 otherwise.`,
		Example: `  sluice config import kong.yaml --dry-run
  sluice config import kong.yaml
  sluice config import kong.yaml --replace --yes
  sluice config export --with-secrets --admin http://old:8001 | sluice config import - --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			run.file, run.in, run.out, run.errs = args[0], cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return run.do(cmd.Context())
		},
	}
	run.admin.bind(cmd.Flags())
	cmd.Flags().BoolVar(&run.dry, "dry-run", false, "only show what would change")
	cmd.Flags().BoolVar(&run.replace, "replace", false, "remove what is not in the file")
	cmd.Flags().BoolVar(&run.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&run.all, "all", false, "show every change, however many there are")
	return cmd
}

func diffCommand() *cobra.Command {
	var admin adminOptions
	var replace bool
	cmd := &cobra.Command{
		Use:   "diff FILE|-",
		Short: "Show what importing a file would change, field by field",
		Long: `Diff compares a declarative file (- is standard input) with the configuration, and shows
every field that an import would change. Of a secret it only says that it differs. With
--replace, what is not in the file is shown as removed.

It exits with 0 if there is no difference, with 1 if there is one, and with 2 if there was
an error.`,
		Example: `  sluice config diff kong.yaml
  sluice config diff kong.yaml --replace || echo "the cluster has drifted"`,
		Args: withCode(2, cobra.ExactArgs(1)),
		RunE: withCode(2, func(cmd *cobra.Command, args []string) error {
			run := importRun{admin: admin, file: args[0], replace: replace, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}
			return run.diff(cmd.Context())
		}),
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &codeError{2, flagError(cmd, err)} })
	admin.bind(cmd.Flags())
	cmd.Flags().BoolVar(&replace, "replace", false, "what is not in the file is to go")
	return cmd
}

// codeError is an error with an exit code of its own.
type codeError struct {
	code int
	error
}

func (e *codeError) Unwrap() error { return e.error }

// withCode gives the errors of a function an exit code, where they have none.
func withCode(code int, f func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		var has *codeError
		if err == nil || errors.As(err, &has) {
			return err
		}
		return &codeError{code, err}
	}
}
