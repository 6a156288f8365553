package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/internal/certs"
	"github.com/sluicegate/sluice/internal/config"
	"github.com/sluicegate/sluice/internal/seal"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Print every setting and where it comes from, and what is wrong",
		Long: `Check reads the settings as start would, prints every value with its origin,
and then what is wrong. The exit code is 1 if start would refuse them.

Later layers win: defaults < file < KONG_* < SLUICE_* < flags.`,
		Example: `  sluice check
  sluice check --conf /etc/kong/kong.conf
  KONG_PROXY_LISTEN=0.0.0.0:80 sluice check`,
		Args: cobra.NoArgs,
	}
	flags := config.Bind(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(flags.Sources(os.Environ()))
		if err := printSettings(cmd.OutOrStdout(), cfg); err != nil {
			return err
		}
		problems := []error{err}
		var many config.Problems
		if errors.As(err, &many) {
			problems = many
		} else if err == nil {
			problems = append(usable(cfg), checkKeys(cmd.OutOrStdout(), cfg)...)
		}
		for _, p := range problems {
			fmt.Fprintf(cmd.ErrOrStderr(), "sluice: %s\n", oneLine(p))
		}
		if len(problems) > 0 {
			return errTold
		}
		return nil
	}
	return cmd
}

func printSettings(out io.Writer, cfg *config.Config) error {
	if file := cfg.File(); file != "" {
		fmt.Fprintf(out, "settings file: %s\n\n", file)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tORIGIN")
	for _, v := range cfg.Values() {
		text := v.Shown()
		if text == "" {
			text = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, text, v.Origin)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, note := range cfg.Notes() {
		fmt.Fprintf(out, "\nnote: %s\n", note)
	}
	return nil
}

// checkKeys reads the encryption keys and tells their ids.
func checkKeys(out io.Writer, cfg *config.Config) []error {
	keys, warnings, err := seal.Load(cfg.EncryptionKeys())
	if err != nil {
		return []error{fmt.Errorf("encryption_keys: %w", err)}
	}
	for _, w := range warnings {
		fmt.Fprintf(out, "\nnote: %s\n", w)
	}
	if ids := keys.IDs(); len(ids) > 0 {
		fmt.Fprintf(out, "\nencryption keys: %s; the first seals\n", strings.Join(ids, ", "))
	}
	return nil
}

// usable looks at what the settings name: certificates and the data directory. It changes nothing.
func usable(cfg *config.Config) []error {
	var problems []error
	for _, files := range []func() (certs, keys []string){cfg.ProxyCertificates, cfg.AdminCertificates} {
		if crt, key := files(); len(crt) > 0 {
			if _, err := certs.FromFiles(crt, key); err != nil {
				problems = append(problems, err)
			}
		}
	}
	if crt, key := cfg.ClientCertificate(); crt != "" {
		if _, err := certs.Pair(crt, key); err != nil {
			problems = append(problems, err)
		}
	}
	for _, trusted := range [][]string{cfg.TrustedCertificates(), cfg.AdminClientAuthorities()} {
		if _, _, err := certs.Trust(trusted); err != nil {
			problems = append(problems, err)
		}
	}
	if info, err := os.Stat(cfg.DataDir()); err == nil && !info.IsDir() {
		problems = append(problems, fmt.Errorf("data_dir %s is not a directory", cfg.DataDir()))
	} else if err == nil {
		if _, err := os.ReadDir(cfg.DataDir()); err != nil {
			problems = append(problems, fmt.Errorf("data_dir: %w", err))
		}
	}
	return problems
}
