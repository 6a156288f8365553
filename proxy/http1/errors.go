package http1

// Error says why a message is refused. Values are shared: compare them with
// errors.Is or errors.As, never change one.
type Error struct {
	// Status is what a client is to be answered: 400, 414, 431, 501 or 505 for
	// a request, 502 for anything that a service sent.
	Status int
	// Reason is for logs; it holds nothing of the message.
	Reason string
}

// Error gives the reason.
func (e *Error) Error() string { return e.Reason }

// Is makes every refused response an [ErrInvalid].
func (e *Error) Is(target error) bool {
	return target == error(ErrInvalid) && e.Status == statusBadGateway
}

var (
	// ErrPreface is a connection that begins as HTTP/2 does (RFC 9113, section
	// 3.4). Nothing of it has been consumed.
	ErrPreface = &Error{505, "connection preface of HTTP/2"}
	// ErrInvalid is the kind of every refused response; see [Error.Is].
	ErrInvalid = &Error{statusBadGateway, "invalid HTTP/1 response"}
)

const statusBadGateway = 502

// fault numbers what can be wrong, so that the parsers, which do not know
// whose message they read, pass around a byte.
type fault uint8

const (
	sound fault = iota
	faultPreface
	faultLine
	faultRequestLine
	faultStatusLine
	faultMethod
	faultTarget
	faultTargetForm
	faultTargetLong
	faultVersion
	faultHead
	faultFields
	faultName
	faultFold
	faultValue
	faultHostMissing
	faultHostTwice
	faultHost
	faultHostConflict
	faultLength
	faultLengths
	faultBoth
	faultCoding
	faultCodings
	faultCoding10
	faultNoBody
	faultChunkSize
	faultChunkEnd
	faultChunkExtension
	faultTrailer
	faultCount
)

// requestErrors is what a fault is in a request.
var requestErrors = [faultCount]*Error{
	faultPreface:        ErrPreface,
	faultLine:           {400, "line does not end in CR LF"},
	faultRequestLine:    {400, "malformed request line"},
	faultStatusLine:     {400, "malformed status line"},
	faultMethod:         {400, "method is not a token"},
	faultTarget:         {400, "invalid byte or escape in request target"},
	faultTargetForm:     {400, "request target has no form that its method allows"},
	faultTargetLong:     {414, "request target too long"},
	faultVersion:        {505, "version is neither HTTP/1.0 nor HTTP/1.1"},
	faultHead:           {431, "head too large"},
	faultFields:         {431, "too many fields"},
	faultName:           {400, "field name is not a token followed by a colon"},
	faultFold:           {400, "folded field line"},
	faultValue:          {400, "control character in a field value"},
	faultHostMissing:    {400, "no Host"},
	faultHostTwice:      {400, "more than one Host"},
	faultHost:           {400, "invalid host"},
	faultHostConflict:   {400, "Host and request target disagree"},
	faultLength:         {400, "invalid Content-Length"},
	faultLengths:        {400, "more than one Content-Length"},
	faultBoth:           {400, "Content-Length with Transfer-Encoding"},
	faultCoding:         {501, "Transfer-Encoding is not chunked"},
	faultCodings:        {400, "more than one Transfer-Encoding"},
	faultCoding10:       {400, "Transfer-Encoding with HTTP/1.0"},
	faultNoBody:         {400, "interim response with a body"},
	faultChunkSize:      {400, "invalid chunk size"},
	faultChunkEnd:       {400, "chunk is not as long as its size says"},
	faultChunkExtension: {400, "invalid or too many chunk extensions"},
	faultTrailer:        {431, "trailer too large"},
}

// responseErrors is the same in a response.
var responseErrors = func() (table [faultCount]*Error) {
	for f, e := range requestErrors {
		if e != nil {
			table[f] = &Error{statusBadGateway, e.Reason}
		}
	}
	return table
}()
