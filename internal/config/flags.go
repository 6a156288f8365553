package config

import (
	"github.com/spf13/pflag"
)

// Flags collects the settings given as flags.
type Flags struct {
	given map[string]string
	file  string
}

// Bind adds --conf and one flag for each setting to set.
func Bind(set *pflag.FlagSet) *Flags {
	f := &Flags{given: map[string]string{}}
	set.StringVarP(&f.file, "conf", "c", "", "settings file in kong.conf's form (default ./sluice.conf or /etc/sluice/sluice.conf, if there)")
	for _, s := range Settings() {
		flag := set.VarPF(&flagValue{flags: f, setting: s}, s.Flag(), "", s.Help)
		flag.DefValue = s.Default
		if s.kind.bool {
			flag.NoOptDefVal = "on"
		}
	}
	return f
}

// Sources gives the layers: the flags parsed by now over the environment and
// the usual places of the settings file.
func (f *Flags) Sources(environ []string) Sources {
	return Sources{File: f.file, Places: Places(), Environ: environ, Flags: f.given}
}

// flagValue is one setting as a pflag.Value. It only collects text: values are
// judged by Load, in the same words for every layer.
type flagValue struct {
	flags   *Flags
	setting *Setting
}

func (v *flagValue) String() string {
	if v.flags == nil {
		return ""
	}
	return v.flags.given[v.setting.Name]
}

func (v *flagValue) Type() string { return v.setting.kind.name }

func (v *flagValue) Set(text string) error {
	if before, ok := v.flags.given[v.setting.Name]; ok && v.setting.kind.list {
		text = before + "," + text
	}
	v.flags.given[v.setting.Name] = text
	return nil
}
