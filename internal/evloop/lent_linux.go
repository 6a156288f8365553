package evloop

// lent is what the leader of a loop lends to the handler that it runs: nothing in
// it has to be safe for concurrent use. Who detaches gives it up before another
// leads. A leader from whom the loop is taken leaves it to the handler, and the next
// one has another.
type lent struct {
	buffers Spares[*sendBuffer]
	local   any
	thread  int32 // that leads the loop, 0 where that makes no difference
}

func (l *Loop) newLent() *lent {
	n := new(lent)
	if local := l.group.cfg.Local; local != nil {
		n.local = local()
	}
	return n
}

// Local gives what Config.Local has made for the task's loop, for the handler alone
// until it returns or detaches; nil unless it runs inline. For the owner.
func (t *Task) Local() any {
	if t.lent == nil {
		return nil
	}
	return t.lent.local
}

// Spares keeps values that are of no use at the moment for the next who needs one,
// the last one first: its memory is most likely still in the processor's cache. In
// contrast to sync.Pool it is not safe for concurrent use, and does without atomic
// operations.
type Spares[T any] struct{ kept []T }

// Take gives the value that was kept last. False: there is none.
func (s *Spares[T]) Take() (v T, ok bool) {
	last := len(s.kept) - 1
	if last < 0 {
		return v, false
	}
	v, s.kept[last] = s.kept[last], v // no reference stays
	s.kept = s.kept[:last]
	return v, true
}

// Keep takes a value, unless there are as many already.
func (s *Spares[T]) Keep(v T, most int) bool {
	if len(s.kept) >= most {
		return false
	}
	s.kept = append(s.kept, v)
	return true
}
