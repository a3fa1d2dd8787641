package smime

import (
	"context"
	"errors"
	"testing"
	"time"

	"hoplite/internal/memory"
	"hoplite/mail"
)

// TestNoMemory checks that without memory, there is no verdict, and the error
// gives the reason.
func TestNoMemory(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	msg := clear(outer, text, issue(t, root, "ann@example.org", nil).Sign(t, []byte(text), true, now))
	c := &Checker{Trust: pool(root), At: now}
	before := memory.Content.Used()
	if rep := check(t, c, msg); rep.Verdict != "good" || memory.Content.Used() != before {
		t.Fatalf("%s, %d octets were not returned", rep.Verdict, memory.Content.Used()-before)
	}
	all := memory.Content.Share(memory.Total)
	if !all.TryTake(memory.Total - before) {
		t.Fatal("the budget is in use")
	}
	defer all.Close()
	gone := errors.New("client gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
	if rep, err := c.Message(ctx, mail.Bytes(msg), int64(len(msg))); !errors.Is(err, gone) {
		t.Errorf("%+v, %v", rep, err)
	}
	all.Return(0)
	if rep := check(t, c, msg); rep.Verdict != "good" {
		t.Errorf("%s when there is memory again", rep.Verdict)
	}
}
