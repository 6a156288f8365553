package fsm

import "fmt"

// Code is Kong's number for a kind of error (DB errors of the Admin API).
type Code int

// The codes that the state machine itself answers. The Admin API adds those
// that are found before a command is made (schema violation 2, invalid offset
// 7, ...).
const (
	CodePrimaryKey Code = 3
	CodeForeignKey Code = 4
	CodeUnique     Code = 5
	CodeNotFound   Code = 6
	CodeReferenced Code = 19
	// CodeConflict is Sluice's own: a compare-and-set found another modify
	// index. The writer reads again and retries.
	CodeConflict Code = 100
	// CodeRefused is Sluice's own: a command that this build cannot apply.
	CodeRefused Code = 101
)

// Error is a refused command in the words of Kong's Admin API.
type Error struct {
	Code    Code           `json:"code"`
	Name    string         `json:"name"`
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// conflict is the answer to a compare-and-set that lost.
func conflict(kind, id string, want, have uint64) *Error {
	return &Error{Code: CodeConflict, Name: "conflict",
		Message: fmt.Sprintf("%s %s has modify index %d, not %d", kind, id, have, want)}
}

func refused(err error) *Error {
	return &Error{Code: CodeRefused, Name: "refused", Message: err.Error()}
}
