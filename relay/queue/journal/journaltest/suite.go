// Package journaltest is the test suite that every journal.Journal must pass.
package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// Message returns a message of about size octets with its id in the text.
func Message(id string, size int) *mail.Message {
	text := fmt.Appendf(nil, "Subject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\n", id, id)
	line := fmt.Appendf(nil, "%s %s\r\n", id, bytes.Repeat([]byte("x"), 60))
	for len(text) < size {
		text = append(text, line...)
	}
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		panic(err)
	}
	return m
}

// Octets returns m with all edits, as it is sent.
func Octets(m *mail.Message) []byte {
	var b bytes.Buffer
	m.WriteTo(&b)
	return b.Bytes()
}

// Run checks the journal that open returns against the interface's contract.
// Within a test, each call of open must return a journal with the messages that
// the previous one held; it is called again after Close or Fence.
//
// A journal that another process can take over has a Fence() method that
// simulates the takeover; the others are not tested for it.
func Run(t *testing.T, setup func(t *testing.T) (open func() journal.Journal)) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, func() journal.Journal)
	}{
		{"a message comes back whole, after a restart too", wholeMessage},
		{"edits are part of what is kept", edits},
		{"the latest state counts", latestState},
		{"done is final and idempotent", done},
		{"an id is queued once", onceOnly},
		{"a commit is all or nothing", allOrNothing},
		{"a message being read outlives its done mark", readAcrossDone},
		{"many writers", manyWriters},
		{"load is complete or an error", loadStops},
		{"a closed journal takes nothing", closedTakesNothing},
		{"ids that are unsafe as file names are refused", badIDs},
		{"meta and the latest state can be read back", metaAndState},
		{"a fenced journal changes nothing and returns nothing", fenced},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, setup(t)) })
	}
}

var ctx = context.Background()

func put(t *testing.T, j journal.Journal, id string, size int) *mail.Message {
	t.Helper()
	m := Message(id, size)
	if err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Meta: []byte("meta " + id), Message: m}); err != nil {
		t.Fatalf("put %s: %v", id, err)
	}
	return m
}

// load returns all messages as "id meta state".
func load(t *testing.T, j journal.Journal) []string {
	t.Helper()
	var all []string
	err := j.Load(func(e journal.Entry) error {
		all = append(all, fmt.Sprintf("%s %s %s", e.ID, e.Meta, e.State))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func want(t *testing.T, j journal.Journal, lines ...string) {
	t.Helper()
	if got := load(t, j); !slices.Equal(got, lines) {
		t.Fatalf("load gives\n%q, want\n%q", got, lines)
	}
}

func read(t *testing.T, j journal.Journal, id string) []byte {
	t.Helper()
	m, c, err := j.Message(id)
	if err != nil {
		t.Fatalf("message %s: %v", id, err)
	}
	defer c.Close()
	return Octets(m)
}

func reopen(t *testing.T, j journal.Journal, open func() journal.Journal) journal.Journal {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open()
	t.Cleanup(func() { j.Close() })
	return j
}

func start(t *testing.T, open func() journal.Journal) journal.Journal {
	t.Helper()
	j := open()
	t.Cleanup(func() { j.Close() })
	want(t, j)
	return j
}

func wholeMessage(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	sizes := map[string]int{"empty": 0, "small": 1000, "inline": 200 << 10, "large": 1 << 20}
	sent := map[string]*mail.Message{}
	for id, size := range sizes {
		sent[id] = put(t, j, id, size)
	}
	for range 2 {
		for id := range sizes {
			if !bytes.Equal(read(t, j, id), Octets(sent[id])) {
				t.Errorf("%s came back different", id)
			}
			m, c, err := j.Message(id)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.Head, sent[id].Head) {
				t.Errorf("%s: header is %q", id, m.Head)
			}
			c.Close()
		}
		if u := j.Usage(); u.Messages != len(sizes) {
			t.Errorf("usage counts %d messages", u.Messages)
		}
		j = reopen(t, j, open)
		want(t, j, "empty meta empty ", "inline meta inline ", "large meta large ", "small meta small ")
	}
}

func edits(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	m := Message("a", 500)
	var first mail.Field
	for f := range mail.Fields(m.Head) {
		first = f
		break
	}
	m = m.Edited([]byte("Received: by us\r\n"), first.Span)
	m.EightBit, m.LongLine = true, 1234
	if err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: "a", Message: m}); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, j, open)
	load(t, j)
	back, c, err := j.Message("a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !bytes.Equal(Octets(back), Octets(m)) {
		t.Errorf("got %q", Octets(back))
	}
	if !back.EightBit || back.LongLine != 1234 {
		t.Errorf("facts are lost: %v %d", back.EightBit, back.LongLine)
	}
}

