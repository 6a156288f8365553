package fsm

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
	"unsafe"
)

// What an entity says of itself is read where it stands, in Raw: an entity that has been
// read into maps costs several times its JSON. The text must be valid JSON to be
// understood; other text ends early and does no harm.

// members walks the members of the text of a JSON object.
type members struct {
	text []byte
	at   int

	name  string
	value []byte // as it stands in the text
}

// next moves to the next member; false if there is none.
func (m *members) next() bool {
	if m.at == 0 {
		if m.at = spaces(m.text, 0); m.byte() != '{' {
			return false
		}
	} else if m.at = spaces(m.text, m.at); m.byte() != ',' {
		return false
	}
	start := spaces(m.text, m.at+1)
	end := skip(m.text, start)
	name, ok := text(m.text[start:end])
	colon := spaces(m.text, end)
	if !ok || colon >= len(m.text) || m.text[colon] != ':' {
		return false
	}
	start = spaces(m.text, colon+1)
	m.at = skip(m.text, start)
	m.name, m.value = name, m.text[start:m.at]
	return true
}

func (m *members) byte() byte {
	if m.at < len(m.text) {
		return m.text[m.at]
	}
	return 0
}

// member gives the value of a member of the text of an object, the last one if there
// are several, nil if there is none.
func member(object []byte, name string) (value []byte) {
	for m := (members{text: object}); m.next(); {
		if m.name == name {
			value = m.value
		}
	}
	return value
}

// items walks the values in the text of a JSON array.
func items(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		at := spaces(array, 0)
		if at >= len(array) || array[at] != '[' {
			return
		}
		for {
			start := spaces(array, at+1)
			end := skip(array, start)
			if start == end || !yield(array[start:end]) {
				return
			}
			if at = spaces(array, end); at >= len(array) || array[at] != ',' {
				return
			}
		}
	}
}

// texts gives the strings in the text of a JSON array, and whether it holds nothing else
// and is one.
func texts(array []byte) (list []string, all bool) {
	all = len(array) > 0 && array[0] == '['
	for item := range items(array) {
		s, ok := text(item)
		if all = all && ok; ok {
			list = append(list, s)
		}
	}
	return list, all
}

// text gives the string that is the text of a JSON value; false if it is no string. It is
// a part of value, and not a copy, where that is as it stands: value must not change.
func text(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return alias(inner), true
	}
	var s string
	err := json.Unmarshal(value, &s)
	return s, err == nil
}

// alias is a string of bytes that nobody changes.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// idOf gives what a foreign field's value names: {"id": "..."}; "" if nothing.
func idOf(value []byte) string {
	id, _ := text(member(value, "id"))
	return id
}

func spaces(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t') {
		at++
	}
	return at
}

// skip gives the end of the value that begins at a place.
func skip(text []byte, at int) int {
	depth := 0
	for at < len(text) {
		switch text[at] {
		case '"':
			if at = skipString(text, at); depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // of what the value stands in
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}

// skipString gives the end of the string that begins at a place.
func skipString(text []byte, at int) int {
	for at++; at < len(text); at++ {
		i := bytes.IndexByte(text[at:], '"')
		if i < 0 {
			return len(text)
		}
		escapes := 0
		for j := at + i - 1; j >= at && text[j] == '\\'; j-- {
			escapes++
		}
		if at += i; escapes%2 == 0 {
			return at + 1
		}
	}
	return at
}
