package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// JudgeRequest says why none of a case's expectations holds, or nil.
func JudgeRequest(c *Case, s *Seen) error {
	return judge(c, s, func(e *Expectation) error {
		switch e.Kind {
		case Reject:
			return s.rejected(e, 0)
		case Break:
			return s.broken(e)
		case Answer:
			return s.answered(e)
		case Forward:
			return s.forwarded(e)
		}
		return fmt.Errorf("%s is not for requests", e.Kind)
	})
}

// JudgeAnswer is JudgeRequest for answers.
func JudgeAnswer(c *Case, s *Seen) error {
	if err := s.goesOn(); err != nil {
		return err
	}
	if !own(s.Next) {
		return fmt.Errorf("the next request's answer is another: %+v", s.Next)
	}
	return judge(c, s, func(e *Expectation) error {
		switch e.Kind {
		case Gateway:
			return s.single(e.Statuses, true)
		case Pass:
			return s.passed(e)
		case Cut:
			return s.cut()
		}
		return fmt.Errorf("%s is not for answers", e.Kind)
	})
}

func judge(c *Case, s *Seen, holds func(*Expectation) error) error {
	var all []error
	for i := range c.Expect {
		err := holds(&c.Expect[i])
		if err == nil {
			return nil
		}
		all = append(all, fmt.Errorf("%s: %w", c.Expect[i].Kind, err))
	}
	return errors.Join(all...)
}

// single checks that there is one answer, whole, with one of the statuses, or
// none where that is allowed.
func (s *Seen) single(statuses []int, whole bool) error {
	switch {
	case s.End == EndSilent && !(len(s.Answers) == 1 && s.Answers[0].Last && s.FollowUp == nil):
		return errors.New("no answer") // one that says close may linger to read the rest
	case s.End == EndBroken:
		return fmt.Errorf("no strict answer: %s", s.Detail)
	case len(s.Answers) == 0 && slices.Contains(statuses, Silent):
		return nil
	case len(s.Answers) != 1:
		return fmt.Errorf("%d answers", len(s.Answers))
	case !slices.Contains(statuses, s.Answers[0].Status):
		return fmt.Errorf("status %d", s.Answers[0].Status)
	case whole && !s.Answers[0].Whole && s.End == EndReset && slices.Contains(statuses, Silent):
		return nil
	case whole && !s.Answers[0].Whole:
		return errors.New("the answer is cut")
	}
	return nil
}

// rejected checks an answer after which the connection is closed, and that no
// more than the number of whole requests has reached the upstream.
func (s *Seen) rejected(e *Expectation, requests int) error {
	if err := s.single(e.Statuses, true); err != nil {
		return err
	}
	if s.FollowUp != nil || s.End == EndOpen {
		return errors.New("the connection goes on")
	}
	if n := len(s.requests()); n > requests {
		return fmt.Errorf("%d requests reached the upstream", n)
	}
	if e.Kind == Break {
		return nil
	}
	return s.nothingSent()
}

func (s *Seen) nothingSent() error {
	for _, rec := range s.Upstream {
		if len(rec.Requests) > 0 && len(s.requests()) == 0 && rec.Fault == nil {
			continue // the further request
		}
		if len(rec.Raw) > 0 {
			return fmt.Errorf("the upstream got %.60q", rec.Raw)
		}
	}
	return nil
}

// broken checks that the upstream has no whole request. A beginning must be
// cut, and be in order as far as it goes.
func (s *Seen) broken(e *Expectation) error {
	for _, rec := range s.Upstream {
		if rec.Fault != nil && !errors.Is(rec.Fault, io.ErrUnexpectedEOF) && errors.Is(rec.Fault, ErrWire) {
			return fmt.Errorf("the upstream got what is ambiguous: %w", rec.Fault)
		}
	}
	return s.rejected(e, 0)
}

func (s *Seen) answered(e *Expectation) error {
	if err := s.single(e.Statuses, true); err != nil {
		return err
	}
	if err := s.goesOn(); err != nil {
		return err
	}
	if n := len(s.requests()); n > 0 {
		return fmt.Errorf("%d requests reached the upstream", n)
	}
	return s.nothingSent()
}

