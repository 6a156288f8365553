package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/sluicegate/sluice"

// TestFloors reads the imports of every package of the module, tests excluded:
// a test may use what it likes.
func TestFloors(t *testing.T) {
	imports := moduleImports(t)
	if len(imports) < 5 {
		t.Fatalf("go list gave %d packages: the test is not looking at the module", len(imports))
	}
	for _, fault := range check(floors(), imports) {
		t.Error(fault)
	}
}

func moduleImports(t *testing.T) map[string][]string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	imports := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return imports
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		imports[name] = nil
		for _, i := range pkg.Imports {
			if own, ok := strings.CutPrefix(i, module+"/"); ok {
				imports[name] = append(imports[name], own)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	table := []floor{{"ground", 0}, {"cellar/*", 0}, {"left", 1}, {"right", 1}, {"rooms/*", 2}, {"roof", 3}}
	tests := map[string]struct {
		imports map[string][]string
		want    []string
	}{
		"downwards": {
			map[string][]string{"roof": {"rooms/a", "left", "ground"}, "rooms/a": {"right", "cellar/wine"}, "left": {"ground"}, "right": nil, "ground": nil, "cellar/wine": nil}, nil},
		"upwards": {
			map[string][]string{"ground": {"left"}}, []string{"ground on floor 0 imports left on floor 1"}},
		"siblings by name": {
			map[string][]string{"left": {"right"}}, []string{"left imports right, its sibling on floor 1"}},
		"siblings by pattern": {
			map[string][]string{"rooms/a": {"rooms/b"}}, []string{"rooms/a imports rooms/b, its sibling on floor 2"}},
		"a folder and what lies in it": {
			map[string][]string{"cellar/wine": {"cellar/wine/red"}, "cellar/wine/red": nil, "cellar/winery": {"cellar/wine"}},
			[]string{"cellar/winery imports cellar/wine, its sibling on floor 0"}},
		"unlisted": {
			map[string][]string{"shed": {"roof"}, "rooms": nil},
			[]string{"rooms is on no floor: add it to the table", "shed is on no floor: add it to the table"}},
		"a name that only begins like a listed one": {
			map[string][]string{"leftovers": nil}, []string{"leftovers is on no floor: add it to the table"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, check(table, tt.imports)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
