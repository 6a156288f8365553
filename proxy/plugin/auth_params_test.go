package plugin_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluicegate/sluice/proxy/plugin"
)

func TestParams(t *testing.T) {
	tests := map[string][]plugin.Param{
		"":             nil,
		"&&=x&":        nil,
		"a":            {{Raw: "a", Name: "a", Bare: true}},
		"a=":           {{Raw: "a=", Name: "a"}},
		"a=1&b=2&a=3":  {{Raw: "a=1", Name: "a", Value: "1"}, {Raw: "b=2", Name: "b", Value: "2"}, {Raw: "a=3", Name: "a", Value: "3"}},
		"a=1=2":        {{Raw: "a=1=2", Name: "a", Value: "1=2"}},
		"a;b=1":        {{Raw: "a;b=1", Name: "a;b", Value: "1"}},
		"%61+b=%4a%4A": {{Raw: "%61+b=%4a%4A", Name: "a b", Value: "JJ"}},
		"a=%&b=%4&c=%zz%41": {
			{Raw: "a=%", Name: "a", Value: "%"}, {Raw: "b=%4", Name: "b", Value: "%4"},
			{Raw: "c=%zz%41", Name: "c", Value: "%zzA"},
		},
	}
	for query, want := range tests {
		t.Run(query, func(t *testing.T) {
			if diff := cmp.Diff(want, slices.Collect(plugin.Params(query))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutParam(t *testing.T) {
	tests := []struct{ query, name, want string }{
		{"", "a", ""},
		{"a=1", "a", ""},
		{"a=1&b=%7E&a&c", "a", "b=%7E&c"},
		{"%61=1&b=2", "a", "b=2"},
		{"b=2&&c", "a", "b=2&&c"},
		{"ab=1", "a", "ab=1"},
	}
	for _, test := range tests {
		if got := plugin.WithoutParam(test.query, test.name); got != test.want {
			t.Errorf("WithoutParam(%q, %q) = %q, want %q", test.query, test.name, got, test.want)
		}
	}
}

// TestParamsModel compares with net/url on what url.Values encodes.
func TestParamsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := url.Values(rapid.MapOf(rapid.StringN(1, 8, -1), rapid.SliceOfN(rapid.String(), 1, 3)).Draw(t, "values"))
		encoded := values.Encode()
		got := url.Values{}
		for p := range plugin.Params(encoded) {
			got.Add(p.Name, p.Value)
		}
		if diff := cmp.Diff(values, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", encoded, diff)
		}
		if len(values) == 0 {
			return
		}
		gone := rapid.SampledFrom(slices.Sorted(maps.Keys(values))).Draw(t, "name")
		rest := plugin.WithoutParam(encoded, gone)
		values.Del(gone)
		if want := values.Encode(); rest != want { // Encode sorts, and so the order has to be kept
			t.Fatalf("without %q: %q, want %q", gone, rest, want)
		}
	})
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"", "a=1&b", "%61=%zz&+=+", "&=&", "a=%00%", "x=1&x=2&%78"} {
		f.Add(seed, "x")
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		rest := plugin.WithoutParam(query, name)
		want := 0
		for p := range plugin.Params(query) {
			if !strings.Contains(query, p.Raw) || p.Name == "" && !strings.HasPrefix(p.Raw, "%") {
				t.Fatalf("%q has the pair %+v", query, p)
			}
			if p.Name != name {
				want++
			}
		}
		for p := range plugin.Params(rest) {
			want--
			if p.Name == name {
				t.Fatalf("%q still has %q: %q", query, name, rest)
			}
		}
		if want != 0 {
			t.Fatalf("%q without %q has other pairs: %q", query, name, rest)
		}
	})
}
