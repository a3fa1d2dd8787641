package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// If another owner has taken over the journal, that owner delivers the
// messages, and this queue must stop as soon as it learns of it.
func TestFenced(t *testing.T) {
	ann := func() *mail.Transaction { return mail.NewTransaction(mail.Client{}, "ann@example.org") }
	for _, tc := range []struct {
		name string
		find func(t *testing.T, h *testQueue) // triggers an operation that finds the journal fenced
	}{
		{"when mail arrives", func(t *testing.T, h *testQueue) {
			out := h.offer(t, "out", ann(), to("new@example.net")...)
			if r := out[0].Reply; r.Code != 451 || r.Enhanced != "4.3.0" {
				t.Errorf("replied %v", &r)
			}
		}},
		{"when an order is given", func(t *testing.T, h *testQueue) {
			if _, err := h.Execute(t.Context(), Order{Do: "retry"}, nil); !errors.Is(err, journal.ErrFenced) {
				t.Errorf("order: %v", err)
			}
		}},
		{"when a message is due", func(t *testing.T, h *testQueue) { pass(6 * time.Minute) }},
		{"when a report is owed", func(t *testing.T, h *testQueue) {
			tx := ann()
			tx.Envelope.Rcpts = to("b@example.net")
			m, _ := mail.NewMessage(mail.Bytes("Subject: hello\r\n\r\nbody\r\n"))
			_, err := h.Bounce(t.Context(), tx, m, []mail.Outcome{{Rcpt: "b@example.net", Reply: *refuse(552, "5.2.2", "box is full")}})
			if !errors.Is(err, journal.ErrFenced) {
				t.Errorf("bounce: %v", err)
			}
		}},
	} {
		bubble(t, tc.name, func(t *testing.T) {
			h := newTestQueue(t)
			later := func(mail.Rcpt) *mail.Reply { return refuse(451, "4.7.1", "later") }
			h.out.change(func() { h.out.send = later })
			for range 20 {
				h.accept(t, "out", to("a@example.net")...)
			}
			synctest.Wait()
			h.out.change(func() { h.out.send = nil }) // accepts everything from now on
			before, _ := h.out.counts()
			h.memory.Fence()
			tc.find(t, h)
			synctest.Wait()
			if err := h.wait(); !errors.Is(err, journal.ErrFenced) {
				t.Errorf("Run returned %v", err)
			}
			pass(6 * 24 * time.Hour)
			if after, _ := h.out.counts(); after != before {
				t.Errorf("%d transactions after it was taken over", after-before)
			}
			if n := len(h.back.deliveries()); n > 0 {
				t.Errorf("%d reports", n)
			}
			out := h.offer(t, "out", ann(), to("new@example.net")...)
			if r := out[0].Reply; r.Code != 451 {
				t.Errorf("accepts mail: %v", &r)
			}
			if n := h.memory.Usage().Messages; n != 20 {
				t.Errorf("the new owner finds %d messages of 20", n)
			}
		})
	}
	bubble(t, "while attempts are under way: they are cancelled, and their outcome changes nothing", func(t *testing.T) {
		h := newTestQueue(t)
		cancelled := 0
		h.Add(Upstream{Name: "slow", Hop: hopFunc(func(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
			select {
			case <-ctx.Done():
				cancelled++
				return nil, ctx.Err()
			case <-time.After(time.Hour):
				return nil, errors.New("was not cancelled")
			}
		})})
		h.accept(t, "slow", to("a@example.net")...)
		synctest.Wait()
		h.memory.Fence()
		h.offer(t, "out", mail.NewTransaction(mail.Client{}, "ann@example.org"), to("new@example.net")...)
		synctest.Wait()
		if err := h.wait(); !errors.Is(err, journal.ErrFenced) || cancelled != 1 {
			t.Errorf("Run returned %v, %d attempts cancelled", err, cancelled)
		}
		pass(24 * time.Hour)
		if n := h.memory.Usage().Messages; n != 1 || len(h.back.deliveries()) > 0 {
			t.Errorf("%d messages, reports %+v", n, h.back.deliveries())
		}
	})
	bubble(t, "before it runs", func(t *testing.T) {
		h := newTestQueue(t)
		h.stop()
		q, err := Open(Options{Journal: h.memory.Reopen(), Log: h.Queue.log})
		if err != nil {
			t.Fatal(err)
		}
		q.stopIfFenced(journal.ErrFenced)
		if err := q.Run(t.Context(), 0); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("Run returned %v", err)
		}
	})
	// Delivery continues after a commit that failed for another reason.
	bubble(t, "a commit that fails stops nothing", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.change(func() { h.out.send = func(mail.Rcpt) *mail.Reply { return refuse(451, "", "later") } })
		h.accept(t, "out", to("a@example.net")...)
		synctest.Wait()
		h.memory.Fail(errors.New("disk full"))
		pass(10 * time.Minute)
		h.out.change(func() { h.out.send = nil })
		pass(time.Hour)
		if got := h.out.to(); len(got) != 1 {
			t.Errorf("delivered to %q", got)
		}
	})
}

type hopFunc func(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error)

func (f hopFunc) Open(ctx context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return f(ctx, tx)
}

// If a report about some recipients could not be stored, the first version
// dropped the message with all its recipients.
func TestUnstoredReportLosesNobody(t *testing.T) {
	bubble(t, "one destination delivered, another waits, the disk is full", func(t *testing.T) {
		h := newTestQueue(t)
		h.out.change(func() {
			h.out.send = func(r mail.Rcpt) *mail.Reply {
				if r.To.Domain() == "later.example" {
					return refuse(451, "4.7.1", "later")
				}
				return nil
			}
		})
		h.out.slow = time.Second // the disk fills up in the meantime
		h.accept(t, "mx", mail.Rcpt{To: "a@now.example", Notify: mail.NotifySuccess}, mail.Rcpt{To: "b@later.example"})
		h.memory.Fail(errors.New("disk full"))
		pass(time.Minute)
		h.memory.Fail(nil)
		h.out.change(func() { h.out.send = nil })
		pass(time.Hour)
		if got := h.out.to(); len(got) != 2 {
			t.Errorf("delivered to %q", got)
		}
		h.empty(t)
	})
}
