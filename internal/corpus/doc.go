// Package corpus holds what the tests of HTTP framing share: a text format for
// raw requests and answers with what is expected of a gateway, an upstream that
// records every byte, a client that sends raw bytes, and a judge. Its reader of
// HTTP/1.1 is written apart from the gateway's, from RFC 9112, so that the two
// do not share a mistake.
//
// # Format
//
// A file is a list of cases. A case is its name at the beginning of a line, and
// indented lines below it:
//
//	te-space-before-colon
//	  rfc 9112 5.1
//	  why one hop drops the field, the next obeys it
//	  > POST /case HTTP/1.1
//	  > Host: corpus.example
//	  > {}
//	  >
//	  . 0\r\n\r\n
//	  with one-space Transfer-Encoding : chunked
//	  with tab Transfer-Encoding\t: chunked
//	  reject 400
//
// Lines that begin with # are comments. The words:
//
//	rfc, why      the section and the attack or the reason
//	ask           answers only, like >: a line of the request that is sent,
//	              in place of GET /case
//	> text        raw bytes and CRLF
//	. text        raw bytes as they are
//	+ text        answers only: raw bytes sent once the client has its answer
//	with N text   a variant: text replaces every {} of the case, in raw bytes
//	              and in expectations; the case is run for each as case/N
//	then end      what the sender does after its bytes: keep (the default: wait),
//	              close (its sending side), reset, hold (answers only: say
//	              nothing more and keep the connection; the gateway's read
//	              timeout is then short)
//	sends N       requests only: a reader that passes over the faults finds N
//	              requests, in the open; reports do not call that ambiguous
//	early         answers only: answer without reading the request's body
//	many          answers only: what follows in raw bytes is sent on every
//	              request to /case, not only on the first
//
// Raw bytes know \r \n \t \0 \xNN \\ \{ \} and {N*text}, which repeats text N
// times; in it \# is the number of the repetition. They do not end in white
// space: \x20 is a space that shows.
//
// # Expectations
//
// A case has one or more; one that holds is enough. For requests, where status
// may be several, and "close" among them allows to close without an answer:
//
//	reject status   the answer, the connection closes, and no byte reaches the
//	                upstream
//	break status    the same, but the upstream may have seen a beginning: never
//	                a whole request
//	answer status   an answer of the gateway's own; no byte reaches the upstream,
//	                and the connection may stay
//	forward         the upstream sees exactly the requests that follow:
//	  request METHOD target [or target]
//	  framing none|length|chunked
//	  body text       raw bytes; without it the body is empty
//	  has Name: value
//	  lacks Name    neither in the header nor in the trailer
//	  trailer-lacks Name
//	  fault         what follows the requests is refused, and the connection
//	                closes
//
// For answers:
//
//	gateway status  an answer of the gateway's own, in place of the upstream's
//	pass status     the answer, whole, with body, has and lacks as above
//	cut             the client can tell that the answer is not whole (or has an
//	                answer of the gateway's own)
//
// After each case a further request on the client's connection, and one on a
// new connection, must get their own answers, or find the connection closed.
package corpus
