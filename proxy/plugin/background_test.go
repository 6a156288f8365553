package plugin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackground(t *testing.T) {
	t.Run("done in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env, order := &Env{}, make(chan string, 2)
			env.AtEnd(func() { order <- "end" })
			env.Go(func() {
				<-env.Closing()
				time.Sleep(time.Second)
				order <- "done"
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := env.Close(ctx); err != nil {
				t.Error(err)
			}
			if first, second := <-order, <-order; first != "done" || second != "end" {
				t.Errorf("order: %s, %s", first, second)
			}
			if env.Go(func() { t.Error("it ran") }) {
				t.Error("a goroutine was begun after the end")
			}
			if err := env.Close(ctx); err != nil || env.Context().Err() == nil {
				t.Errorf("a second Close: %v, context %v", err, env.Context().Err())
			}
		})
	})
	t.Run("given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			env := &Env{}
			env.Go(func() { <-env.Context().Done() })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := env.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	})
}