func latestState(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	put(t, j, "a", 100)
	m := Message("b", 100)
	err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: "b", Meta: []byte("meta b"), State: []byte("held"), Message: m})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, j, "b"), Octets(m)) {
		t.Error("a message put with a state came back different")
	}
	for i := range 3 {
		if err := j.Commit(ctx, journal.Change{Kind: journal.Set, ID: "a", State: fmt.Appendf(nil, "try %d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	j = reopen(t, j, open)
	want(t, j, "a meta a try 2", "b meta b held")
	if err := j.Commit(ctx, journal.Change{Kind: journal.Set, ID: "b", State: []byte("free")}); err != nil {
		t.Fatal(err)
	}
	want(t, reopen(t, j, open), "a meta a try 2", "b meta b free")
}

func done(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	for _, id := range []string{"a", "b", "c", "big"} {
		put(t, j, id, 100)
	}
	put(t, j, "huge", 1<<20)
	j.Done("a", "a", "huge", "nobody")
	j.Done("a")
	if err := j.Commit(ctx, journal.Change{Kind: journal.Done, ID: "c"}, journal.Change{Kind: journal.Done, ID: "nobody"}); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, j, open)
	want(t, j, "b meta b ", "big meta big ")
	for _, id := range []string{"a", "c", "huge"} {
		if _, _, err := j.Message(id); !errors.Is(err, journal.ErrUnknown) {
			t.Errorf("%s: %v", id, err)
		}
		if err := j.Commit(ctx, journal.Change{Kind: journal.Set, ID: id}); !errors.Is(err, journal.ErrUnknown) {
			t.Errorf("set %s: %v", id, err)
		}
	}
}

func onceOnly(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	for _, size := range []int{100, 1 << 20} {
		id := fmt.Sprint("s", size)
		m := put(t, j, id, size)
		err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Message: Message("other", size)})
		if !errors.Is(err, journal.ErrExists) {
			t.Fatalf("second put: %v", err)
		}
		if !bytes.Equal(read(t, j, id), Octets(m)) {
			t.Error("the second put changed the first")
		}
	}
}

func allOrNothing(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	put(t, j, "a", 100)
	err := j.Commit(ctx,
		journal.Change{Kind: journal.Put, ID: "b", Message: Message("b", 100)},
		journal.Change{Kind: journal.Set, ID: "nobody"})
	if !errors.Is(err, journal.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	want(t, reopen(t, j, open), "a meta a ")
}

func readAcrossDone(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	for _, size := range []int{1000, 1 << 20} {
		id := fmt.Sprint("s", size)
		sent := put(t, j, id, size)
		m, c, err := j.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Commit(ctx, journal.Change{Kind: journal.Done, ID: id}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(Octets(m), Octets(sent)) {
			t.Errorf("%d octets: changed under the reader", size)
		}
		c.Close()
	}
}

func manyWriters(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	const writers, each = 16, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("w%02d-%02d", w, i)
				err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Message: Message(id, 200+i*100)})
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					j.Done(id)
				}
			}
		})
	}
	wg.Wait()
	j = reopen(t, j, open)
	all := load(t, j)
	if len(all) != writers*each/2 {
		t.Fatalf("%d messages, want %d", len(all), writers*each/2)
	}
	for w := range writers {
		for i := 1; i < each; i += 2 {
			id := fmt.Sprintf("w%02d-%02d", w, i)
			if !bytes.Equal(read(t, j, id), Octets(Message(id, 200+i*100))) {
				t.Errorf("%s came back different", id)
			}
		}
	}
}

func loadStops(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	put(t, j, "a", 10)
	put(t, j, "b", 10)
	j = reopen(t, j, open)
	stop := errors.New("stop")
	n := 0
	if err := j.Load(func(journal.Entry) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d entries, error %v", n, err)
	}
}

func closedTakesNothing(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	j.Close()
	if err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: "a", Message: Message("a", 1<<20)}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithTimeout(ctx, time.Hour)
	cancel()
	if err := j.Commit(gone, journal.Change{Kind: journal.Done, ID: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func badIDs(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	for _, id := range []string{"", "../x", "a/b", ".hidden", "A", "a\x00", "ü", string(bytes.Repeat([]byte("a"), 65))} {
		if err := j.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Message: Message("a", 10)}); err == nil {
			t.Errorf("%q was taken", id)
		}
	}
}

func metaAndState(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	check := func(id, meta, state string) {
		t.Helper()
		m, s, err := j.Meta(id)
		if err != nil || string(m) != meta || string(s) != state {
			t.Errorf("%s has %q and %q, %v; want %q and %q", id, m, s, err, meta, state)
		}
	}
	put(t, j, "a", 100)
	put(t, j, "huge", 1<<20)
	held := journal.Change{Kind: journal.Put, ID: "held", Meta: []byte("m"), State: []byte("on hold"), Message: Message("held", 100)}
	if err := j.Commit(ctx, held); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		check("a", "meta a", "")
		check("held", "m", "on hold")
		j = reopen(t, j, open)
		load(t, j)
	}
	for _, id := range []string{"a", "held", "huge"} {
		if err := j.Commit(ctx, journal.Change{Kind: journal.Set, ID: id, State: []byte("state of " + id)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		check("a", "meta a", "state of a")
		check("held", "m", "state of held")
		check("huge", "meta huge", "state of huge")
		j = reopen(t, j, open)
		load(t, j)
	}
	if err := j.Commit(ctx, journal.Change{Kind: journal.Done, ID: "a"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "nobody"} {
		if _, _, err := j.Meta(id); !errors.Is(err, journal.ErrUnknown) {
			t.Errorf("meta of %s: %v", id, err)
		}
	}
}

func fenced(t *testing.T, open func() journal.Journal) {
	j := start(t, open)
	f, ok := j.(interface{ Fence() })
	if !ok {
		t.Skip("no other process can take this journal over")
	}
	put(t, j, "a", 100)
	put(t, j, "b", 100)
	f.Fence()
	for name, change := range map[string]journal.Change{
		"put":  {Kind: journal.Put, ID: "c", Message: Message("c", 100)},
		"set":  {Kind: journal.Set, ID: "a", State: []byte("changed")},
		"done": {Kind: journal.Done, ID: "a"},
	} {
		if err := j.Commit(ctx, change); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	j.Done("b")
	if _, _, err := j.Message("a"); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("message: %v", err)
	}
	if _, _, err := j.Meta("a"); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("meta: %v", err)
	}
	if err := j.Load(func(journal.Entry) error { return nil }); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("load: %v", err)
	}
	j.Close()
	owner := open()
	t.Cleanup(func() { owner.Close() })
	want(t, owner, "a meta a ", "b meta b ")
}
