package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/proxy/plugin"

	// the plugins whose configurations the probes ask for
	_ "github.com/sluicegate/sluice/proxy/plugins/acl"
	_ "github.com/sluicegate/sluice/proxy/plugins/basicauth"
	_ "github.com/sluicegate/sluice/proxy/plugins/cors"
	_ "github.com/sluicegate/sluice/proxy/plugins/httplog"
	_ "github.com/sluicegate/sluice/proxy/plugins/jwt"
	_ "github.com/sluicegate/sluice/proxy/plugins/keyauth"
	_ "github.com/sluicegate/sluice/proxy/plugins/known"
	_ "github.com/sluicegate/sluice/proxy/plugins/prometheus"
	_ "github.com/sluicegate/sluice/proxy/plugins/ratelimiting"
	_ "github.com/sluicegate/sluice/proxy/plugins/requesttransformer"
)

// probe is one request to Kong and what Kong answered.
type probe struct {
	line        string
	method      string
	path        string
	contentType string
	body        string
	status      int
	want        string
}

// skipped lists the probes that are not replayed: a pattern of the request line, and why.
var skipped = []struct{ pattern, reason string }{
	{`^/plugins/enabled$`, "lists Kong's plugins"},
	{`^/tags$`, "the reference's in-memory store keeps no list of all tags"},
	{`-d \[1\]$`, "Kong answers a JSON array with 500; Sluice with 400 (see TestBodies)"},
	{`OPTIONS`, "headers of a test server (see TestOptions)"},
}

// unlisted are requests that Kong got between the probes: before the first line with this prefix.
var unlisted = map[string][]string{
	"/consumers?size=2": {
		`{"id":"35866f0d-91a8-4a22-b95e-081ad1a10f49","username":"u1","tags":["t1","n1"],"created_at":1795447806}`,
		`{"id":"fa1c7687-bbfb-482b-b16d-e9ae78bb6ce8","username":"u2","tags":["t1","n2"],"created_at":1795447806}`,
		`{"id":"25428240-4228-4e82-9e4f-3e9a73ed9103","username":"u3","tags":["t1","n3"],"created_at":1795447807}`,
	},
}

// TestProbes replays what Kong was asked and compares status and body, value by value. Ids, secrets and
// times are made to be those that Kong chose.
func TestProbes(t *testing.T) {
	dir := referenceFolder()
	files, err := filepath.Glob(filepath.Join(dir, "kong-probes", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Skipf("no transcripts of Kong in %s/kong-probes; set SLUICE_KONG_REFERENCE", dir)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			replay(t, readProbes(t, file))
		})
	}
}

// referenceFolder has what Kong was asked and what it publishes. It is no part of the tree.
func referenceFolder() string {
	if dir := os.Getenv("SLUICE_KONG_REFERENCE"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "shared", "reference")
}

func replay(t *testing.T, probes []probe) {
	secrets := &secretSource{}
	h := newHarness(t, running(plugin.All()), func(cfg *Config) { cfg.NewSecret = secrets.next })
	done := 0
	for _, p := range probes {
		if reason := skipReason(p.line); reason != "" {
			t.Logf("skipped: curl %s (%s)", p.line, reason)
			continue
		}
		for _, body := range unlisted[p.line] {
			h.now = time.Unix(int64(fieldOf(body, "created_at").(float64)), 0)
			if r := h.json(http.MethodPost, "/consumers", body); r.status != http.StatusCreated {
				t.Fatalf("%s: %d %s", body, r.status, r.body)
			}
		}
		done++
		t.Run(fmt.Sprintf("%s %s", p.method, p.path), func(t *testing.T) {
			h.expect(p.want, p.method, secrets)
			r := h.do(p.method, p.path, p.contentType, p.body)
			if r.status != p.status {
				t.Errorf("curl %s: status %d, want %d", p.line, r.status, p.status)
			}
			sameJSON(t, []byte(p.want), r.body)
			if t.Failed() {
				t.Logf("curl %s\n%s", p.line, r.body)
			}
		})
	}
	t.Logf("%d replayed, %d skipped", done, len(probes)-done)
}

