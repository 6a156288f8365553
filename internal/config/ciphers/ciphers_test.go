package ciphers

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func names(ids []uint16) []string {
	var list []string
	for _, id := range ids {
		list = append(list, tls.CipherSuiteName(id))
	}
	return list
}

func TestSuite(t *testing.T) {
	tests := map[string]struct {
		suite, list, protocols string
		low, high              uint16
		suites                 int
		curves                 int
		note, err              string
	}{
		"modern":                   {"modern", "", "", tls.VersionTLS13, tls.VersionTLS13, 0, 0, "", ""},
		"intermediate":             {"intermediate", "", "", tls.VersionTLS12, tls.VersionTLS13, 6, 0, "", ""},
		"old":                      {"old", "", "", tls.VersionTLS10, tls.VersionTLS13, 18, 0, "", ""},
		"fips":                     {"fips", "", "", tls.VersionTLS12, tls.VersionTLS12, 4, 3, "approved algorithms only", ""},
		"list without custom":      {"intermediate", "NONSENSE", "SSLv3", tls.VersionTLS12, tls.VersionTLS13, 6, 0, "", ""},
		"custom":                   {"custom", "AES128-SHA", "TLSv1.1 TLSv1.2", tls.VersionTLS11, tls.VersionTLS12, 1, 0, "", ""},
		"custom, Go's ciphers":     {"custom", "", "TLSv1.2 TLSv1.3", tls.VersionTLS12, tls.VersionTLS13, 0, 0, "", ""},
		"custom, only TLS 1.3":     {"custom", "!ALL", "TLSv1.3", tls.VersionTLS13, tls.VersionTLS13, 0, 0, "", ""},
		"custom, nothing left":     {"custom", "DHE-RSA-AES128-SHA", "TLSv1.2", tls.VersionTLS12, tls.VersionTLS12, 0, 0, "not available here", "leaves no cipher"},
		"custom, a gap":            {"custom", "HIGH", "TLSv1.1 TLSv1.3", tls.VersionTLS11, tls.VersionTLS13, 17, 0, "leaves out TLS 1.2", ""},
		"custom, no protocol":      {"custom", "", " ", 0, 0, 0, 0, "", "names no version"},
		"custom, SSLv3":            {"custom", "", "SSLv3 TLSv1", 0, 0, 0, 0, "", "SSLv3 is broken"},
		"custom, unknown protocol": {"custom", "", "TLSv2", 0, 0, 0, 0, "", `"TLSv2" is none of`},
		"unknown":                  {"ancient", "", "", 0, 0, 0, 0, "", "must be one of modern"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Suite(tt.suite, tt.list, tt.protocols)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.MinVersion != tt.low || p.MaxVersion != tt.high || len(p.Suites) != tt.suites || len(p.Curves) != tt.curves {
				t.Errorf("%x to %x, %d suites %v, %d curves", p.MinVersion, p.MaxVersion, len(p.Suites), names(p.Suites), len(p.Curves))
			}
			if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

func TestParseList(t *testing.T) {
	const (
		e128, r128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
		e256, r256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	)
	tests := map[string]struct {
		text  string
		want  []string
		notes string
	}{
		"a name":             {"ECDHE-RSA-AES128-GCM-SHA256", []string{r128}, ""},
		"names, any order":   {"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", []string{e128, r128}, ""},
		"separators":         {"ECDHE-RSA-AES128-GCM-SHA256,ECDHE-ECDSA-AES128-GCM-SHA256 ", []string{e128, r128}, ""},
		"keywords together":  {"EECDH+AESGCM", []string{e128, r128, e256, r256}, ""},
		"three of them":      {"ECDHE+aRSA+AESGCM", []string{r128, r256}, ""},
		"killed":             {"EECDH+AESGCM:!AES256:!aNULL:!MD5", []string{e128, r128}, ""},
		"killed for good":    {"!AES256:EECDH+AESGCM", []string{e128, r128}, ""},
		"taken out":          {"EECDH+AESGCM:-AES128:ECDHE-RSA-AES128-GCM-SHA256", []string{r128, e256, r256}, ""},
		"moved to the end":   {"EECDH+AESGCM:+AES256:@STRENGTH", []string{e128, r128, e256, r256}, ""},
		"lacking":            {"ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256", []string{r128}, "not available here: DHE-RSA-AES128-GCM-SHA256"},
		"lacking by keyword": {"ECDHE-RSA-AES128-GCM-SHA256:EDH+AESGCM", []string{r128}, "not available here: EDH+AESGCM"},
		"TLS 1.3":            {"TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256", []string{r128}, "all are offered"},
		"seclevel":           {"ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1", []string{r128}, "@SECLEVEL=1 has no effect"},
		"nothing":            {"", nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ids, notes, err := ParseList(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(ids)); diff != "" {
				t.Error(diff)
			}
			if all := strings.Join(notes, "\n"); !strings.Contains(all, tt.notes) || tt.notes == "" && all != "" {
				t.Errorf("notes %q, want %q", all, tt.notes)
			}
		})
	}
	for _, text := range []string{"HIHG", "EECDH+AESGCN", "ECDHE-RSA-AES128-GCM-SHA257", "!"} {
		if ids, _, err := ParseList(text); err == nil {
			t.Errorf("%s: no error, but %v", text, names(ids))
		}
	}
}

// TestKnown: every suite of crypto/tls is known but those of RC4 and of TLS 1.3,
// so that a new one is not forgotten.
func TestKnown(t *testing.T) {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		skip := strings.Contains(s.Name, "RC4") || slices.Equal(s.SupportedVersions, []uint16{tls.VersionTLS13})
		if have := slices.ContainsFunc(known(), func(k suite) bool { return k.id == s.ID }); have == skip {
			t.Errorf("%s: known is %v", s.Name, have)
		}
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{intermediateList, oldList, "EECDH+AESGCM:!aNULL:-AES128:+3DES:@STRENGTH", "!", "+", "a+", "::,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, _, err := ParseList(text)
		if err != nil && ids != nil {
			t.Fatalf("%v and an error", ids)
		}
		slices.Sort(ids)
		if len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Fatalf("a suite twice: %v", ids)
		}
	})
}

func TestName(t *testing.T) {
	for id, want := range map[uint16]string{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256", tls.TLS_AES_256_GCM_SHA384: "TLS_AES_256_GCM_SHA384", 0x1234: "0x1234",
	} {
		if got := Name(id); got != want {
			t.Errorf("%#x is %s, want %s", id, got, want)
		}
	}
}
