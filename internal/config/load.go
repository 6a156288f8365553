package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	confVariable = "SLUICE_CONF"
	// tokenVariable is what commands send to the Admin API; no setting.
	tokenVariable = "SLUICE_ADMIN_TOKEN"
)

// Sources are the layers over the defaults.
type Sources struct {
	// File is the settings file that was asked for; it must exist. "" takes
	// SLUICE_CONF, else the first of Places that exists, else none.
	File   string
	Places []string
	// Environ is like os.Environ.
	Environ []string
	// Flags holds the text of the flags that were given, by setting name.
	Flags map[string]string
}

// Places gives where a settings file is looked for when none is named.
func Places() []string { return []string{"./sluice.conf", "/etc/sluice/sluice.conf"} }

// Value is a setting as this node has it.
type Value struct {
	*Setting
	// Text is the value as written, Origin where: "default", a file and its
	// line, a variable, or a flag.
	Text   string
	Origin string

	parsed any
}

// Config is a node's settings. It does not change; safe for concurrent use.
type Config struct {
	file   string
	values map[string]*Value
	order  []*Value
	// unused and unknown are file keys and variables that set nothing: keys of
	// kong.conf, and names that neither Kong nor Sluice knows.
	unused, unknown []string
}

// Problems are the faults of a configuration, each one sentence. There is at
// least one.
type Problems []error

// Error gives the first problem and the number of the others.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].Error()
	}
	return fmt.Sprintf("%s (and %d more: sluice check lists them)", p[0], len(p)-1)
}

// Unwrap gives the problems to errors.Is and errors.As.
func (p Problems) Unwrap() []error { return p }

// Load reads the layers. The error is a Problems; the Config is given in any
// case, so that it can be shown, but must not be used after an error.
func Load(src Sources) (*Config, error) {
	c := &Config{values: map[string]*Value{}}
	for _, s := range Settings() {
		v := &Value{Setting: s, Text: s.Default, Origin: "default"}
		c.values[s.Name] = v
		c.order = append(c.order, v)
	}
	var problems Problems
	env := environment(src.Environ)
	problems = append(problems, c.readFile(src, env)...)
	c.readEnvironment(env)
	for _, v := range c.order {
		if text, ok := src.Flags[v.Name]; ok {
			v.Text, v.Origin = text, "flag --"+v.Flag()
		}
	}
	for _, v := range c.order {
		if err := v.parse(); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == 0 {
		problems = c.contradictions()
	}
	if len(problems) > 0 {
		return c, problems
	}
	return c, nil
}

func (v *Value) parse() error {
	parsed, err := v.kind.parse(v.Text)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", v.Name, v.Origin, err)
	}
	v.parsed = parsed
	return nil
}

// environment keeps the variables that may be ours and are not empty; compose
// files set variables to nothing when they mean the default.
func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value != "" && (strings.HasPrefix(name, "KONG_") || strings.HasPrefix(name, "SLUICE_")) {
			env[name] = value
		}
	}
	return env
}

// readFile finds and applies the settings file.
func (c *Config) readFile(src Sources, env map[string]string) []error {
	places, must := src.Places, false
	if path := env[confVariable]; path != "" {
		places, must = []string{path}, true
	}
	if src.File != "" {
		places, must = []string{src.File}, true
	}
	for _, path := range places {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) && !must {
			continue
		}
		if err != nil {
			return []error{fmt.Errorf("settings file: %w", err)}
		}
		defer f.Close()
		c.file = path
		pairs, err := parseFile(f)
		if err != nil {
			return []error{fmt.Errorf("settings file %s: %w", path, err)}
		}
		return c.applyFile(path, pairs)
	}
	return nil
}

func (c *Config) applyFile(path string, pairs []pair) []error {
	var problems []error
	for _, p := range pairs {
		origin := fmt.Sprintf("%s:%d", path, p.line)
		switch v := c.values[p.key]; {
		case v != nil:
			v.Text, v.Origin = p.value, origin
		case knownToKong(p.key):
			c.unused = append(c.unused, p.key+" ("+origin+")")
		default:
			problems = append(problems, fmt.Errorf("%s: unknown key %s%s", origin, p.key, c.didYouMean(p.key)))
		}
	}
	return problems
}

// didYouMean also knows the names that older releases of Kong had for nginx's
// directives (client_max_body_size).
func (c *Config) didYouMean(key string) string {
	if v := c.values[prefixHTTP+key]; v != nil {
		return fmt.Sprintf(", did you mean %s?", v.Name)
	}
	return DidYouMean(key, c.names())
}

// readEnvironment applies KONG_*, then SLUICE_*. A variable that is not known
// is never fatal: in a Kubernetes cluster a service called kong or sluice puts
// such variables into every pod.
func (c *Config) readEnvironment(env map[string]string) {
	for _, v := range c.order {
		for _, name := range v.Variables() {
			if text, ok := env[name]; ok {
				v.Text, v.Origin = text, name
				delete(env, name)
			}
		}
	}
	delete(env, confVariable)
	delete(env, tokenVariable)
	for name := range env {
		if key, ok := strings.CutPrefix(name, "KONG_"); ok && knownToKong(strings.ToLower(key)) {
			c.unused = append(c.unused, name)
		} else {
			c.unknown = append(c.unknown, name)
		}
	}
	slices.Sort(c.unused)
	slices.Sort(c.unknown)
}

// Variables gives the environment variables of a setting, the stronger last.
func (s *Setting) Variables() []string {
	if s.Kong {
		return []string{"KONG_" + strings.ToUpper(s.Name), s.Env()}
	}
	return []string{s.Env()}
}

func (c *Config) names() []string {
	names := make([]string, len(c.order))
	for i, v := range c.order {
		names[i] = v.Name
	}
	return names
}