// running makes plugins that are known by their schemas run: Kong has them, and what it says of their configs
// is what the probes are for.
func running(known []*plugin.Definition) []*plugin.Definition {
	all := make([]*plugin.Definition, len(known))
	for i, d := range known {
		runs := *d
		if !d.Runs() {
			runs.New = noInstance
		}
		all[i] = &runs
	}
	return all
}

func skipReason(line string) string {
	for _, s := range skipped {
		if regexp.MustCompile(s.pattern).MatchString(line) {
			return s.reason
		}
	}
	return ""
}

// expect makes the clock, the ids and the secrets those of an answer.
func (h *harness) expect(want, method string, secrets *secretSource) {
	h.nextID, secrets.values = "", nil
	if method == http.MethodGet {
		h.stopTTL(want)
		return
	}
	h.nextID, _ = fieldOf(want, "id").(string)
	for _, name := range []string{"client_id", "client_secret", "key", "secret"} {
		if value, ok := fieldOf(want, name).(string); ok && len(value) == 32 {
			secrets.values = append(secrets.values, value)
		}
	}
	for _, name := range []string{"updated_at", "created_at"} {
		if at, ok := fieldOf(want, name).(float64); ok {
			h.now = time.UnixMilli(int64(math.Round(at * 1000)))
			return
		}
	}
}

// stopTTL goes back to when an entity with a ttl was made: the reference's store does not count ttl down.
func (h *harness) stopTTL(want string) {
	data, _ := fieldOf(want, "data").([]any)
	for _, entry := range data {
		entity, _ := entry.(map[string]any)
		if _, counts := entity["ttl"].(float64); counts {
			h.now = time.Unix(int64(entity["created_at"].(float64)), 0)
			return
		}
	}
}

func fieldOf(body, name string) any {
	var fields map[string]any
	if json.Unmarshal([]byte(body), &fields) != nil {
		return nil
	}
	return fields[name]
}

// secretSource gives secrets in the order of the fields that want them.
type secretSource struct{ values []string }

func (s *secretSource) next() string {
	if len(s.values) == 0 {
		return newSecret()
	}
	value := s.values[0]
	s.values = s.values[1:]
	return value
}

var curlOption = regexp.MustCompile(`(?:^| )-([XdHi])(?: |$)`)

// readProbes parses a transcript: "$ curl ...", the body, "=> status".
func readProbes(t *testing.T, file string) []probe {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var probes []probe
	var p *probe
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "$ curl "):
			p = parseCurl(strings.TrimPrefix(line, "$ curl "))
		case strings.HasPrefix(line, "=> ") && p != nil:
			if _, err := fmt.Sscanf(line, "=> %d", &p.status); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			probes = append(probes, *p)
			p = nil
		case p != nil:
			p.want += line
		}
	}
	if len(probes) == 0 {
		t.Fatalf("%s holds no probes", file)
	}
	return probes
}

// parseCurl reads a command line whose arguments are not quoted: an argument ends where an option begins.
func parseCurl(line string) *probe {
	p := &probe{line: line, method: http.MethodGet}
	var data []string
	rest := line
	for {
		at := curlOption.FindStringSubmatchIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest), 0, 0}
		}
		if word := strings.TrimSpace(rest[:at[0]]); strings.HasPrefix(word, "/") {
			p.path = word
		}
		if at[1] == len(rest) && at[2] == at[3] {
			break
		}
		option := rest[at[2]:at[3]]
		rest = rest[at[1]:]
		value := rest
		if end := curlOption.FindStringIndex(rest); end != nil {
			value = rest[:end[0]]
		}
		switch option {
		case "X":
			p.method, rest, _ = strings.Cut(rest, " ")
		case "H":
			_, p.contentType, _ = strings.Cut(value, ": ")
			rest = rest[len(value):]
		case "d":
			data = append(data, value)
			rest = rest[len(value):]
		}
	}
	p.body = strings.Join(data, "&")
	if data != nil && p.contentType == "" {
		p.contentType = formType
	}
	return p
}
