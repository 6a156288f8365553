// Command corpus plays the raw requests and answers of proxy/testdata/corpus
// against sluice, and against nginx and haproxy where they are installed, and
// writes what became of them to docs/corpus.md. It takes some minutes, most of
// them spent on waiting for answers that do not come.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/corpus"
)

// patience is how long an answer is awaited. It is short: many cases are not
// answered by one gateway or another.
const patience = time.Second

func main() {
	dir := flag.String("corpus", "proxy/testdata/corpus", "directory of the cases")
	out := flag.String("o", "docs/corpus.md", "file to write")
	sluice := flag.String("sluice", "bin/sluice", "sluice's binary")
	only := flag.String("only", "", "run only cases whose names have this in them; for looking at one")
	flag.Parse()
	if err := run(*dir, *out, *sluice, *only); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

func run(dir, out, sluice, only string) error {
	requests, err := load(filepath.Join(dir, "requests"), only)
	if err != nil {
		return err
	}
	answers, err := load(filepath.Join(dir, "responses"), only)
	if err != nil {
		return err
	}
	gateways, missing := findGateways(sluice)
	r := &report{gateways: gateways, missing: missing, requests: requests, answers: answers}
	for _, g := range gateways {
		began := time.Now()
		seen, err := play(g, requests, playRequest)
		if err != nil {
			return err
		}
		r.seenRequests = append(r.seenRequests, seen)
		if seen, err = play(g, answers, playAnswer); err != nil {
			return err
		}
		r.seenAnswers = append(r.seenAnswers, seen)
		fmt.Printf("%s %s: %d requests, %d answers in %v\n", g.name, g.version, len(requests), len(answers),
			time.Since(began).Round(time.Second))
	}
	if only != "" {
		return r.print(os.Stdout)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(r.markdown()), 0o644)
}

func load(dir, only string) ([]corpus.Case, error) {
	all, err := corpus.Load(dir)
	if err != nil {
		return nil, err
	}
	var some []corpus.Case
	for _, c := range all {
		if strings.Contains(c.Name, only) {
			some = append(some, c)
		}
	}
	return some, nil
}

// result is what became of one case at one gateway.
type result struct {
	outcome corpus.Outcome
	seen    string
	right   bool // one of the case's expectations holds
}

type player func(*corpus.Case, *corpus.Upstream, *corpus.Client) result

// play plays all cases against a gateway, one after another.
func play(g *gateway, cases []corpus.Case, one player) ([]result, error) {
	var results []result
	u := &corpus.Upstream{}
	if err := u.Start(); err != nil {
		return nil, err
	}
	defer u.Stop()
	err := g.run(u.Addr(), func(address string) {
		client := &corpus.Client{Address: address, Patience: patience}
		for i := range cases {
			results = append(results, one(&cases[i], u, client))
		}
	})
	return results, err
}

// settle is how long a gateway is given to see that its kept connections were
// closed before a case.
const settle = 2 * time.Millisecond

func playRequest(c *corpus.Case, u *corpus.Upstream, client *corpus.Client) result {
	u.Begin(nil)
	time.Sleep(settle)
	seen := client.Request(c)
	seen.Upstream = quiet(u)
	return result{seen.RequestOutcome(c), seen.String(), corpus.JudgeRequest(c, seen) == nil}
}

// quiet waits until the upstream gets no more bytes: the client has gone, so
// that what a gateway still sends, it sends at once.
func quiet(u *corpus.Upstream) []corpus.Record {
	records, _ := u.Records()
	for last, same := size(records), 0; same < 4; {
		time.Sleep(settle)
		records, _ = u.Records()
		if n := size(records); n == last {
			same++
		} else {
			last, same = n, 0
		}
	}
	return records
}

func size(records []corpus.Record) (n int) {
	for _, rec := range records {
		n += len(rec.Raw)
	}
	return n
}

func playAnswer(c *corpus.Case, u *corpus.Upstream, client *corpus.Client) result {
	u.Begin(c)
	time.Sleep(settle)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seen := client.Answer(ctx, c, u)
	seen.Upstream, _ = u.Records()
	return result{seen.AnswerOutcome(), seen.String(), corpus.JudgeAnswer(c, seen) == nil}
}
