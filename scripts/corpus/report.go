package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sluicegate/sluice/internal/corpus"
)

// report is what became of every case at every gateway; results are in the
// order of the cases, lists of results in that of the gateways.
type report struct {
	gateways     []*gateway
	missing      []string
	requests     []corpus.Case
	answers      []corpus.Case
	seenRequests [][]result
	seenAnswers  [][]result
}

// print shows every case, for looking at a few.
func (r *report) print(to io.Writer) error {
	for _, part := range []struct {
		cases []corpus.Case
		seen  [][]result
	}{{r.requests, r.seenRequests}, {r.answers, r.seenAnswers}} {
		for i, c := range part.cases {
			fmt.Fprintf(to, "%s: expected %s\n", c.Name, c.Expected())
			for j, g := range r.gateways {
				got := part.seen[j][i]
				fmt.Fprintf(to, "  %-8s %-10s right=%-5t %s\n", g.name, got.outcome, got.right, got.seen)
			}
		}
	}
	return nil
}

func (r *report) markdown() string {
	var out strings.Builder
	out.WriteString("# Malformed, ambiguous and unusual messages\n\n")
	fmt.Fprintf(&out, "Written by `make corpus` on %s. ", time.Now().Format("2 January 2006"))
	out.WriteString("The cases are in [proxy/testdata/corpus](../proxy/testdata/corpus), their format in the package comment of [internal/corpus](../internal/corpus/doc.go). ")
	out.WriteString("Each gateway passes every path on, keeps its connections to the upstream, tries nothing again and reads heads of up to 64 KiB; everything else is its default.\n\n")
	for _, g := range r.gateways {
		fmt.Fprintf(&out, "- %s %s\n", g.name, g.version)
	}
	for _, name := range r.missing {
		fmt.Fprintf(&out, "- %s is not installed here\n", name)
	}
	r.requestTables(&out)
	r.answerTables(&out)
	return out.String()
}

func (r *report) requestTables(out *strings.Builder) {
	out.WriteString("\n## Requests\n\n" +
		"**refused**: an answer of the gateway's own or a closed connection, no whole request at the upstream. " +
		"**forwarded**: the upstream got what can be read in one way, and as many requests as were sent. " +
		"**ambiguous**: the upstream got what strict HTTP/1.1 has no reading for, or a request that was hidden in another, or the client an answer that is not its own. " +
		"**unanswered**: nothing came in a second. " +
		"The last column of each gateway is how many cases were as Sluice's corpus expects; where RFC 9112 leaves a choice and the corpus does not, another gateway may be right to differ.\n\n")
	r.classTable(out, r.requests, r.seenRequests,
		[]corpus.Outcome{corpus.Refused, corpus.Clear, corpus.Ambiguous, corpus.Unanswered})
	out.WriteString("\n### Requests that are not treated alike\n\n")
	r.differences(out, r.requests, r.seenRequests)
}

func (r *report) answerTables(out *strings.Builder) {
	out.WriteString("\n## Answers\n\n" +
		"**refused**: 502, 503 or 504 in place of the upstream's answer. **passed**: an answer that looks whole. " +
		"**cut**: the client can tell that it is not whole. **crossed**: a later request got what is not its own answer. " +
		"**malformed**: the client got what is no strict HTTP/1.1.\n\n")
	r.classTable(out, r.answers, r.seenAnswers,
		[]corpus.Outcome{corpus.Refused, corpus.Passed, corpus.Broken, corpus.Crossed, corpus.Malformed, corpus.Unanswered})
	out.WriteString("\n### Answers that are not treated alike\n\n")
	r.differences(out, r.answers, r.seenAnswers)
}

// classTable has a row for each class and, for each gateway, the counts of the
// outcomes and of the cases that went as expected.
func (r *report) classTable(out *strings.Builder, cases []corpus.Case, seen [][]result, outcomes []corpus.Outcome) {
	var words []string
	for _, o := range outcomes {
		words = append(words, string(o))
	}
	fmt.Fprintf(out, "Counts are %s; then as expected.\n\n| class | cases |", strings.Join(words, " / "))
	for _, g := range r.gateways {
		fmt.Fprintf(out, " %s | as expected |", g.name)
	}
	out.WriteString("\n|---|---|" + strings.Repeat("---|---|", len(r.gateways)) + "\n")
	row := func(name string, in func(*corpus.Case) bool) {
		n := 0
		for i := range cases {
			if in(&cases[i]) {
				n++
			}
		}
		fmt.Fprintf(out, "| %s | %d |", name, n)
		for j := range r.gateways {
			counts, right := map[corpus.Outcome]int{}, 0
			for i := range cases {
				if !in(&cases[i]) {
					continue
				}
				counts[seen[j][i].outcome]++
				if seen[j][i].right {
					right++
				}
			}
			var cells []string
			for _, o := range outcomes {
				cells = append(cells, fmt.Sprint(counts[o]))
			}
			fmt.Fprintf(out, " %s | %d |", strings.Join(cells, " / "), right)
		}
		out.WriteString("\n")
	}
	last := ""
	for _, c := range cases {
		if c.Class != last {
			last = c.Class
			row(c.Class, func(other *corpus.Case) bool { return other.Class == c.Class })
		}
	}
	row("**all**", func(*corpus.Case) bool { return true })
}

// differences has a row for each case whose outcome is not the same for all.
func (r *report) differences(out *strings.Builder, cases []corpus.Case, seen [][]result) {
	out.WriteString("| case | expected |")
	for _, g := range r.gateways {
		fmt.Fprintf(out, " %s |", g.name)
	}
	out.WriteString("\n|---|---|" + strings.Repeat("---|", len(r.gateways)) + "\n")
	for i, c := range cases {
		same := true
		for j := range r.gateways {
			same = same && seen[j][i].outcome == seen[0][i].outcome
		}
		if same {
			continue
		}
		fmt.Fprintf(out, "| %s | %s |", c.Name, cell(c.Expected()))
		for j := range r.gateways {
			fmt.Fprintf(out, " **%s**: %s |", seen[j][i].outcome, cell(seen[j][i].seen))
		}
		out.WriteString("\n")
	}
}

// cell makes a text fit for a table.
func cell(text string) string {
	visible := func(c rune) rune {
		if c < ' ' || c >= 0x7f {
			return '.'
		}
		return c
	}
	text = strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "`", "'").Replace(strings.Map(visible, text))
	return fmt.Sprintf("%.160s", text)
}
