package users

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.1")
)

// guess makes n successive attempts with a wrong password, and returns their
// duration and the number of passwords checked.
func guess(th *Throttle, n int, from netip.Addr, account string) (took time.Duration, checked int) {
	start := time.Now()
	for range n {
		if a, err := th.Begin(context.Background(), from, account); err == nil {
			checked++
			a.Failed(context.Background())
		}
	}
	return time.Since(start), checked
}

// login makes one attempt with the correct password.
func login(th *Throttle, from netip.Addr, account string) (took time.Duration, err error) {
	start := time.Now()
	a, err := th.Begin(context.Background(), from, account)
	if err == nil {
		a.Succeeded()
	}
	return time.Since(start), err
}

func throttled(t *testing.T, name string, test func(t *testing.T, th *Throttle)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := NewThrottle()
			test(t, th)
			if len(th.running) != 0 {
				t.Errorf("attempts are still running: %v", th.running)
			}
		})
	})
}

func TestThrottle(t *testing.T) {
	throttled(t, "some are free, then delays grow, then attempts are refused", func(t *testing.T, th *Throttle) {
		if d, n := guess(th, freeByAddr, here, "ann"); d != 0 || n != freeByAddr {
			t.Errorf("%d free attempts took %v", n, d)
		}
		if d, n := guess(th, 20, here, "ann"); d < 5*time.Second || n >= 10 {
			t.Errorf("%d of 20 further attempts checked in %v", n, d)
		}
		if _, err := login(th, here, "bob"); err != ErrThrottled {
			t.Errorf("another account from the same place: %v", err)
		}
		if !th.Refused(here, "bob") || th.Refused(there, "bob") {
			t.Error("Refused is wrong")
		}
		if _, err := login(th, there, "bob"); err != nil {
			t.Errorf("another place: %v", err)
		}
		time.Sleep(3 * time.Hour)
		if d, n := guess(th, freeByAddr, here, "ann"); d != 0 || n != freeByAddr {
			t.Errorf("hours later: %d attempts took %v", n, d)
		}
	})
	throttled(t, "refused attempts count, and are forgiven", func(t *testing.T, th *Throttle) {
		guess(th, 10_000, here, "ann")
		if p, _ := th.fails.Peek(throttleKey{net: clientNet(here)}); p.fails != maxFails {
			t.Errorf("%v failures are counted", p.fails)
		}
		time.Sleep(forgive * 3)
		if _, err := login(th, here, "ann"); err != nil {
			t.Errorf("half an hour later: %v", err)
		}
	})
	throttled(t, "a hundred parallel guesses meet the limits of a hundred in a row", func(t *testing.T, th *Throttle) {
		serial := NewThrottle()
		_, want := guess(serial, 100, here, "ann")
		var checked atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				a, err := th.Begin(context.Background(), here, "ann")
				if err == nil {
					checked.Add(1)
					time.Sleep(10 * time.Millisecond) // the check
					a.Failed(context.Background())
				}
			})
		}
		wg.Wait()
		if got := int(checked.Load()); got > want {
			t.Errorf("%d of 100 parallel guesses checked, %d in a row", got, want)
		}
	})
	throttled(t, "right passwords at the same time are all checked", func(t *testing.T, th *Throttle) {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				a, err := th.Begin(context.Background(), here, string(rune('a'+i)))
				if err != nil {
					t.Errorf("login %d: %v", i, err)
					return
				}
				time.Sleep(5 * time.Millisecond) // the check
				a.Succeeded()
			})
		}
		wg.Wait()
	})
	throttled(t, "many places, one account; its owner is not locked out", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		checked := 0
		for i := range 100 {
			_, n := guess(th, 1, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), "ann")
			checked += n
		}
		if checked > 20 {
			t.Errorf("%d of 100 guesses from a hundred places checked", checked)
		}
		if _, err := login(th, there, "ann"); err != ErrThrottled {
			t.Errorf("a new place: %v", err)
		}
		if d, err := login(th, here, "ann"); err != nil || d != 0 {
			t.Errorf("where she always logs in: %v after %v", err, d)
		}
	})
	throttled(t, "one own account is no way round", func(t *testing.T, th *Throttle) {
		checked := 0
		for range 200 {
			_, n := guess(th, 2, here, "ann")
			checked += n
			login(th, here, "eve")
		}
		if checked > 110 {
			t.Errorf("%d of 400 guesses checked", checked)
		}
	})
	throttled(t, "an IPv6 host has a /64", func(t *testing.T, th *Throttle) {
		host := func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}) }
		for i := range 30 {
			guess(th, 1, host(i), "")
		}
		if _, err := login(th, host(99), ""); err != ErrThrottled {
			t.Errorf("another address of the network: %v", err)
		}
	})
	throttled(t, "a context ends the wait", func(t *testing.T, th *Throttle) {
		guess(th, freeByAddr+1, here, "")
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := th.Begin(ctx, here, ""); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
	})
	throttled(t, "an attempt that was not judged counts for nothing", func(t *testing.T, th *Throttle) {
		for range 100 {
			a, err := th.Begin(context.Background(), here, "ann")
			if err != nil {
				t.Fatal(err)
			}
			a.Cancel()
		}
	})
}

