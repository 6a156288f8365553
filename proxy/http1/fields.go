package http1

import "strings"

// Field is one field line. The value has no white space at its ends.
type Field struct{ Name, Value string }

// Fields is the ordered list of the field lines of a head or a trailer (RFC
// 9110, section 5). The zero value is empty and ready. Names are compared
// without regard to case and keep the spelling they came with; a look-up is
// fastest in the spelling of the message.
//
// It has the methods of plugin.Header and router.HeaderSource. Strings of
// parsed fields share the memory of the parsed buffer: they are valid as long
// as that buffer is left alone; clone what is kept longer. It is not safe for
// concurrent use.
type Fields struct {
	list []Field
	// marks has the mark of every name in the list, and maybe of more.
	marks Marks
}

// Marks has some of 64 bits set, one for each of some names. They answer most
// questions for fields that are absent.
type Marks uint64

// MarksOf gives the marks of names, for [Fields.MayHave].
func MarksOf(names ...string) (all Marks) {
	for _, name := range names {
		all |= mark(name)
	}
	return all
}

// mark gives one bit for a name. With these factors none of the names that proxies
// remove or set has the same as another one that is often there.
func mark(name string) Marks {
	n := uint(len(name))
	if n == 0 {
		return 0
	}
	return 1 << ((n + 62*uint(name[n-1]|0x20) + 18*uint(name[n/2]|0x20)) & 63)
}

// MayHave says whether a field may be there that has one of these marks. False is
// certain.
func (f *Fields) MayHave(m Marks) bool { return f.marks&m != 0 }

// Name is a name with its mark, for those that are looked for or set in every message.
type Name struct {
	text string
	mark Marks
}

// NameOf makes a name of a token.
func NameOf(token string) Name { return Name{token, mark(token)} }

// String gives the token.
func (n Name) String() string { return n.text }

// In says whether the field is there, even with an empty value.
func (n Name) In(f *Fields) bool { return f.lookFor(n, 0) >= 0 }

// find gives the index of the first field of that name at or after from, or -1.
func (f *Fields) find(name string, from int) int { return f.lookFor(NameOf(name), from) }

func (f *Fields) lookFor(n Name, from int) int {
	if f.marks&n.mark == 0 {
		return -1
	}
	return f.search(n.text, from)
}

func (f *Fields) search(name string, from int) int {
	for i := from; i < len(f.list); i++ {
		n := f.list[i].Name
		if len(n) != len(name) || (n[0]^name[0])&^0x20 != 0 {
			continue
		}
		if n == name || equalFold(n, name) {
			return i
		}
	}
	return -1
}

// Get gives the first value of a field, or "".
func (f *Fields) Get(name string) string {
	if i := f.find(name, 0); i >= 0 {
		return f.list[i].Value
	}
	return ""
}

// Has says whether the field is there, even with an empty value.
func (f *Fields) Has(name string) bool { return f.find(name, 0) >= 0 }

// Next gives the first value of a field at or after the position from, and the
// position to go on from; begin with 0. ok is false after the last value.
func (f *Fields) Next(name string, from int) (value string, next int, ok bool) {
	return f.next(NameOf(name), from)
}

func (f *Fields) next(n Name, from int) (value string, next int, ok bool) {
	i := f.lookFor(n, max(from, 0))
	if i < 0 {
		return "", 0, false
	}
	return f.list[i].Value, i + 1, true
}

// Each calls yield with every value of a field, in order, until it answers
// false. The fields must not be changed meanwhile.
func (f *Fields) Each(name string, yield func(value string) bool) {
	for i := f.find(name, 0); i >= 0; i = f.find(name, i+1) {
		if !yield(f.list[i].Value) {
			return
		}
	}
}

// All calls yield with every field line, in order, until it answers false. The
// fields must not be changed meanwhile.
func (f *Fields) All(yield func(name, value string) bool) {
	for i := range f.list {
		if !yield(f.list[i].Name, f.list[i].Value) {
			return
		}
	}
}

// Len is the number of field lines.
func (f *Fields) Len() int { return len(f.list) }

// At gives field line i, 0 <= i < Len.
func (f *Fields) At(i int) Field { return f.list[i] }

// Set replaces all values of a field by one, in the place of the first and
// spelled as given. Control characters of the value become spaces, so that no
// value can begin another line; a name that is no token changes nothing.
func (f *Fields) Set(name, value string) {
	i := f.find(name, 0)
	if i < 0 {
		f.Add(name, value)
		return
	}
	f.list[i] = Field{name, sanitise(value)}
	f.remove(name, i+1)
}

