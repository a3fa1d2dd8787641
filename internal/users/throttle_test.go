package users

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	ctx := context.Background()
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	// fail makes n tries with a wrong password and returns how long they took
	// and how many were heard.
	fail := func(th *Throttle, n int, from netip.Addr, account string) (time.Duration, int) {
		start, heard := time.Now(), 0
		for range n {
			if th.Wait(ctx, from, account) == nil {
				heard++
				th.Failed(from, account)
			}
		}
		return time.Since(start), heard
	}
	t.Run("some are free, then it grows, then nobody listens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			if d, n := fail(th, freeByAddr, here, "ann"); d != 0 || n != freeByAddr {
				t.Errorf("%d free tries took %v", n, d)
			}
			d, n := fail(th, 20, here, "ann")
			if d < 5*time.Second || n >= 10 {
				t.Errorf("%d of 20 further tries heard in %v", n, d)
			}
			if err := th.Wait(ctx, here, "bob"); err != ErrThrottled {
				t.Errorf("another account from the same place: %v", err)
			}
			if err := th.Wait(ctx, there, "bob"); err != nil {
				t.Errorf("another place: %v", err)
			}
			time.Sleep(3 * time.Hour)
			if d, n := fail(th, freeByAddr, here, "ann"); d != 0 || n != freeByAddr {
				t.Errorf("hours later: %d tries took %v", n, d)
			}
		})
	})
	t.Run("many places, one account; its owner is not locked out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			th.Succeeded(here, "ann")
			heard := 0
			for i := range 100 {
				_, n := fail(th, 1, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), "ann")
				heard += n
			}
			if heard > 20 {
				t.Errorf("%d of 100 guesses from a hundred places heard", heard)
			}
			if err := th.Wait(ctx, there, "ann"); err != ErrThrottled {
				t.Errorf("a new place: %v", err)
			}
			start := time.Now()
			if err := th.Wait(ctx, here, "ann"); err != nil || time.Since(start) != 0 {
				t.Errorf("where she always logs in: %v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("one own account is no way round", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			heard := 0
			for range 200 {
				_, n := fail(th, 2, here, "ann")
				heard += n
				if th.Wait(ctx, here, "eve") == nil {
					th.Succeeded(here, "eve")
				}
			}
			if heard > 100 {
				t.Errorf("%d of 400 guesses heard", heard)
			}
		})
	})
	t.Run("an IPv6 host has a /64, tries at once queue up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			for i := range freeByAddr + 1 {
				th.Failed(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}), "")
			}
			start := time.Now()
			done := make(chan time.Duration, 3)
			for i := range 3 {
				go func() {
					th.Wait(ctx, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(100 + i)}), "")
					done <- time.Since(start)
				}()
			}
			seen := map[time.Duration]bool{<-done: true, <-done: true, <-done: true}
			if len(seen) != 3 {
				t.Errorf("three tries at once went in at %v", seen)
			}
		})
	})
	t.Run("a context ends the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			for range freeByAddr + 3 {
				th.Failed(here, "")
			}
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := th.Wait(ctx, here, ""); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		})
	})
}
