package filters

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitedIsAContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		parent, stop := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		defer stop()

		l := within(parent, time.Minute)
		if at, ok := l.Deadline(); !ok || time.Until(at) != time.Minute || l.Value(key{}) != "v" || l.Err() != nil {
			t.Errorf("deadline %v, value %v, error %v", at, l.Value(key{}), l.Err())
		}
		child, end := context.WithCancel(l)
		defer end()
		time.Sleep(time.Minute)
		synctest.Wait()
		if <-l.Done(); !errors.Is(l.Err(), context.DeadlineExceeded) || child.Err() == nil {
			t.Errorf("after the deadline: %v, child %v", l.Err(), child.Err())
		}
		l.cancel()

		l = within(parent, time.Minute)
		l.cancel() // before Done or Err is called
		if <-l.Done(); !errors.Is(l.Err(), context.Canceled) {
			t.Errorf("after the answer: %v", l.Err())
		}

		near, end := context.WithTimeout(parent, time.Second)
		defer end()
		if at, _ := within(near, time.Minute).Deadline(); time.Until(at) != time.Second {
			t.Errorf("deadline %v, the parent's is nearer", at)
		}

		l = within(parent, time.Minute)
		stop()
		if <-l.Done(); !errors.Is(l.Err(), context.Canceled) {
			t.Errorf("after the parent's end: %v", l.Err())
		}
		l.cancel()
	})
}
