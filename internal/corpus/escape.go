package corpus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxRaw bounds what a case's text grows to, against a mistyped repetition.
const maxRaw = 8 << 20

var errTooLong = fmt.Errorf("more than %d bytes", maxRaw)

// unescape gives the bytes that a text stands for.
func unescape(text string) ([]byte, error) {
	out, rest, err := unescapeTo(nil, text, -1)
	if err == nil && rest != "" {
		err = fmt.Errorf("unexpected %q", rest)
	}
	return out, err
}

// unescapeTo reads up to the end or to a closing brace. number is the
// repetition's, -1 outside of one.
func unescapeTo(out []byte, text string, number int) (_ []byte, rest string, err error) {
	for text != "" {
		switch text[0] {
		case '\\':
			if out, text, err = unescapeOne(out, text[1:], number); err != nil {
				return nil, "", err
			}
		case '{':
			if out, text, err = repeat(out, text[1:]); err != nil {
				return nil, "", err
			}
		case '}':
			return out, text, nil
		default:
			out, text = append(out, text[0]), text[1:]
		}
		if len(out) > maxRaw {
			return nil, "", errTooLong
		}
	}
	return out, "", nil
}

func unescapeOne(out []byte, text string, number int) ([]byte, string, error) {
	if text == "" {
		return nil, "", errors.New("\\ at the end")
	}
	one := map[byte]byte{'r': '\r', 'n': '\n', 't': '\t', '0': 0, '\\': '\\', '{': '{', '}': '}'}
	if b, ok := one[text[0]]; ok {
		return append(out, b), text[1:], nil
	}
	switch {
	case text[0] == 'x' && len(text) >= 3:
		b, err := hex.DecodeString(text[1:3])
		if err != nil {
			return nil, "", fmt.Errorf("\\x%s: %w", text[1:3], err)
		}
		return append(out, b...), text[3:], nil
	case text[0] == '#' && number >= 0:
		return strconv.AppendInt(out, int64(number), 10), text[1:], nil
	}
	return nil, "", fmt.Errorf("no such escape: \\%c", text[0])
}

// repeat reads N*text} and appends text N times.
func repeat(out []byte, text string) ([]byte, string, error) {
	count, text, ok := strings.Cut(text, "*")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 {
		return nil, "", fmt.Errorf("{%.20s: no repetition; a brace is \\{", count)
	}
	piece, rest, err := unescapeTo(nil, text, 0)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(rest, "}") {
		return nil, "", errors.New("a repetition does not end")
	}
	if len(piece) > 0 && n > maxRaw/len(piece) || n > maxRaw {
		return nil, "", errTooLong
	}
	body := text[:len(text)-len(rest)]
	if !strings.Contains(body, `\#`) {
		return append(out, bytes.Repeat(piece, n)...), rest[1:], nil
	}
	for i := range n {
		if piece, _, err = unescapeTo(nil, body, i); err != nil {
			return nil, "", err
		}
		if out = append(out, piece...); len(out) > maxRaw {
			return nil, "", errTooLong
		}
	}
	return out, rest[1:], nil
}
