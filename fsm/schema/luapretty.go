package schema

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// luaKeywords cannot be written as bare keys of a table.
const luaKeywords = " and break do else elseif end false for function if in local nil not or repeat return then true until while "

// luaPretty prints a message as it is, and a tree of messages as the Lua table that Kong shows in its
// place: elements in order, then fields by name, two spaces per level.
func luaPretty(problem any) string {
	switch problem.(type) {
	case map[string]any, []any:
		var out strings.Builder
		writeLua(&out, problem, "")
		return out.String()
	}
	return text(problem)
}

func writeLua(out *strings.Builder, v any, indent string) {
	var lines []string
	deeper := indent + "  "
	add := func(key string, part any) {
		var line strings.Builder
		line.WriteString(deeper + key)
		writeLua(&line, part, deeper)
		lines = append(lines, line.String())
	}
	switch value := v.(type) {
	case []any:
		// elements after a hole are no longer part of Lua's sequence and show their index
		hole := false
		for i, element := range value {
			switch {
			case element == nil:
				hole = true
			case hole:
				add(fmt.Sprintf("[%d] = ", i+1), element)
			default:
				add("", element)
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			add(luaKey(name)+" = ", value[name])
		}
	case string:
		out.WriteString(luaQuote(value))
		return
	default:
		out.WriteString(text(v))
		return
	}
	out.WriteString("{\n" + strings.Join(lines, ",\n") + "\n" + indent + "}")
}

func luaKey(name string) string {
	if isIdentifier(name) && !strings.Contains(luaKeywords, " "+name+" ") {
		return name
	}
	return "[" + luaQuote(name) + "]"
}

func isIdentifier(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		if name[i] != '_' && (c < 'a' || c > 'z') && (i == 0 || name[i] < '0' || name[i] > '9') {
			return false
		}
	}
	return name != ""
}

// luaBrackets finds what would end, or could be taken for the start of, a long string.
var luaBrackets = regexp.MustCompile(`\[=*\[|\]=*\]`)

// luaQuote quotes a string as %q does, or, if it has several lines, in long brackets.
func luaQuote(s string) string {
	open := longBracketLevel(s)
	if (strings.Contains(s, "\n") || open >= 0) && !strings.Contains(s, "\r") {
		equals := strings.Repeat("=", open+1)
		if strings.HasPrefix(s, "\n") {
			s = "\n" + s // Lua drops the first newline
		}
		return "[" + equals + "[" + s + "]" + equals + "]"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`).Replace(s) + `"`
}

// longBracketLevel returns the largest number of equals signs in a long bracket within s, -1 for none.
func longBracketLevel(s string) int {
	level := -1
	for _, bracket := range luaBrackets.FindAllString(s+"]", -1) {
		level = max(level, len(bracket)-2)
	}
	return level
}
