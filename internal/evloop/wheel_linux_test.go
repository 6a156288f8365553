package evloop

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestWheelAgainstModel compares the wheel with a list of deadlines: nothing
// strikes early, and all that is due strikes within a slot.
func TestWheelAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const fine = Time(1) << tickShift
		now := Time(rapid.Int64Range(0, int64(400*time.Second)).Draw(t, "start"))
		l := &Loop{group: &Group{}}
		l.wheel.init(now)
		tasks := make([]*Task, 8)
		for i := range tasks {
			tasks[i] = new(Task)
			tasks[i].Init(l, nil)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			task := rapid.SampledFrom(tasks).Draw(t, "task")
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0, 1:
				ahead := rapid.OneOf(rapid.Int64Range(0, int64(time.Second)), rapid.Int64Range(0, int64(600*time.Second))).Draw(t, "ahead")
				task.SetDeadline(now + 1 + Time(ahead))
			case 2:
				task.Retire()
			default:
				now += Time(rapid.OneOf(rapid.Int64Range(0, int64(20*time.Millisecond)), rapid.Int64Range(0, int64(300*time.Second))).Draw(t, "pass"))
				expired := l.wheel.advance(now, nil)
				for _, task := range tasks {
					at := Time(task.deadline.Load())
					switch hit := slices.Contains(expired, task); {
					case hit && (at == 0 || at > now):
						t.Fatalf("struck at %d, deadline %d", now, at)
					case !hit && at != 0 && at+2*fine < now:
						t.Fatalf("not struck at %d, deadline %d", now, at)
					case hit:
						task.SetDeadline(0)
					}
				}
			}
			if next := l.wheel.next(); next != never && next <= now-fine {
				t.Fatalf("next is %d, now %d", next, now)
			}
			for _, task := range tasks {
				if at := Time(task.deadline.Load()); at != 0 && l.wheel.next() > at+2*fine {
					t.Fatalf("next is %d, a deadline %d", l.wheel.next(), at)
				}
			}
		}
	})
}

func BenchmarkSetDeadline(b *testing.B) {
	l := &Loop{group: &Group{}}
	l.wheel.init(0)
	var task Task
	task.Init(l, nil)
	at := Time(time.Minute)
	for b.Loop() {
		at += 1000
		task.SetDeadline(at)
	}
}
