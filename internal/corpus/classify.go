package corpus

import (
	"bytes"
	"errors"
	"slices"
)

// Outcome is what became of a case, whatever was expected.
type Outcome string

// The outcomes of requests.
const (
	// Refused: an answer of the gateway's own or a closed connection, and no
	// whole request at the upstream.
	Refused Outcome = "refused"
	// Clear: the upstream got requests that can be read in one way.
	Clear Outcome = "forwarded"
	// Ambiguous: the upstream got what strict HTTP/1.1 has no reading for, a
	// request that was hidden in another, or the client an answer that is not
	// its own.
	Ambiguous Outcome = "ambiguous"
	// Unanswered: nothing came within the client's patience.
	Unanswered Outcome = "unanswered"
)

// The outcomes of answers; Refused is an answer of the gateway's own.
const (
	Passed Outcome = "passed"
	Broken Outcome = "cut"
	// Crossed: a later request got an answer that is not its own.
	Crossed Outcome = "crossed"
	// Malformed: the client got what is no strict answer.
	Malformed Outcome = "malformed"
)

// RequestOutcome says what became of a request.
func (s *Seen) RequestOutcome(c *Case) Outcome {
	hidden := 0
	for _, rec := range s.Upstream {
		if errors.Is(rec.Fault, ErrWire) {
			return Ambiguous
		}
		for _, q := range rec.Requests {
			if q.Target == smuggledTarget {
				hidden++
			}
			if bytes.Contains(q.Body, []byte(FollowUpTarget)) {
				return Ambiguous
			}
		}
	}
	switch {
	case hidden > 0, foreign(s.FollowUp), len(s.requests()) > sent(c):
		return Ambiguous
	case s.End == EndSilent && len(s.Answers) == 0:
		return Unanswered
	case len(s.requests()) > 0:
		return Clear
	}
	return Refused
}

// foreign says whether an answer to the further request is not the gateway's
// and not that request's either.
func foreign(a *AnswerSeen) bool {
	return a != nil && a.Status < 300 && a.Whole && !own(a)
}

// sent is how many requests a case consists of.
func sent(c *Case) int {
	most := max(1, c.Sends)
	for _, e := range c.Expect {
		most = max(most, len(e.Messages))
	}
	return most
}

// AnswerOutcome says what became of an upstream's answer.
func (s *Seen) AnswerOutcome() Outcome {
	gateway := []int{502, 503, 504}
	switch {
	case foreign(s.FollowUp), foreign(s.Next):
		return Crossed
	case s.End == EndSilent:
		return Unanswered
	case s.End == EndBroken:
		return Malformed
	case len(s.Answers) == 0, !s.Answers[0].Whole:
		return Broken
	case slices.Contains(gateway, s.Answers[0].Status):
		return Refused
	}
	return Passed
}
