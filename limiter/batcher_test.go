package limiter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBatcherMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		var sizes []int
		b := NewBatcher(func(_ context.Context, e Entry) (*Outcome, error) {
			time.Sleep(time.Millisecond)
			sizes = append(sizes, len(e.Batches))
			return l.Apply(e), nil
		}, time.Now)
		var wg sync.WaitGroup
		submit := func(i int) {
			r, err := b.Submit(t.Context(), Batch{Node: fmt.Sprint("n", i), Incarnation: "a", Seq: uint64(i)})
			if err != nil || r.Node != fmt.Sprint("n", i) || r.Seq != uint64(i) {
				t.Errorf("submission %d: %+v, %v", i, r, err)
			}
		}
		wg.Go(func() { submit(1) })
		synctest.Wait()
		for i := range 50 {
			wg.Go(func() { submit(i + 2) })
		}
		wg.Wait()
		b.Close()
		if len(sizes) != 2 || sizes[0] != 1 || sizes[1] != 50 {
			t.Errorf("entries of %v batches, want one in flight and the rest in the next", sizes)
		}
	})
}

func TestBatcherBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		var largest int
		b := NewBatcher(func(_ context.Context, e Entry) (*Outcome, error) {
			time.Sleep(time.Millisecond)
			raw, _ := e.MarshalBinary()
			largest = max(largest, len(raw))
			return l.Apply(e), nil
		}, time.Now)
		full := Batch{Node: "n", Items: make([]Item, 100)}
		for i := range full.Items {
			full.Items[i] = Item{Limit: strings.Repeat("l", 120), Key: strings.Repeat("k", 120), Want: 1}
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		busy := 0
		for range maxQueued + 100 {
			wg.Go(func() {
				if _, err := b.Submit(t.Context(), full); errors.Is(err, ErrBusy) {
					mu.Lock()
					busy++
					mu.Unlock()
				} else if err != nil {
					t.Errorf("submit: %v", err)
				}
			})
		}
		wg.Wait()
		if busy == 0 {
			t.Error("the queue has no bound")
		}
		if largest > maxEntryBytes || largest < maxEntryBytes/4 {
			t.Errorf("largest entry %d bytes, bound %d", largest, maxEntryBytes)
		}
		if _, err := b.Submit(t.Context(), Batch{Items: make([]Item, maxBatchItems+1)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("batch of too many items: %v", err)
		}
		b.Close()
		if _, err := b.Submit(t.Context(), full); !errors.Is(err, ErrClosed) {
			t.Errorf("submit after close: %v", err)
		}
	})
}

func TestBatcherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		calls := 0
		b := NewBatcher(func(ctx context.Context, e Entry) (*Outcome, error) {
			switch calls++; calls {
			case 1:
				return nil, errDown
			case 2:
				return &Outcome{}, nil
			}
			select {
			case <-hang:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		}, time.Now)
		if _, err := b.Submit(t.Context(), Batch{Node: "n"}); !errors.Is(err, errDown) {
			t.Errorf("failed commit: %v", err)
		}
		if _, err := b.Submit(t.Context(), Batch{Node: "n"}); err == nil {
			t.Error("an outcome without results was taken for an answer")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Submit(ctx, Batch{Node: "n"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hanging commit: %v", err)
		}
		b.Close()
	})
}
