// Package hoptest is the test suite that every hop must pass. It covers all the
// behaviour on which relay and queue rely.
package hoptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"hoplite/mail"
)

// Hop is a hop under test and its expected behaviour.
type Hop struct {
	mail.Hop
	// Takes returns the n-th address to which the hop delivers.
	Takes func(n int) mail.Address
	// Refuses is an address refused by Rcpt. It is empty if the hop accepts any
	// address.
	Refuses mail.Address
}

const text = "Subject: hello\r\nFrom: ann@example.org\r\n\r\n.a line that begins with a dot\r\nlast line\r\n"

// Run checks that the hop returned by open fulfils the contract of mail.Hop.
func Run(t *testing.T, open func(t *testing.T) Hop) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Hop)
	}{
		{"one recipient", func(t *testing.T, h Hop) { delivers(t, h, 1) }},
		{"several recipients have an outcome each, in order", func(t *testing.T, h Hop) { delivers(t, h, 5) }},
		{"a refused recipient has no outcome", refused},
		{"nothing is sent without Send", nothing},
		{"the message is not changed", unchanged},
		{"many concurrent messages", many},
		{"no panic after the context has ended", cancelled},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open(t)) })
	}
}

func transaction() *mail.Transaction {
	tx := mail.NewTransaction(mail.Client{Listener: "test", Protocol: "smtp"}, "ann@example.org")
	tx.Hostname = "mail.example.org"
	return tx
}

func message(t *testing.T) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return m.Edited([]byte("Received: by mail.example.org\r\n"))
}

func rcpt(a mail.Address) mail.Rcpt { return mail.Rcpt{To: a, Orig: a} }

// offer opens a handoff and passes the first n recipients to it.
func offer(t *testing.T, h Hop, n int) (mail.Handoff, *mail.Transaction) {
	t.Helper()
	tx := transaction()
	for i := range n {
		tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, rcpt(h.Takes(i)))
	}
	hand, err := h.Open(t.Context(), tx)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for _, r := range tx.Envelope.Rcpts {
		if err := hand.Rcpt(t.Context(), r); err != nil {
			t.Fatalf("rcpt %s: %v", r.To, err)
		}
	}
	return hand, tx
}

func check(t *testing.T, tx *mail.Transaction, out []mail.Outcome) {
	t.Helper()
	if len(out) != len(tx.Envelope.Rcpts) {
		t.Fatalf("%d outcomes for %d recipients", len(out), len(tx.Envelope.Rcpts))
	}
	for i := range out {
		if out[i].Rcpt != tx.Envelope.Rcpts[i].To {
			t.Errorf("outcome %d is about %s, not %s", i, out[i].Rcpt, tx.Envelope.Rcpts[i].To)
		}
		if !out[i].Reply.Positive() || out[i].At.IsZero() {
			t.Errorf("outcome %d: %s at %v", i, out[i].Reply.String(), out[i].At)
		}
	}
}

func delivers(t *testing.T, h Hop, n int) {
	hand, tx := offer(t, h, n)
	check(t, tx, hand.Send(t.Context(), message(t)))
	if err := hand.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func refused(t *testing.T, h Hop) {
	if h.Refuses == "" {
		t.Skip("this hop accepts any address")
	}
	hand, tx := offer(t, h, 1)
	defer hand.Close()
	err := hand.Rcpt(t.Context(), rcpt(h.Refuses))
	if err == nil || mail.AsReply(err).Positive() {
		t.Fatalf("%s is accepted: %v", h.Refuses, err)
	}
	check(t, tx, hand.Send(t.Context(), message(t)))
}

func nothing(t *testing.T, h Hop) {
	hand, _ := offer(t, h, 1)
	if err := hand.Close(); err != nil {
		t.Errorf("close without send: %v", err)
	}
	delivers(t, h, 1) // the previous handoff has no effect on this one
}

func unchanged(t *testing.T, h Hop) {
	m := message(t)
	var before, after bytes.Buffer
	m.WriteTo(&before)
	hand, tx := offer(t, h, 2)
	defer hand.Close()
	check(t, tx, hand.Send(t.Context(), m))
	if m.WriteTo(&after); !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Errorf("the message is %q after Send", after.String())
	}
	if rest, err := io.ReadAll(m.Body()); err != nil || !bytes.HasSuffix([]byte(text), rest) {
		t.Errorf("its body reads %q, %v", rest, err)
	}
}

func many(t *testing.T, h Hop) {
	var wg sync.WaitGroup
	failed := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			tx := transaction()
			hand, err := h.Open(t.Context(), tx)
			if err != nil {
				failed <- err.Error()
				return
			}
			defer hand.Close()
			if err := hand.Rcpt(t.Context(), rcpt(h.Takes(i%4))); err != nil {
				failed <- err.Error()
				return
			}
			m, err := mail.NewMessage(mail.Bytes(text))
			if err != nil {
				failed <- err.Error()
				return
			}
			if out := hand.Send(t.Context(), m); len(out) != 1 || !out[0].Reply.Positive() {
				failed <- fmt.Sprintf("%+v", out)
			}
		})
	}
	wg.Wait()
	close(failed)
	for f := range failed {
		t.Error(f)
	}
}

// When the context is cancelled, a hop may or may not have accepted the
// message, but each recipient must have an outcome, and a refusal must be
// temporary.
func cancelled(t *testing.T, h Hop) {
	hand, tx := offer(t, h, 2)
	defer hand.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := hand.Send(ctx, message(t))
	if len(out) != len(tx.Envelope.Rcpts) {
		t.Fatalf("%d outcomes for %d recipients", len(out), len(tx.Envelope.Rcpts))
	}
	for _, o := range out {
		if o.Reply.Permanent() {
			t.Errorf("refused permanently: %s", o.Reply.String())
		}
	}
}