// If an account has logged in from a network before, passwords from that
// network are checked before any delay, and each wrong one is counted.
func TestThrottleAtKnownPlaces(t *testing.T) {
	throttled(t, "a device that guesses for other accounts", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		guess(th, 1000, here, "bob")
		if d, err := login(th, here, "ann"); err != nil || d != 0 {
			t.Errorf("ann behind the same address: %v after %v", err, d)
		}
		if _, err := login(th, here, "carl"); err != ErrThrottled {
			t.Errorf("an account that is not known there: %v", err)
		}
	})
	throttled(t, "a device that guesses for the same account", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					guess(th, 1, here, "ann")
				}
			}
		})
		for range 10 {
			time.Sleep(time.Minute)
			if d, err := login(th, here, "ann"); err != nil || d != 0 {
				t.Errorf("her other device: %v after %v", err, d)
			}
		}
		close(stop)
		wg.Wait()
	})
	throttled(t, "guesses there are slow too", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		if d, n := guess(th, 100, here, "ann"); n != 100 || d < 10*time.Minute {
			t.Errorf("%d guesses in %v", n, d)
		}
	})
	throttled(t, "and parallel ones", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		start := time.Now()
		var checked atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				_, n := guess(th, 1, here, "ann")
				checked.Add(int64(n))
			})
		}
		wg.Wait()
		if n, d := checked.Load(), time.Since(start); n > freeByAccount+30 {
			t.Errorf("%d of 1000 parallel guesses checked in %v", n, d)
		}
		if d, err := login(th, here, "ann"); err != nil || d != 0 {
			t.Errorf("the right password: %v after %v", err, d)
		}
	})
	throttled(t, "for a month", func(t *testing.T, th *Throttle) {
		login(th, here, "ann")
		time.Sleep(goodFor)
		guess(th, 100, here, "bob")
		if _, err := login(th, here, "ann"); err != ErrThrottled {
			t.Errorf("after a month: %v", err)
		}
	})
}

func TestLogFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := NewThrottle()
		logged := 0
		for range 1000 {
			if _, ok := th.LogFailure(here); ok {
				logged++
			}
		}
		if logged != linesAtOnce {
			t.Errorf("%d lines", logged)
		}
		if _, ok := th.LogFailure(there); !ok {
			t.Error("another client is not logged")
		}
		time.Sleep(linesPer)
		if n, ok := th.LogFailure(here); !ok || n != 1000-linesAtOnce {
			t.Errorf("a minute later: %d suppressed, %v", n, ok)
		}
		if n, ok := th.LogFailure(here); !ok || n != 0 {
			t.Errorf("then: %d suppressed, %v", n, ok)
		}
	})
}
