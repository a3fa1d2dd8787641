package memory

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestShare(t *testing.T) {
	ctx := context.Background()
	b := New(100)
	s, other := b.Share(60), b.Share(0)
	for _, step := range []struct {
		name string
		do   func() error
		want error
		used int64
	}{
		{"within the share", func() error { return s.Take(ctx, 50) }, nil, 50},
		{"beyond the share", func() error { return s.Take(ctx, 11) }, ErrFull, 50},
		{"the rest of the share", func() error { return s.Take(ctx, 10) }, nil, 60},
		{"another share", func() error { return other.Take(ctx, 40) }, nil, 100},
		{"beyond the budget", func() error { return other.Take(ctx, 1) }, ErrFull, 100},
		{"part returned", func() error { s.Return(50); return nil }, nil, 90},
		{"less than is held", func() error { s.Return(55); return nil }, nil, 90},
		{"a negative amount", func() error { return s.Take(ctx, -1) }, ErrFull, 90},
		{"closed", func() error { s.Close(); other.Close(); return nil }, nil, 0},
		{"closed twice", func() error { s.Close(); return nil }, nil, 0},
	} {
		if err := step.do(); !errors.Is(err, step.want) || b.Used() != step.used {
			t.Errorf("%s: %v, %d in use; want %v, %d", step.name, err, b.Used(), step.want, step.used)
		}
	}
	if s.Left() != 60 || other.Left() != 100 {
		t.Errorf("%d and %d left", s.Left(), other.Left())
	}
}

func TestNilShare(t *testing.T) {
	var s *Share
	if err := s.Take(context.Background(), 1<<40); err != nil {
		t.Error(err)
	}
	s.Return(0)
	s.Close()
	if s.Held() != 0 || s.Left() != PerReader {
		t.Errorf("%d held, %d left", s.Held(), s.Left())
	}
}

// An empty share waits until memory is returned; one that holds memory does not.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := New(100)
		first, second := b.Share(0), b.Share(0)
		if err := first.Take(ctx, 80); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(3 * time.Second)
			first.Return(50)
			time.Sleep(3 * time.Second)
			first.Close()
		}()
		start := time.Now()
		if err := second.Take(ctx, 90); err != nil || time.Since(start) != 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		third := b.Share(0)
		if err := third.Take(ctx, 20); err != ErrFull || time.Since(start) != 6*time.Second+maxWait {
			t.Errorf("%v after %v, want %v after %v", err, time.Since(start), ErrFull, 6*time.Second+maxWait)
		}
		cause := errors.New("stopped")
		stopped, cancel := context.WithCancelCause(ctx)
		cancel(cause)
		if err := third.Take(stopped, 20); err != cause {
			t.Error(err)
		}
		if third.TryTake(20) || !third.TryTake(10) {
			t.Error("TryTake must take what is available, and not wait")
		}
		if err := second.Take(ctx, 5); err != ErrFull {
			t.Error(err)
		}
	})
}

func TestConcurrentShares(t *testing.T) {
	b := New(1000)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				s := b.Share(0)
				if err := s.Take(context.Background(), 300); err != nil {
					t.Error(err)
				}
				s.TryTake(300)
				if used := b.Used(); used > 1000 {
					t.Errorf("%d in use", used)
				}
				s.Close()
			}
		})
	}
	wait.Wait()
	if b.Used() != 0 {
		t.Errorf("%d in use at the end", b.Used())
	}
}

func TestSpend(t *testing.T) {
	s := New(100).Share(50)
	for range work {
		if err := s.Spend(50); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int64{1, -1} {
		if err := s.Spend(n); !errors.Is(err, ErrSpent) {
			t.Errorf("%d more: %v", n, err)
		}
	}
	s = New(100).Share(50)
	if s.Spend(work*50+1) == nil || s.Spend(1) == nil {
		t.Error("more was permitted after an error")
	}
	if s = nil; s.Spend(1<<40) != nil {
		t.Error("a nil share refused")
	}
}
