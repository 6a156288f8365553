// Package archtest keeps the floors of the module: a package imports only
// packages of lower floors, and on its own floor only the folder it lies in or
// one that lies in it (fsm/schema/entities and fsm/schema). It has no use
// outside its own test.
package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// floor is one row of the table: the packages whose path, without the
// module's, matches pattern. A pattern ending in /* matches every package
// below, and not the folder itself.
type floor struct {
	pattern string
	level   int
}

// floors is the whole house. A new package outside these patterns must be
// added here, which is the moment to think about where it belongs.
func floors() []floor {
	return []floor{
		{"fsm/schema", 0}, {"fsm/schema/*", 0}, {"limiter/window", 0}, {"limiter/wire", 0}, {"limiter/audit", 0}, {"internal/*", 0},
		{"vault", 1},
		{"limiter/ledger", 1}, {"limiter/cells", 1},
		{"limiter/escrow", 2},
		{"limiter", 3}, {"limiter/inprocess", 3},
		{"fsm", 4},
		{"proxy/http1", 4},
		{"proxy/explain", 5}, {"proxy/plugin", 5}, {"proxy/plugin/*", 5}, {"proxy/router", 5}, {"proxy/upstream", 5}, {"proxy/tlsconf", 5},
		{"proxy/plugins/internal/expr", 5}, {"proxy/plugins/internal/*", 6},
		{"proxy/plugins/*", 7},
		{"proxy", 8}, {"cluster", 8}, {"cluster/*", 8},
		{"api", 9},
		{"cmd/sluice", 10},
		{"scripts/bench/machine", 10}, {"scripts/bench/stats", 10}, // for every script that measures
		{"scripts/*", 11},
	}
}

// check gives one sentence for each import that is not of a lower floor, and
// for each package that is on no floor, sorted. imports maps a package to those
// it imports, both without the module's path.
func check(floors []floor, imports map[string][]string) []string {
	var faults []string
	for pkg, list := range imports {
		from, ok := levelOf(floors, pkg)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s is on no floor: add it to the table", pkg))
			continue
		}
		for _, imported := range list {
			to, ok := levelOf(floors, imported)
			switch {
			case !ok: // reported for the package itself
			case to == from && !nested(pkg, imported):
				faults = append(faults, fmt.Sprintf("%s imports %s, its sibling on floor %d", pkg, imported, from))
			case to > from:
				faults = append(faults, fmt.Sprintf("%s on floor %d imports %s on floor %d", pkg, from, imported, to))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

func nested(a, b string) bool {
	return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

func levelOf(floors []floor, pkg string) (int, bool) {
	for _, f := range floors {
		below, wild := strings.CutSuffix(f.pattern, "/*")
		if pkg == f.pattern || wild && strings.HasPrefix(pkg, below+"/") {
			return f.level, true
		}
	}
	return 0, false
}
