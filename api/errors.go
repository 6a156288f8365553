package api

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// Errors that a Cluster wraps to say what became of a write. An error with a method RetryAfter()
// time.Duration says that the cluster takes no writes for now (503).
var (
	// ErrUnconfirmed: the write was sent and not answered; it may or may not have happened (504).
	ErrUnconfirmed = errors.New("the write was not confirmed in time and may or may not have happened; " +
		"repeat it with the same " + headerRequestID + " to be sure")
	// ErrTooLarge: the write does not fit into one entry of the log (413). What is wrapped with it should
	// say how much does, since clients are shown it.
	ErrTooLarge = errors.New("the entity is too large")
)

// Kong's codes of the errors that are found before a command is made.
const (
	codeInvalidPrimaryKey  fsm.Code = 1
	codeSchema             fsm.Code = 2
	codeInvalidOffset      fsm.Code = 7
	codeInvalidSize        fsm.Code = 9
	codeInvalidUnique      fsm.Code = 10
	codeInvalidOptions     fsm.Code = 11
	codeForeignsUnresolved fsm.Code = 13
)

// statusError is an error that is answered with a status and Kong's plain message.
type statusError struct {
	status  int
	message string // "" is an empty body
}

func (e *statusError) Error() string {
	if e.message == "" {
		return http.StatusText(e.status)
	}
	return e.message
}

var (
	errNotFound         = &statusError{http.StatusNotFound, "Not found"}
	errMethodNotAllowed = &statusError{http.StatusMethodNotAllowed, "Method not allowed"}
	errUnsupportedType  = &statusError{http.StatusUnsupportedMediaType, ""}
	errCoded            = &statusError{http.StatusUnsupportedMediaType, "Content-Encoding is not supported: send the body as it is"}
	errTwoTypes         = &statusError{http.StatusBadRequest, "only one Content-Type header is allowed"}
	errBadJSON          = &statusError{http.StatusBadRequest, "Cannot parse JSON body"}
	errDeepJSON         = &statusError{http.StatusBadRequest, "Cannot parse JSON body: it is nested too deeply"}
	errBadMultipart     = &statusError{http.StatusBadRequest, "Cannot parse multipart body"}
	errTooManyArguments = &statusError{http.StatusBadRequest, "Too many arguments"}
	errDeepArgument     = &statusError{http.StatusBadRequest, "an argument's name is nested too deeply"}
	errBodyTooLarge     = &statusError{http.StatusRequestEntityTooLarge, "request body is too large"}
	errBodyUnread       = &statusError{http.StatusBadRequest, "cannot read the request body"}
	errBadWait          = &statusError{http.StatusBadRequest, "wait must be 'all'"}
	errBadRequestID     = &statusError{http.StatusBadRequest, headerRequestID + " must be 1 to 128 printable ascii characters"}
	errBehind           = &statusError{http.StatusServiceUnavailable, "this node could not be brought up to date in time; nothing was changed"}
	errContended        = &statusError{http.StatusConflict, "the entity keeps being changed by other writers; try again"}
)

// badRequest is an error about one value of the request.
func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// kongError makes an error with Kong's envelope.
func kongError(code fsm.Code, name, message string, fields map[string]any) error {
	return &fsm.Error{Code: code, Name: name, Message: message, Fields: fields}
}

// errPrimaryKey answers a path that names an entity by something else than an id, where the kind has only ids.
var errPrimaryKey = kongError(codeInvalidPrimaryKey, "invalid primary key",
	`invalid primary key: '{id="expected a valid UUID"}'`, map[string]any{"id": "expected a valid UUID"})

// statusOf maps Kong's codes to HTTP; the codes that are missing are this node's own faults.
var statusOf = map[fsm.Code]int{
	codeInvalidPrimaryKey:  http.StatusBadRequest,
	codeSchema:             http.StatusBadRequest,
	fsm.CodePrimaryKey:     http.StatusBadRequest,
	fsm.CodeForeignKey:     http.StatusBadRequest,
	fsm.CodeUnique:         http.StatusConflict,
	fsm.CodeNotFound:       http.StatusNotFound,
	codeInvalidOffset:      http.StatusBadRequest,
	codeInvalidSize:        http.StatusBadRequest,
	codeInvalidUnique:      http.StatusBadRequest,
	codeInvalidOptions:     http.StatusBadRequest,
	codeForeignsUnresolved: http.StatusBadRequest,
	fsm.CodeReferenced:     http.StatusBadRequest,
}

// envelope is the body of Kong's errors.
type envelope struct {
	Code    fsm.Code `json:"code"`
	Name    string   `json:"name"`
	Message string   `json:"message"`
	Fields  any      `json:"fields,omitempty"`
	Options any      `json:"options,omitempty"`
}

// errorReply is the one place where errors become HTTP.
func (a *API) errorReply(err error) *reply {
	var (
		plain     *statusError
		violation *schema.Violation
		refused   *fsm.Error
		later     interface{ RetryAfter() time.Duration }
		operation *operationError
		file      *declarativeError
	)
	switch {
	case errors.As(err, &file):
		return a.declarativeReply(file)
	case errors.As(err, &operation):
		return a.operationReply(operation)
	case errors.As(err, &plain):
		if plain.message == "" {
			return &reply{status: plain.status}
		}
		return messageReply(plain.status, plain.message)
	case errors.As(err, &violation):
		return a.envelopeReply(http.StatusBadRequest, violationEnvelope(violation))
	case errors.As(err, &refused) && statusOf[refused.Code] != 0:
		e := envelope{Code: refused.Code, Name: refused.Name, Message: refused.Message}
		if refused.Fields != nil {
			e.Fields = refused.Fields
		}
		return a.envelopeReply(statusOf[refused.Code], e)
	case errors.As(err, &later):
		seconds := int(math.Ceil(max(later.RetryAfter(), time.Second).Seconds()))
		return messageReply(http.StatusServiceUnavailable, err.Error()).set("Retry-After", strconv.Itoa(seconds))
	case errors.Is(err, ErrUnconfirmed):
		return messageReply(http.StatusGatewayTimeout, ErrUnconfirmed.Error())
	case errors.Is(err, ErrTooLarge):
		return messageReply(http.StatusRequestEntityTooLarge, err.Error())
	}
	a.cfg.Logger.Error("admin request failed", zap.Error(err))
	return messageReply(http.StatusInternalServerError, "An unexpected error occurred")
}

func violationEnvelope(v *schema.Violation) envelope {
	if v.Options {
		return envelope{Code: codeInvalidOptions, Name: "invalid options", Message: v.Error(), Options: v}
	}
	return envelope{Code: codeSchema, Name: "schema violation", Message: v.Error(), Fields: v}
}

func (a *API) envelopeReply(status int, e envelope) *reply {
	r, err := jsonReply(status, e)
	if err != nil {
		a.cfg.Logger.Error("admin error cannot be written", zap.Error(err))
		return messageReply(status, e.Message)
	}
	return r
}
