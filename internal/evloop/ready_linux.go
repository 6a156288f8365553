package evloop

// readyList is a queue of tasks that have given way. It is linked through the
// tasks, so it needs no memory of its own.
type readyList struct{ first, last *Task }

func (q *readyList) push(t *Task) {
	t.next = nil
	if q.first == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

func (q *readyList) pop() *Task {
	t := q.first
	q.first, t.next = t.next, nil
	if q.first == nil {
		q.last = nil // the queue keeps nothing that has left it
	}
	return t
}

// runDue runs the task that was first in the queue before the last look at the
// kernel, now that the events of that look are dealt with. It is one and not
// all, so that an event waits for one turn, however many tasks give way. False
// means that the loop has another leader now.
func (l *Loop) runDue(term uint32) bool {
	if !l.due {
		return true
	}
	l.due = false
	t := l.ready.pop()
	t.state.Store(running) // what happened meanwhile is dealt with by this run
	return l.handle(t, term)
}

// giveBack is push for a goroutine that does not lead the loop. The task may be
// running again when it returns.
func (l *Loop) giveBack(t *Task) {
	for {
		head := l.returned.Load()
		t.next = head
		if l.returned.CompareAndSwap(head, t) {
			if head == nil { // or else the bell is rung already
				l.ring()
			}
			return
		}
	}
}

// takeBack moves what was given back to the queue, the oldest first.
func (l *Loop) takeBack() {
	if l.returned.Load() == nil {
		return
	}
	var oldest *Task
	for t := l.returned.Swap(nil); t != nil; {
		next := t.next
		t.next, oldest, t = oldest, t, next
	}
	for t := oldest; t != nil; {
		next := t.next
		l.ready.push(t)
		t = next
	}
}
