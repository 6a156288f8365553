package ciphers

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// suite is one that crypto/tls has, with OpenSSL's name and the keywords that
// select it.
type suite struct {
	id       uint16
	name     string
	keywords []string
}

// known lists the suites of TLS 1.2 and before, the better ones first.
func known() []suite {
	ecdhe := func(id uint16, auth, rest string, more ...string) suite {
		words := []string{"ECDHE", "EECDH", "kEECDH", "kECDHE", "ECDH", "a" + auth}
		if auth == "ECDSA" {
			words = append(words, "ECDSA")
		}
		return suite{id, "ECDHE-" + auth + "-" + rest, append(words, more...)}
	}
	plain := func(id uint16, name string, more ...string) suite {
		return suite{id, name, append([]string{"kRSA", "aRSA", "RSA"}, more...)}
	}
	gcm128 := []string{"AES", "AESGCM", "AES128", "SHA256", "HIGH", "TLSv1.2", "FIPS"}
	gcm256 := []string{"AES", "AESGCM", "AES256", "SHA384", "HIGH", "TLSv1.2", "FIPS"}
	chacha := []string{"CHACHA20", "SHA256", "HIGH", "TLSv1.2"}
	cbc128 := []string{"AES", "AES128", "SHA", "SHA1", "HIGH", "TLSv1", "SSLv3", "TLSv1.0", "FIPS"}
	cbc256 := []string{"AES", "AES256", "SHA", "SHA1", "HIGH", "TLSv1", "SSLv3", "TLSv1.0", "FIPS"}
	cbc128v2 := []string{"AES", "AES128", "SHA256", "HIGH", "TLSv1.2", "FIPS"}
	return []suite{
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDSA", "AES128-GCM-SHA256", gcm128...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "RSA", "AES128-GCM-SHA256", gcm128...),
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDSA", "AES256-GCM-SHA384", gcm256...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "RSA", "AES256-GCM-SHA384", gcm256...),
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDSA", "CHACHA20-POLY1305", chacha...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "RSA", "CHACHA20-POLY1305", chacha...),
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDSA", "AES128-SHA256", cbc128v2...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "RSA", "AES128-SHA256", cbc128v2...),
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDSA", "AES128-SHA", cbc128...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "RSA", "AES128-SHA", cbc128...),
		ecdhe(tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDSA", "AES256-SHA", cbc256...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "RSA", "AES256-SHA", cbc256...),
		plain(tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256", gcm128...),
		plain(tls.TLS_RSA_WITH_AES_256_GCM_SHA384, "AES256-GCM-SHA384", gcm256...),
		plain(tls.TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256", cbc128v2...),
		plain(tls.TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA", cbc128...),
		plain(tls.TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA", cbc256...),
		ecdhe(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, "RSA", "DES-CBC3-SHA", "3DES", "SHA", "SHA1", "MEDIUM", "TLSv1", "SSLv3", "TLSv1.0"),
		plain(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, "DES-CBC3-SHA", "3DES", "SHA", "SHA1", "MEDIUM", "TLSv1", "SSLv3", "TLSv1.0"),
	}
}

// emptyWords are keywords of OpenSSL that select nothing that crypto/tls has.
// Excluding them is right and costs nothing.
func emptyWords() []string {
	return []string{"aNULL", "eNULL", "NULL", "COMPLEMENTOFALL", "COMPLEMENTOFDEFAULT", "EXP", "EXPORT", "EXPORT40", "EXPORT56", "LOW",
		"DES", "RC4", "RC2", "IDEA", "SEED", "MD5", "CAMELLIA", "CAMELLIA128", "CAMELLIA256", "ARIA", "ARIA128", "ARIA256", "ARIAGCM",
		"ADH", "AECDH", "DH", "DHE", "EDH", "kDHE", "kEDH", "kDH", "kDHr", "kDHd", "aDH", "DSS", "aDSS", "aECDH", "kECDH", "kECDHr", "kECDHe",
		"PSK", "kPSK", "aPSK", "kRSAPSK", "kECDHEPSK", "kDHEPSK", "SRP", "kSRP", "aSRP", "KRB5", "kKRB5", "aKRB5", "GOST", "aGOST", "kGOST",
		"GOST89MAC", "GOST94", "STREEBOG256", "AESCCM", "AESCCM8", "CBC"}
}

// absent are names of suites that OpenSSL has and crypto/tls has not, by the
// ways in which such names begin or end.
func absent(word string) bool {
	for _, prefix := range []string{"DHE-", "EDH-", "ADH-", "AECDH-", "PSK-", "RSA-PSK-", "DHE-PSK-", "ECDHE-PSK-", "SRP-", "DH-", "ECDH-", "EXP-", "RC4-",
		"CAMELLIA", "ARIA", "SEED-", "IDEA-", "NULL-", "GOST", "DES-CBC-", "ECDHE-ARIA", "ECDHE-RSA-CAMELLIA", "ECDHE-ECDSA-CAMELLIA"} {
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return slices.ContainsFunc([]string{"AES256-SHA256", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-RC4-SHA", "ECDHE-ECDSA-RC4-SHA",
		"ECDHE-ECDSA-DES-CBC3-SHA", "ECDHE-RSA-NULL-SHA", "ECDHE-ECDSA-NULL-SHA"},
		func(s string) bool { return s == word }) || strings.HasSuffix(word, "-CCM") || strings.HasSuffix(word, "-CCM8")
}

// ParseList reads a list as openssl-ciphers(1) describes it: names and keywords
// joined by ":" (or "," or a space), "A+B" for what both select, and "!", "-"
// and "+" in front to exclude for good, to take out, and to move to the end. The
// order has no effect; crypto/tls has its own. Suites that it lacks are a note,
// words that mean nothing an error.
func ParseList(text string) (ids []uint16, notes []string, err error) {
	var chosen, killed []uint16
	var lacking []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(":, \t", r) }) {
		op := word[0]
		if strings.IndexByte("!-+@", op) >= 0 {
			word = word[1:]
		} else {
			op = 0
		}
		switch {
		case op == '@':
			if word != "STRENGTH" {
				notes = append(notes, fmt.Sprintf("ssl_ciphers: @%s has no effect", word))
			}
			continue
		case strings.HasPrefix(word, "TLS_"):
			notes = append(notes, fmt.Sprintf("ssl_ciphers: %s is of TLS 1.3, whose ciphers cannot be chosen: all are offered", word))
			continue
		}
		selected, fully, err := match(word)
		if err != nil {
			return nil, nil, err
		}
		if !fully && op != '!' && op != '-' {
			lacking = append(lacking, word)
		}
		switch op {
		case '!':
			killed = append(killed, selected...)
		case '-':
			chosen = slices.DeleteFunc(chosen, func(id uint16) bool { return slices.Contains(selected, id) })
		case 0:
			chosen = append(chosen, selected...)
		}
	}
	if len(lacking) > 0 {
		notes = append(notes, "ssl_ciphers: not available here: "+strings.Join(lacking, ", "))
	}
	for _, s := range known() {
		if slices.Contains(chosen, s.id) && !slices.Contains(killed, s.id) {
			ids = append(ids, s.id)
		}
	}
	return ids, notes, nil
}

// match gives what a word selects; fully is false where OpenSSL would have had
// something and crypto/tls has not.
func match(word string) (ids []uint16, fully bool, err error) {
	suites := known()
	for _, s := range suites {
		if s.name == word {
			return []uint16{s.id}, true, nil
		}
	}
	if absent(word) {
		return nil, false, nil
	}
	fully = true
	for part := range strings.SplitSeq(word, "+") {
		switch {
		case part == "ALL" || part == "DEFAULT":
			continue
		case slices.Contains(emptyWords(), part):
			suites, fully = nil, false
			continue
		case !slices.ContainsFunc(known(), func(s suite) bool { return slices.Contains(s.keywords, part) }):
			return nil, false, fmt.Errorf("ssl_ciphers: %q is neither a cipher nor a keyword of OpenSSL that is known here", part)
		}
		suites = slices.DeleteFunc(suites, func(s suite) bool { return !slices.Contains(s.keywords, part) })
	}
	for _, s := range suites {
		ids = append(ids, s.id)
	}
	return ids, fully && len(ids) > 0, nil
}

// Name is what OpenSSL calls a suite, or its standard name if crypto/tls has it and
// OpenSSL's is the same (TLS 1.3) or not known.
func Name(id uint16) string {
	for _, s := range known() {
		if s.id == id {
			return s.name
		}
	}
	return tls.CipherSuiteName(id)
}
