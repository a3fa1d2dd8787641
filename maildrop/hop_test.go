package maildrop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

// hopStore returns a store with accounts ann and bob; bob's quota is small.
func hopStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Name = "boxes"
	s, err := Open(cfg, Env{Data: t.TempDir(), Log: zerolog.Nop(), Account: func(a mail.Address) (Account, bool) {
		switch a {
		case "ann@example.org":
			return Account{}, true
		case "bob@example.org":
			return Account{Quota: 300}, true
		}
		return Account{}, false
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// send delivers a message and returns the outcomes.
func send(t testing.TB, s *Store, tx *mail.Transaction, text string, rcpts ...mail.Rcpt) []mail.Outcome {
	t.Helper()
	h, err := s.Open(context.Background(), tx)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, r := range rcpts {
		if err := h.Rcpt(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return h.Send(context.Background(), m)
}

const hello = "Return-Path: <old@example.net>\r\nSubject: hello\r\n\r\nA line.\r\n"

func TestDelivery(t *testing.T) {
	for _, tc := range []struct {
		name       string
		cfg        Config
		rcpt       mail.Rcpt
		quarantine string
		dir        string
	}{
		{name: "plain", rcpt: mail.Rcpt{To: "ann@example.org"}, dir: "new"},
		{name: "detail without folder", rcpt: mail.Rcpt{To: "ann@example.org", Folder: "none"}, dir: "new"},
		{name: "detail with folder", rcpt: mail.Rcpt{To: "ann@example.org", Folder: "lists.go"}, dir: ".Lists.Go/new"},
		{name: "detail made", cfg: Config{MakeFolders: true}, rcpt: mail.Rcpt{To: "ann@example.org", Folder: "shop"}, dir: ".shop/new"},
		{name: "detail with dots", cfg: Config{MakeFolders: true}, rcpt: mail.Rcpt{To: "ann@example.org", Folder: "../x"}, dir: "new"},
		{name: "quarantine", rcpt: mail.Rcpt{To: "ann@example.org"}, quarantine: "looks bad", dir: ".Junk/new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := hopStore(t, tc.cfg)
			testFolder(t, s, "Lists/Go")
			tx := mail.NewTransaction(mail.Client{}, "bob@example.net")
			tx.Quarantine = tc.quarantine
			out := send(t, s, tx, hello, tc.rcpt)
			if len(out) != 1 || out[0].Reply.Code != 250 {
				t.Fatalf("outcome %+v", out)
			}
			files, err := os.ReadDir(filepath.Join(boxDir(s), tc.dir))
			if err != nil || len(files) != 1 || files[0].Name() != out[0].RemoteID {
				t.Fatalf("%v in %s, %v", files, tc.dir, err)
			}
			text, err := os.ReadFile(filepath.Join(boxDir(s), tc.dir, files[0].Name()))
			want := "Return-Path: <bob@example.net>\nDelivered-To: ann@example.org\nSubject: hello\n\nA line.\n"
			if err != nil || string(text) != want {
				t.Errorf("stored %q, %v", text, err)
			}
			if !strings.HasSuffix(files[0].Name(), fmt.Sprintf(",S=%d,W=%d", len(want), len(want)+5)) {
				t.Errorf("name %s for %d octets", files[0].Name(), len(want))
			}
		})
	}
}

func TestRcptRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		to   mail.Address
		size int64
		want string
	}{
		{"stranger", Config{}, "eve@example.org", 0, "550 5.1.1"},
		{"full", Config{}, "bob@example.org", 1000, "452 4.2.2"},
		{"full and final", Config{QuotaReply: "reject"}, "bob@example.org", 1000, "552 5.2.2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := hopStore(t, tc.cfg)
			bob, err := s.Box("bob@example.org")
			must(t, err)
			defer bob.Close()
			tx := mail.NewTransaction(mail.Client{}, "")
			tx.Envelope.Size = tc.size
			h, err := s.Open(context.Background(), tx)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			err = h.Rcpt(context.Background(), mail.Rcpt{To: tc.to})
			if got := mail.AsReply(err); got == nil || !strings.HasPrefix(got.String(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(boxDir(s), "..", "eve")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused recipient left a box behind: %v", err)
			}
		})
	}
}

func TestQuotaFillsUp(t *testing.T) {
	s := hopStore(t, Config{})
	tx := mail.NewTransaction(mail.Client{}, "")
	var codes []int
	for range 5 {
		codes = append(codes, send(t, s, tx, hello, mail.Rcpt{To: "bob@example.org"})[0].Reply.Code)
	}
	if want := []int{250, 250, 250, 250, 452}; !slices.Equal(codes, want) {
		t.Errorf("replies %v, want %v", codes, want)
	}
	b, err := s.Box("bob@example.org")
	must(t, err)
	defer b.Close()
	q, err := b.Quota()
	if err != nil || q.Messages != 4 || q.SizeLimit != 300 || q.Size == 0 {
		t.Errorf("quota %+v, %v", q, err)
	}
	f, err := b.Folder("INBOX")
	must(t, err)
	defer f.Close()
	if _, _, err := f.Expunge([]uint32{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if q, err = b.Quota(); err != nil || q.Messages != 0 || q.Size != 0 {
		t.Errorf("quota of an empty box %+v, %v", q, err)
	}
}

func TestWatchersHearOfDeliveries(t *testing.T) {
	s := hopStore(t, Config{})
	f := testFolder(t, s, "INBOX")
	syncNow(t, f)
	changed, stop := f.Watch()
	defer stop()
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				tx := mail.NewTransaction(mail.Client{}, "")
				if out := send(t, s, tx, hello, mail.Rcpt{To: "ann@example.org"}); out[0].Reply.Code != 250 {
					t.Errorf("outcome %+v", out)
				}
			}
		})
	}
	deadline := time.After(30 * time.Second)
	for {
		snap, err := f.Snapshot()
		must(t, err)
		if len(snap.Messages) == writers*each {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d messages after 30 s", len(snap.Messages))
		}
	}
	wg.Wait()
	snap := syncNow(t, f)
	for i, m := range snap.Messages {
		if m.UID != uint32(i+1) || m.New {
			t.Errorf("message %d is %+v", i, m)
		}
	}
}

// RCPT does not create a box; the first message does.
func TestRcptMakesNothing(t *testing.T) {
	s := hopStore(t, Config{})
	h, err := s.Open(context.Background(), mail.NewTransaction(mail.Client{}, ""))
	must(t, err)
	defer h.Close()
	must(t, h.Rcpt(context.Background(), mail.Rcpt{To: "ann@example.org"}))
	if s.Exists("ann@example.org") {
		t.Error("RCPT made a box")
	}
	m, err := mail.NewMessage(mail.Bytes(hello))
	must(t, err)
	if o := h.Send(context.Background(), m)[0]; !o.Reply.Positive() || !s.Exists("ann@example.org") {
		t.Errorf("outcome %+v", o)
	}
}
