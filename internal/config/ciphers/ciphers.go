// Package ciphers turns the words in which Kong, nginx and OpenSSL speak of TLS
// versions and ciphers into those of crypto/tls, and says what gets lost.
//
// crypto/tls has neither finite-field Diffie-Hellman nor every CBC suite, picks
// the order of suites by itself, and always offers all suites of TLS 1.3.
package ciphers

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// Profile is what a listener offers.
type Profile struct {
	// MinVersion and MaxVersion are tls.VersionTLS10 to tls.VersionTLS13.
	MinVersion, MaxVersion uint16
	// Suites are those of TLS 1.2 and before; empty where only TLS 1.3 is
	// offered.
	Suites []uint16
	// Curves are the key exchanges; nil is the caller's choice.
	Curves []tls.CurveID
	// Notes say what of the wish has no effect, a sentence each.
	Notes []string
}

// Names lists the values of ssl_cipher_suite.
func Names() []string { return []string{"modern", "intermediate", "old", "fips", "custom"} }

// The suites of Mozilla's recommendation 5.7, as Kong ships it. fips is Kong's
// "TLSv1.2+FIPS:kRSA+FIPS" as far as it has forward secrecy.
const (
	intermediateList = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" +
		"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
	oldList = intermediateList + ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:" +
		"ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA"
	fipsList = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
)

// Suite gives the profile of a value of ssl_cipher_suite. list and protocols
// (ssl_ciphers and ssl_protocols) are looked at for custom only, as in Kong;
// an empty list is Go's own choice.
func Suite(name, list, protocols string) (Profile, error) {
	switch name {
	case "modern":
		return Profile{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13}, nil
	case "intermediate":
		return fixed(tls.VersionTLS12, tls.VersionTLS13, intermediateList)
	case "old":
		return fixed(tls.VersionTLS10, tls.VersionTLS13, oldList)
	case "fips":
		p, err := fixed(tls.VersionTLS12, tls.VersionTLS12, fipsList)
		p.Curves = []tls.CurveID{tls.CurveP256, tls.CurveP384, tls.CurveP521}
		p.Notes = append(p.Notes, "ssl_cipher_suite fips offers approved algorithms only; whether the module is a validated one depends on how the binary was built")
		return p, err
	case "custom":
		return custom(list, protocols)
	}
	return Profile{}, fmt.Errorf("must be one of %s", strings.Join(Names(), ", "))
}

func fixed(low, high uint16, list string) (Profile, error) {
	suites, _, err := ParseList(list)
	return Profile{MinVersion: low, MaxVersion: high, Suites: suites}, err
}

func custom(list, protocols string) (Profile, error) {
	low, high, notes, err := ParseProtocols(protocols)
	p := Profile{MinVersion: low, MaxVersion: high, Notes: notes}
	if err != nil || strings.TrimSpace(list) == "" {
		return p, err
	}
	suites, notes, err := ParseList(list)
	p.Suites, p.Notes = suites, append(p.Notes, notes...)
	if err == nil && len(suites) == 0 && low < tls.VersionTLS13 {
		err = fmt.Errorf("ssl_ciphers leaves no cipher for TLS 1.2 and before: name some, or offer TLSv1.3 only")
	}
	return p, err
}

// ParseProtocols reads nginx's ssl_protocols: names of versions and spaces. The
// versions offered are all from the lowest to the highest; a gap is a note.
func ParseProtocols(text string) (low, high uint16, notes []string, err error) {
	versions := map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	var named []uint16
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' }) {
		v, ok := versions[word]
		switch {
		case ok:
			named = append(named, v)
		case word == "SSLv2" || word == "SSLv3":
			return 0, 0, nil, fmt.Errorf("ssl_protocols: %s is broken and not supported", word)
		default:
			return 0, 0, nil, fmt.Errorf("ssl_protocols: %q is none of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3", word)
		}
	}
	if len(named) == 0 {
		return 0, 0, nil, fmt.Errorf("ssl_protocols names no version")
	}
	low, high = slices.Min(named), slices.Max(named)
	for v := low; v <= high; v++ {
		if !slices.Contains(named, v) {
			notes = append(notes, fmt.Sprintf("ssl_protocols leaves out %s between others; it is offered all the same", tls.VersionName(v)))
		}
	}
	return low, high, notes, nil
}
