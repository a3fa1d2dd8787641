package imap

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/maildrop"
)

func TestBucket(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	tests := []struct {
		name  string
		spend int64
		after time.Duration
		has   bool
		left  int64
	}{
		{"fresh", 0, 0, true, 100},
		{"part", 40, 0, true, 60},
		{"all", 100, 0, false, 0},
		{"more than all", 150, 0, false, -50},
		{"refilled in part", 150, 6 * time.Second, true, 10},
		{"still empty", 150, 4 * time.Second, false, -10},
		{"never above its size", 10, time.Hour, true, 100},
		{"a clock that goes back", 40, -time.Hour, true, 60},
		{"a very long time", 100, 1 << 62, true, 100},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			b := bucket{size: 100, perSecond: 10}
			b.spend(tc.spend, start)
			if has := b.has(start.Add(tc.after)); has != tc.has || b.left != tc.left {
				t.Errorf("%d left, has %v; want %d, %v", b.left, has, tc.left, tc.has)
			}
		})
	}
}

// A budget outlives the connection that used it.
func TestWorksOutliveConnections(t *testing.T) {
	var w Works
	now := time.Unix(1_700_000_000, 0)
	a := w.enter("ann")
	w.enter("bob")
	a.spend(accountBudget+1, now)
	w.leave("bob", now)
	w.leave("ann", now)
	if len(w.accounts) != 1 {
		t.Fatalf("%d accounts are kept", len(w.accounts))
	}
	if w.enter("ann").has(now) {
		t.Error("a new connection has a new budget")
	}
	w.leave("ann", now.Add(time.Hour))
	if len(w.accounts) != 0 {
		t.Error("a budget that is full again is kept")
	}
}

// An account can run two searches in files at the same time; the third waits
// for one of them to finish, or until its own time limit.
func TestSearchesOfOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Works
		one, two, three := work{account: w.enter("ann")}, work{account: w.enter("ann")}, work{account: w.enter("ann")}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done, err := one.search(ctx)
		must(t, err)
		_, err = two.search(ctx)
		must(t, err)
		go func() {
			time.Sleep(time.Second)
			done()
		}()
		start := time.Now()
		if _, err := three.search(ctx); err != nil || time.Since(start) != time.Second {
			t.Errorf("third search: %v after %v", err, time.Since(start))
		}
		if _, err := one.search(ctx); err != errSearches {
			t.Errorf("fourth search: %v", err)
		}
		bob := work{own: bucket{size: 1}, account: w.enter("bob")}
		if bob.check() != nil {
			t.Error("another account is affected")
		} else if _, err := bob.search(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A client that makes the server read much more than it sends receives an error
// on all of the account's connections. Commands that need no file still work.
func TestWorkBudget(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Subject: large\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"+strings.Repeat("a line of text\n", 50_000)+"--b\n\nend\n--b--\n")
	c.ok("SELECT INBOX")
	ann := d.works.accounts["ann@localhost"]
	ann.spend(accountBudget-1000, time.Now())
	ann.stopRefill()
	c.ok("FETCH 1 BODY.PEEK[1]<0.10>")
	other := d.login(t)
	other.ok("SELECT INBOX")
	for _, client := range []*client{c, other} {
		if _, status := client.do("FETCH 1 BODY.PEEK[2]"); !strings.HasPrefix(status, "NO [LIMIT]") {
			t.Errorf("beyond the budget: %s", status)
		}
		client.ok("FETCH 1 (FLAGS ENVELOPE)")
		client.ok("SEARCH SUBJECT large")
	}
	d.box(t, "bob").ok("LIST \"\" *")
}

// Alternating between pieces of several large messages costs little more than
// the octets sent: each message is read once to find offsets in it.
func TestPiecesByTurns(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	const messages = 5
	text := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("a line of text\n", 20_000) +
		"--b\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("c29tZSB0ZXh0", 6)+"\n", 20_000) + "--b--\n"
	for i := range messages {
		c.put("INBOX", "", fmt.Sprintf("Subject: %d\n%s", i, text))
	}
	c.ok("SELECT INBOX")
	ann := d.works.accounts["ann@localhost"]
	ann.stopRefill()
	for off := 0; off < 1_000_000; off += 50_000 {
		for n := range messages {
			c.ok("FETCH %d (BODY.PEEK[1]<%d.100> BINARY.PEEK[2]<%d.100> BODY.PEEK[]<%d.100>)", n+1, off%300_000, off, off)
		}
	}
	// Reading the structure, computing the decoded size, finding line endings
	// and decoding the part take one pass each, and each piece may read a few
	// blocks.
	pieces := int64(3 * messages * 20)
	if read, most := accountBudget-ann.remaining(), int64(5*messages*len(text))+pieces*2*64<<10; read > most || read < int64(len(text)) {
		t.Errorf("%d octets read, want at most %d", read, most)
	}
}

// stopRefill makes what is left of a budget exact.
func (b *bucket) stopRefill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.perSecond = 0
}

func (b *bucket) remaining() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.IsZero() {
		return b.size
	}
	return b.left
}