// goesOn checks that the connection is closed, or answers a further request
// with that request's own answer and nothing after it.
func (s *Seen) goesOn() error {
	switch {
	case s.End != EndOpen && s.FollowUp != nil:
		return fmt.Errorf("the further answer is cut: %s", s.Detail)
	case s.End != EndOpen:
		return nil
	case !own(s.FollowUp):
		return fmt.Errorf("the further request got %d %.60q", s.FollowUp.Status, s.FollowUp.Body)
	case len(s.Extra) > 0:
		return fmt.Errorf("after the last answer comes %.60q", s.Extra)
	}
	return nil
}

// forwarded checks what the upstream got, and that each answer belongs to its
// request.
func (s *Seen) forwarded(e *Expectation) error {
	want := e.Messages
	for _, rec := range s.Upstream {
		if rec.Fault != nil {
			return fmt.Errorf("the upstream got what it cannot read: %w", rec.Fault)
		}
	}
	got := s.requests()
	if len(got) != len(want) {
		return fmt.Errorf("%d requests reached the upstream, want %d; answers %s", len(got), len(want), s)
	}
	for i := range want {
		if err := want[i].request(got[i]); err != nil {
			return fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	if s.End == EndSilent || s.End == EndBroken || len(s.Answers) != len(want) {
		return fmt.Errorf("%d answers, %s %s", len(s.Answers), s.End, s.Detail)
	}
	for i, a := range s.Answers {
		echo := Echo(got[i].Method, got[i].Target, len(got[i].Body))
		if got[i].Method == "HEAD" {
			echo = ""
		}
		if a.Status != 200 || !a.Whole || string(a.Body) != echo {
			return fmt.Errorf("answer %d is %d %.60q, want %.60q", i+1, a.Status, a.Body, echo)
		}
	}
	if e.Fault {
		return s.endsWithFault()
	}
	return s.goesOn()
}

// endsWithFault checks that what follows the case's requests is refused.
func (s *Seen) endsWithFault() error {
	switch {
	case s.FollowUp != nil && (s.FollowUp.Status < 400 || !s.FollowUp.Whole && s.End != EndReset):
		return fmt.Errorf("what follows is answered with %d", s.FollowUp.Status)
	case len(s.Extra) > 0:
		return fmt.Errorf("after the refusal comes %.60q", s.Extra)
	}
	return nil
}

func (w *Want) request(q *Request) error {
	switch {
	case q.Method != w.Method || !slices.Contains(w.Targets, q.Target):
		return fmt.Errorf("it is %s %.80s", q.Method, q.Target)
	case w.Framing != "" && q.Framing != w.Framing:
		return fmt.Errorf("its framing is %s", q.Framing)
	}
	return w.message(&q.Message)
}

func (w *Want) message(m *Message) error {
	if !bytes.Equal(m.Body, w.Body) {
		return fmt.Errorf("its body is %d bytes %.60q, want %d", len(m.Body), m.Body, len(w.Body))
	}
	for _, f := range w.Has {
		if !slices.Contains(m.Values(f.Name), f.Value) {
			return fmt.Errorf("%s is %.80q, want %.80q", f.Name, m.Values(f.Name), f.Value)
		}
	}
	for _, name := range w.Lacks {
		if values := m.Values(name); values != nil {
			return fmt.Errorf("it has %s: %.80q", name, values)
		}
	}
	for _, f := range m.Trailer {
		same := func(name string) bool { return strings.EqualFold(f.Name, name) }
		if slices.ContainsFunc(w.Lacks, same) || slices.ContainsFunc(w.TrailerLacks, same) {
			return fmt.Errorf("its trailer has %s: %.80q", f.Name, f.Value)
		}
	}
	return nil
}

func (s *Seen) passed(e *Expectation) error {
	if err := s.single(e.Statuses, true); err != nil {
		return err
	}
	return e.Messages[0].message(&s.Answers[0].Message)
}

// cut checks that the client does not take a part for the whole. An answer of
// the gateway's own instead is as good.
func (s *Seen) cut() error {
	switch {
	case s.End == EndSilent:
		return errors.New("no end")
	case len(s.Answers) == 0:
		return nil
	case !s.Answers[0].Whole, s.Answers[0].Status == 502, s.Answers[0].Status == 504:
		return nil
	}
	return fmt.Errorf("%d, and it looks whole: %.60q", s.Answers[0].Status, s.Answers[0].Body)
}
