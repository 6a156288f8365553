package evloop

import "testing"

// TestLocal: what is a loop's own is a handler's until it leaves the loop. Who has
// lost the loop keeps it, and nobody else has it any more.
func TestLocal(t *testing.T) {
	for name, c := range map[string]struct {
		leave func(*Task)
		keeps bool // what it had
		same  bool // when it is inline again
	}{
		"stays":    {func(*Task) {}, true, true},
		"detached": {(*Task).Detach, false, true},
		"taken":    {func(t *Task) { t.loop.takeAway(t.loop.lead.Load()) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, g *Group) {
				var task, other, elsewhere Task
				step := 0
				var first any
				again := make(chan any, 1)
				start(g.Loops()[0], &task, handlerFunc(func() {
					switch step++; step {
					case 1:
						first = task.Local()
						*first.(*int)++
						c.leave(&task)
						if now := task.Local(); c.keeps && now != first || !c.keeps && now != nil {
							t.Errorf("after it has left it has %p, and had %p", now, first)
						}
						if c.keeps {
							*first.(*int)++ // the race detector sees whether the next leader has it
						}
						task.Yield()
					case 2:
						*task.Local().(*int)++
						again <- task.Local()
					}
				}))
				if now := await(t, "the second turn", again); (now == first) != c.same {
					t.Errorf("%p, and then %p", first, now)
				}
				look := func(l *Loop, task *Task) any {
					seen := make(chan any, 1)
					start(l, task, handlerFunc(func() {
						select {
						case seen <- task.Local():
						default:
						}
					}))
					return await(t, "a look", seen)
				}
				a, b := look(g.Loops()[0], &other), look(g.Loops()[1], &elsewhere)
				if a == b || a == nil || b == nil {
					t.Errorf("two loops have %p and %p", a, b)
				}
				for _, each := range []*Task{&task, &other, &elsewhere} {
					each.Retire()
				}
			})
		})
	}
}

func TestSpares(t *testing.T) {
	var s Spares[string]
	if _, ok := s.Take(); ok {
		t.Error("there was none")
	}
	if !s.Keep("a", 2) || !s.Keep("b", 2) || s.Keep("c", 2) {
		t.Error("two are kept, and no more")
	}
	for _, want := range []string{"b", "a"} {
		if got, ok := s.Take(); got != want || !ok {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, ok := s.Take(); ok {
		t.Error("there is none left")
	}
}
