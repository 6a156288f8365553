package http1

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicegate/sluice/proxy/plugin"
	"github.com/sluicegate/sluice/proxy/router"
)

var (
	_ plugin.Header       = (*Fields)(nil)
	_ router.HeaderSource = (*Fields)(nil)
)

func fieldsOf(pairs ...string) *Fields {
	f := new(Fields)
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

func TestFieldsEdits(t *testing.T) {
	start := []string{"A", "1", "Bee", "2", "a", "3", "C", "4"}
	tests := map[string]struct {
		edit func(*Fields)
		want []Field
	}{
		"nothing":             {func(*Fields) {}, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"set replaces all":    {func(f *Fields) { f.Set("a", "5") }, []Field{{"a", "5"}, {"Bee", "2"}, {"C", "4"}}},
		"set a new one":       {func(f *Fields) { f.Set("X-New", "5") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}, {"X-New", "5"}}},
		"set spells as given": {func(f *Fields) { f.Set("bEE", "5") }, []Field{{"A", "1"}, {"bEE", "5"}, {"a", "3"}, {"C", "4"}}},
		"add":                 {func(f *Fields) { f.Add("C", "5") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}, {"C", "5"}}},
		"del":                 {func(f *Fields) { f.Del("A") }, []Field{{"Bee", "2"}, {"C", "4"}}},
		"del by its own name": {func(f *Fields) { f.Del(f.At(2).Name) }, []Field{{"Bee", "2"}, {"C", "4"}}},
		"del absent":          {func(f *Fields) { f.Del("Q"); f.Del(""); f.Del("Absent") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"set then del":        {func(f *Fields) { f.Set("Q", "5"); f.Del("q") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"reset":               {func(f *Fields) { f.Reset() }, []Field{}},
		"copy of itself":      {func(f *Fields) { f.CopyFrom(f) }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"copy":                {func(f *Fields) { f.CopyFrom(fieldsOf("Z", "9")) }, []Field{{"Z", "9"}}},
		"move":                {func(f *Fields) { f.MoveFrom(fieldsOf("Z", "9")) }, []Field{{"Z", "9"}}},
		"move from itself":    {func(f *Fields) { f.MoveFrom(f) }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"move away":           {func(f *Fields) { new(Fields).MoveFrom(f); f.Add("Z", "9") }, []Field{{"Z", "9"}}},

		"line in a set value":   {func(f *Fields) { f.Set("A", "5\r\nEvil: yes") }, []Field{{"A", "5  Evil: yes"}, {"Bee", "2"}, {"C", "4"}}},
		"line in an added one":  {func(f *Fields) { f.Add("D", "0123456789abcdef\r\nx\x00\x7f\ty") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}, {"D", "0123456789abcdef  x  \ty"}}},
		"line in a put text":    {func(f *Fields) { f.PutText(NameOf("A"), "5\r\nEvil: yes") }, []Field{{"A", "5  Evil: yes"}, {"Bee", "2"}, {"C", "4"}}},
		"line in a name":        {func(f *Fields) { f.Set("D\r\nEvil", "5"); f.Add("D: x\r\nE", "5") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
		"name that is no token": {func(f *Fields) { f.Add("", "5"); f.Set("D ", "5"); f.Set("A:", "5") }, []Field{{"A", "1"}, {"Bee", "2"}, {"a", "3"}, {"C", "4"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := fieldsOf(start...)
			tt.edit(f)
			got := []Field{}
			for i := range f.Len() {
				got = append(got, f.At(i))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if wire := f.AppendTo(nil); int64(len(wire)) != f.Size() {
				t.Errorf("size %d, on the wire %d", f.Size(), len(wire))
			}
		})
	}
}

func TestFieldsQuestions(t *testing.T) {
	long := strings.Repeat("L", 64+1) // shares its bit with names of one byte
	f := fieldsOf("Accept", "a", "ACCEPT", "b", "Empty", "", "TE", "gzip, trailers ;q=1", "te", "x")
	for name, want := range map[string]string{"Accept": "a", "accept": "a", "aCCEPT": "a", "Empty": "", "Absent": "", "": "", long: "", "Acceptx": ""} {
		if got := f.Get(name); got != want {
			t.Errorf("Get(%q) = %q, want %q", name, got, want)
		}
	}
	if !f.Has("empty") || f.Has("Emptz") || f.Has("") || new(Fields).Has("A") {
		t.Error("Has")
	}
	if got := f.Joined("accept"); got != "a, b" {
		t.Errorf("Joined %q", got)
	}
	if f.Joined("Empty") != "" || f.Joined("Absent") != "" {
		t.Error("Joined of nothing")
	}
	var each []string
	f.Each("accept", func(v string) bool { each = append(each, v); return true })
	f.Each("accept", func(v string) bool { each = append(each, v); return false })
	if diff := cmp.Diff([]string{"a", "b", "a"}, each); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	var next []string
	for v, at, ok := f.Next("te", 0); ok; v, at, ok = f.Next("te", at) {
		next = append(next, v)
	}
	if diff := cmp.Diff([]string{"gzip, trailers ;q=1", "x"}, next); diff != "" {
		t.Errorf("Next (-want +got):\n%s", diff)
	}
	all := 0
	f.All(func(name, value string) bool { all++; return all < 3 })
	if all != 3 {
		t.Errorf("All went on to %d", all)
	}
	for token, want := range map[string]bool{"gzip": true, "Trailers": true, "x": true, "q=1": false, "trailer": false, "": false} {
		if got := f.HasToken("TE", token); got != want {
			t.Errorf("HasToken(%q) = %v", token, got)
		}
	}
}

func TestCopyIsItsOwn(t *testing.T) {
	from, to := fieldsOf("A", "1", "B", "2"), fieldsOf("C", "3")
	to.CopyFrom(from)
	from.Set("A", "9")
	from.Del("B")
	if diff := cmp.Diff([]Field{{"A", "1"}, {"B", "2"}}, to.list); diff != "" || to.Has("C") {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAbsentNamesOfAnyLength is about the bitmap: it may not hide a field.
func TestAbsentNamesOfAnyLength(t *testing.T) {
	for n := 1; n < 200; n++ {
		name := strings.Repeat("x", n)
		f := fieldsOf(name, "v")
		if f.Get(strings.ToUpper(name)) != "v" {
			t.Errorf("name of %d bytes is not found", n)
		}
		if f.Has(name+"x") || n > 64 && f.Has(name[64:]) {
			t.Errorf("another name than that of %d bytes is found", n)
		}
	}
}

// TestNamesOfEveryEnd is about the bitmap, too.
func TestNamesOfEveryEnd(t *testing.T) {
	for c := range 256 {
		name := "ab" + string([]byte{byte(c)})
		if !isToken(name) {
			continue
		}
		f := fieldsOf(name, "v")
		if f.Get(strings.ToUpper(name)) != "v" || f.Get(strings.ToLower(name)) != "v" || f.Has("AB") {
			t.Errorf("%q", name)
		}
	}
}

// TestFieldsAgainstModel holds random edits against a list that is searched in
// the plainest way.
func TestFieldsAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	names := []string{"A", "a", "Ab", "aB", "Host", "HOST", "X-Y", "x-y", "Connection", "User-Agent", strings.Repeat("n", 65)}
	for range 500 {
		var f Fields
		var model []Field
		drop := func(name string, from int) {
			kept := model[:from:from]
			for _, m := range model[from:] {
				if !strings.EqualFold(m.Name, name) {
					kept = append(kept, m)
				}
			}
			model = kept
		}
		for range rnd.IntN(30) {
			name, value := names[rnd.IntN(len(names))], strings.Repeat("v", rnd.IntN(9))
			same := func(m Field) bool { return strings.EqualFold(m.Name, name) }
			switch rnd.IntN(4) {
			case 0:
				f.Del(name)
				drop(name, 0)
			case 1:
				f.Set(name, value)
				if i := slices.IndexFunc(model, same); i >= 0 {
					model[i] = Field{name, value}
					drop(name, i+1)
				} else {
					model = append(model, Field{name, value})
				}
			default:
				f.Add(name, value)
				model = append(model, Field{name, value})
			}
			if i := slices.IndexFunc(model, same); f.Has(name) != (i >= 0) || i >= 0 && f.Get(name) != model[i].Value {
				t.Fatalf("%q in %q", name, model)
			}
		}
		if diff := cmp.Diff(model, f.list, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-model +fields):\n%s", diff)
		}
	}
}