// Put is Set without its care, for names and values that cannot hold anything
// that has no place in a head: constants, numbers, addresses.
func (f *Fields) Put(n Name, value string) {
	i := f.lookFor(n, 0)
	if i < 0 {
		f.list = append(f.list, Field{n.text, value})
		f.marks |= n.mark
		return
	}
	f.list[i] = Field{n.text, value}
	f.remove(n.text, i+1)
}

// PutText is Set for a name that is known to be a token.
func (f *Fields) PutText(n Name, value string) { f.Put(n, sanitise(value)) }

// Add appends a field line, with the care of [Fields.Set].
func (f *Fields) Add(name, value string) {
	if isToken(name) {
		f.append(name, sanitise(value))
	}
}

func (f *Fields) append(name, value string) {
	f.list = append(f.list, Field{name, value})
	f.marks |= mark(name)
}

// Del removes all values of a field.
func (f *Fields) Del(name string) { f.remove(name, 0) }

// remove removes the fields of that name at or after from.
func (f *Fields) remove(name string, from int) {
	keep := f.find(name, from)
	if keep < 0 {
		return
	}
	// name may be the string of a line that is being overwritten, but not its
	// bytes: lines only move their headers.
	for i := keep + 1; i < len(f.list); i++ {
		if !equalFold(f.list[i].Name, name) {
			f.list[keep] = f.list[i]
			keep++
		}
	}
	clear(f.list[keep:])
	f.list = f.list[:keep]
}

// Size is how many bytes the fields take on the wire, without the empty line.
func (f *Fields) Size() int64 {
	n := 0
	for i := range f.list {
		n += len(f.list[i].Name) + len(": ") + len(f.list[i].Value) + len("\r\n")
	}
	return int64(n)
}

// Joined gives the values of a field as one list (RFC 9110, section 5.2), or
// "". One value costs no allocation.
func (f *Fields) Joined(name string) string {
	first := f.find(name, 0)
	if first < 0 {
		return ""
	}
	second := f.find(name, first+1)
	if second < 0 {
		return f.list[first].Value
	}
	var b strings.Builder
	b.WriteString(f.list[first].Value)
	for i := second; i >= 0; i = f.find(name, i+1) {
		b.WriteString(", ")
		b.WriteString(f.list[i].Value)
	}
	return b.String()
}

// HasToken says whether a list field has an element, without regard to case.
// What follows a semicolon ("trailers;q=1") does not count. Quoted strings mean
// nothing: the fields this is for (Connection, TE, Upgrade) have none.
func (f *Fields) HasToken(name, token string) bool { return f.hasToken(NameOf(name), token) }

func (f *Fields) hasToken(n Name, token string) bool {
	for i := f.lookFor(n, 0); i >= 0; i = f.lookFor(n, i+1) {
		if listHas(f.list[i].Value, token) {
			return true
		}
	}
	return false
}

func listHas(list, token string) bool {
	for len(list) >= len(token) {
		element := list
		comma := strings.IndexByte(list, ',')
		if comma >= 0 {
			element = list[:comma]
		}
		if i := strings.IndexByte(element, ';'); i >= 0 {
			element = element[:i]
		}
		if equalFold(trim(element), token) {
			return true
		}
		if comma < 0 {
			break
		}
		list = list[comma+1:]
	}
	return false
}

// Reset removes all fields and keeps the memory of the list.
func (f *Fields) Reset() {
	clear(f.list)
	f.list, f.marks = f.list[:0], 0
}

// CopyFrom makes the fields those of another list. The strings are shared.
func (f *Fields) CopyFrom(from *Fields) {
	if f == from {
		return
	}
	f.Reset()
	f.list, f.marks = append(f.list, from.list...), from.marks
}

// MoveFrom makes the fields those of another list, which has none afterwards.
func (f *Fields) MoveFrom(from *Fields) {
	if f == from {
		return
	}
	f.Reset()
	*f, *from = *from, *f
}

// AppendTo appends all lines as they go on the wire, without the empty line
// that ends a head.
func (f *Fields) AppendTo(b []byte) []byte {
	for i := range f.list {
		b = append(b, f.list[i].Name...)
		b = append(b, ": "...)
		b = append(b, f.list[i].Value...)
		b = append(b, "\r\n"...)
	}
	return b
}

// sanitise makes spaces of control characters. A value without any is given
// back as it is.
func sanitise(value string) string {
	i := skipText(bytesOf(value), 0)
	if i == len(value) {
		return value
	}
	b := []byte(value)
	for ; i < len(b); i++ {
		if isControl(b[i]) {
			b[i] = ' '
		}
	}
	return string(b)
}
