package plugin

// Header is an editable view of the fields of a message head (RFC 9110,
// section 5). Names are compared without regard to case, and sent in the
// spelling in which they were set; look-ups are fastest in the usual spelling.
//
// Strings that a view gives are valid until the exchange ends: a front may
// hand out pieces of its read buffer. Clone what is kept longer.
type Header interface {
	// Get gives the first value of a field, or "".
	Get(name string) string
	// Has says whether the field is there, even with an empty value.
	Has(name string) bool
	// Each calls f with every value of a field, in order, until f answers
	// false.
	Each(name string, f func(value string) bool)
	// All calls f with every field line, in order, until f answers false. The
	// view must not be changed meanwhile.
	All(f func(name, value string) bool)
	// Set replaces all values of a field by one.
	Set(name, value string)
	// Add appends a field line.
	Add(name, value string)
	// Del removes all values of a field.
	Del(name string)
}

// Field is one header field of an answer that a plugin makes.
type Field struct {
	Name, Value string
}
