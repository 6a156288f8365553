package proxy

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sluicegate/sluice/internal/corpus"
)

// corpusPatience is how long an answer is awaited that does not come. Only a
// case that fails waits for it.
const corpusPatience = 5 * time.Second

// TestCorpusRequests sends raw requests, malformed, ambiguous and unusual ones,
// and looks at every byte that reaches the upstream. With -v it ends with a
// table.
func TestCorpusRequests(t *testing.T) {
	runCorpus(t, "testdata/corpus/requests", 320, func(t *testing.T, c *corpus.Case, done func(*corpus.Seen, error)) {
		u, w := corpusWorld(t, c)
		var seen *corpus.Seen
		t.Cleanup(func() { // the proxy has stopped: the upstream has all that it will ever get
			seen.Upstream = corpusRecords(t, u)
			done(seen, corpus.JudgeRequest(c, seen))
		})
		w.start()
		client := corpus.Client{Address: w.addr(), Patience: corpusPatience}
		seen = client.Request(c)
	})
}

// TestCorpusAnswers has the upstream give raw answers.
func TestCorpusAnswers(t *testing.T) {
	runCorpus(t, "testdata/corpus/responses", 100, func(t *testing.T, c *corpus.Case, done func(*corpus.Seen, error)) {
		u, w := corpusWorld(t, c)
		u.Begin(c)
		w.start()
		ctx, cancel := context.WithTimeout(context.Background(), corpusPatience)
		defer cancel()
		client := corpus.Client{Address: w.addr(), Patience: corpusPatience}
		seen := client.Answer(ctx, c, u)
		seen.Upstream, _ = u.Records()
		done(seen, corpus.JudgeAnswer(c, seen))
	})
}

// corpusWorld is a proxy, not started, with every path going to an upstream.
func corpusWorld(t *testing.T, c *corpus.Case) (*corpus.Upstream, *world) {
	t.Helper()
	u := &corpus.Upstream{}
	if err := u.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Stop)
	w := newWorld(t)
	timeout := int(corpusPatience.Milliseconds())
	if c.Then == corpus.Hold {
		timeout = 50
	}
	service := w.service("http://"+u.Addr().String(), object{"read_timeout": timeout, "retries": 0})
	w.route(service, object{"paths": []string{"/"}, "strip_path": false, "preserve_host": true})
	if c.Then == corpus.Hold { // what is asked afterwards is not to be in time for that
		patient := w.service("http://"+u.Addr().String(), object{"read_timeout": int(corpusPatience.Milliseconds()), "retries": 0})
		w.route(patient, object{"paths": []string{corpus.FollowUpTarget}, "strip_path": false, "preserve_host": true})
	}
	return u, w
}

func corpusRecords(t *testing.T, u *corpus.Upstream) []corpus.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), corpusPatience)
	defer cancel()
	records, err := u.Wait(ctx)
	if err != nil {
		t.Error(err)
	}
	return records
}

type corpusRow struct{ name, expected, seen string }

// runCorpus runs each case as a parallel subtest. least keeps the corpus from
// being lost unnoticed.
func runCorpus(t *testing.T, dir string, least int, run func(*testing.T, *corpus.Case, func(*corpus.Seen, error))) {
	cases, err := corpus.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < least {
		t.Fatalf("%d cases in %s, want %d at least", len(cases), dir, least)
	}
	var mu sync.Mutex
	var rows []corpusRow
	failed := 0
	t.Run("case", func(t *testing.T) { // ends when all its parallel subtests have
		for i := range cases {
			c := &cases[i]
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				run(t, c, func(seen *corpus.Seen, fault error) {
					mu.Lock()
					defer mu.Unlock()
					row := corpusRow{c.Name, c.Expected(), seen.String()}
					if fault != nil {
						failed++
						row.name = "FAIL " + row.name
						t.Errorf("%s (RFC %s: %s)\nexpected %s\nseen %s\n%v", c.Name, c.RFC, c.Why, row.expected, row.seen, fault)
					}
					rows = append(rows, row)
				})
			})
		}
	})
	if testing.Verbose() {
		slices.SortFunc(rows, func(a, b corpusRow) int { return strings.Compare(a.name, b.name) })
		t.Logf("%d cases, %d failed\n%s", len(rows), failed, corpusTable(rows))
	}
}

func corpusTable(rows []corpusRow) string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	writeRows(table, rows)
	_ = table.Flush() // into memory
	return out.String()
}

func writeRows(to io.Writer, rows []corpusRow) {
	fmt.Fprintln(to, "name\texpected\tseen")
	for _, r := range rows {
		fmt.Fprintf(to, "%s\t%s\t%s\n", r.name, r.expected, r.seen)
	}
}
