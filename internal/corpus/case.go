package corpus

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Ending is what the sender of raw bytes does after them.
type Ending string

// The endings; the package comment says what they do.
const (
	Keep  Ending = "keep"
	Close Ending = "close"
	Reset Ending = "reset"
	Hold  Ending = "hold"
)

// Case is one raw request, or one raw answer, and what is expected of a
// gateway.
type Case struct {
	Name  string // file/case or file/case/variant
	Class string // the file's name without its ending
	RFC   string
	Why   string

	Raw  []byte // the request, or the answer
	Then Ending
	// Sends is how many requests Raw has for who passes over its faults; 0 is
	// as many as are expected, 1 at least.
	Sends int

	// The rest is of answers only.
	Ask   []byte // the request; empty: GET /case
	Later []byte // sent once the client has its answer
	Early bool   // the answer does not wait for the request's body
	Many  bool   // every request to /case is answered with Raw

	// Expect has one or more; one that holds is enough.
	Expect []Expectation
}

// Kind says what an expectation is about.
type Kind string

// The kinds; the package comment says what they mean.
const (
	Reject  Kind = "reject"
	Break   Kind = "break"
	Answer  Kind = "answer"
	Forward Kind = "forward"
	Gateway Kind = "gateway"
	Pass    Kind = "pass"
	Cut     Kind = "cut"
)

// Silent among the statuses of an expectation is a connection that is closed
// without an answer.
const Silent = 0

// Expectation is one outcome that is right.
type Expectation struct {
	Kind     Kind
	Statuses []int
	Messages []Want // Forward: the requests; Pass: the answer
	Fault    bool   // Forward: what follows them is refused
}

// Want is what a message has to be.
type Want struct {
	Method  string
	Targets []string // one of them
	Framing string   // "" is any
	Body    []byte
	Has     []Field
	Lacks   []string // neither in the header nor in the trailer
	// TrailerLacks is of the trailer alone.
	TrailerLacks []string
}

// Field is a line of a header.
type Field struct{ Name, Value string }

// String is the expectation in the words of the format, on one line.
func (e Expectation) String() string {
	out := string(e.Kind)
	for _, s := range e.Statuses {
		if s == Silent {
			out += " close"
		} else {
			out += fmt.Sprintf(" %d", s)
		}
	}
	if e.Kind != Forward {
		return out
	}
	for _, m := range e.Messages {
		out += fmt.Sprintf(" %s %.40s", m.Method, strings.Join(m.Targets, "|"))
	}
	return out
}

// Expected is all the expectations on one line.
func (c *Case) Expected() string {
	var all []string
	for _, e := range c.Expect {
		all = append(all, e.String())
	}
	return strings.Join(all, " or ")
}

// Load reads every .txt file of a directory, in the order of their names.
func Load(dir string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	slices.Sort(files)
	var all []Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		cases, err := Parse(strings.TrimSuffix(filepath.Base(file), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	names := map[string]bool{}
	for _, c := range all {
		if names[c.Name] {
			return nil, fmt.Errorf("corpus: two cases are called %s", c.Name)
		}
		names[c.Name] = true
	}
	slices.SortStableFunc(all, func(a, b Case) int { return cmp.Compare(a.Class, b.Class) })
	return all, nil
}
