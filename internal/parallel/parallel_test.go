package parallel

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

func TestDo(t *testing.T) {
	for _, n := range []int{0, 1, share, share + 1, 1000} {
		calls := make([]atomic.Int32, n)
		if err := Do(n, func(i int) error { calls[i].Add(1); return nil }); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		for i := range calls {
			if c := calls[i].Load(); c != 1 {
				t.Errorf("%d: %d was called %d times", n, i, c)
			}
		}
	}
}

func TestDoFails(t *testing.T) {
	broken := errors.New("broken")
	for _, n := range []int{5, 100_000} {
		var calls atomic.Int32
		err := Do(n, func(i int) error {
			if calls.Add(1); i == 3 {
				return broken
			}
			return nil
		})
		if err != broken {
			t.Errorf("%d: %v", n, err)
		}
		err = Do(n, func(i int) error {
			if i == 3 {
				panic("a bug")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "a bug") {
			t.Errorf("%d: %v", n, err)
		}
	}
}
