package index

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"hoplite/internal/handles"
	"hoplite/maildrop/maildir"
)

// stateOf opens the log at p and returns its state.
func stateOf(t *testing.T, p Place) *State {
	t.Helper()
	l, s, err := OpenLog(p)
	must(t, err)
	must(t, l.Close())
	return s
}

// The descriptor of an unused log may be closed at any time.
func TestLogWithoutDescriptor(t *testing.T) {
	p := in(openDir(t))
	l, _, err := OpenLog(p)
	must(t, err)
	for i := range uint32(20) {
		p.Pool.Relieve()
		if p.Pool.Open() != 0 {
			t.Fatal("the log keeps its descriptor")
		}
		must(t, l.Write(Batch{Head: Head{Validity: 7}, Added: []*Message{{UID: i + 1, File: "x"}}}))
		if i == 10 {
			must(t, l.Rewrite(&State{Head: Head{Validity: 7}, Messages: []*Message{{UID: 1, File: "kept"}}}))
		}
	}
	p.Pool.Relieve()
	must(t, l.Close())
	s := stateOf(t, p)
	if len(s.Messages) != 10 || s.Messages[0].File != "kept" || s.Doubtful {
		t.Errorf("%d messages, the first is %+v, doubtful %v", len(s.Messages), s.Messages[0], s.Doubtful)
	}
}

// A log that another process has written or replaced in the meantime is not
// modified.
func TestLogChangedByAnotherProcess(t *testing.T) {
	changes := map[string]func(root *os.Root) error{
		"longer": func(root *os.Root) error {
			f, err := root.OpenFile("log", os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("x")
			return errors.Join(err, f.Close())
		},
		"shorter":  func(root *os.Root) error { return root.WriteFile("log", []byte("x"), 0o600) },
		"replaced": func(root *os.Root) error { return errors.Join(root.Rename("log", "old"), copyOf(root, "old", "log")) },
		"removed":  func(root *os.Root) error { return root.Remove("log") },
	}
	for name, change := range changes {
		root := openDir(t)
		p := in(root)
		l, _, err := OpenLog(p)
		must(t, err)
		must(t, l.Write(Batch{Head: Head{Validity: 7}, Added: sample}))
		p.Pool.Relieve()
		must(t, change(root))
		if err := l.Write(Batch{Head: Head{Validity: 8}}); !errors.Is(err, errChanged) {
			t.Errorf("%s: write: %v", name, err)
		}
		if err := l.Rewrite(&State{}); !errors.Is(err, errChanged) {
			t.Errorf("%s: rewrite: %v", name, err)
		}
		if err := l.Close(); !errors.Is(err, errChanged) {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func copyOf(root *os.Root, from, to string) error {
	text, err := root.ReadFile(from)
	return errors.Join(err, root.WriteFile(to, text, 0o600))
}

// If a log was not closed, the last changes may be missing.
func TestDoubtfulLog(t *testing.T) {
	root := openDir(t)
	l, _, err := OpenLog(in(root))
	must(t, err)
	must(t, l.Write(Batch{Head: Head{Validity: 7}, Added: sample}))
	must(t, copyOf(root, "log", "crashed"))
	must(t, l.Close())
	if s := stateOf(t, in(root)); s.Doubtful {
		t.Error("a closed log is doubtful")
	}
	must(t, copyOf(root, "crashed", "log"))
	if s := stateOf(t, in(root)); !s.Doubtful || len(s.Messages) != len(sample) {
		t.Errorf("an open log: doubtful %v, %d messages", s.Doubtful, len(s.Messages))
	}
}

// Records may be in any order; the state contains each message once, sorted by
// UID.
func TestApply(t *testing.T) {
	msg := func(uid uint32, file string) func(*encoder) {
		return func(e *encoder) { e.message(&Message{UID: uid, File: file, Size: 1, Wire: 2}) }
	}
	flag := func(uid uint32, flags maildir.Flags, info string) func(*encoder) {
		return func(e *encoder) { e.flags(&Message{UID: uid, Flags: flags, File: "x" + info}) }
	}
	gone := func(uid uint32) func(*encoder) {
		return func(e *encoder) { e.byte(kindGone); e.uint(uint64(uid)); e.uint(9) }
	}
	tests := []struct {
		name    string
		records []func(*encoder)
		want    string
		gone    int
		bad     bool
	}{
		{"one", []func(*encoder){msg(3, "a")}, "3 a; ", 0, false},
		{"out of order", []func(*encoder){msg(3, "c"), msg(1, "a"), msg(2, "b")}, "1 a; 2 b; 3 c; ", 0, false},
		{"replaced", []func(*encoder){msg(1, "a"), msg(1, "b")}, "1 b; ", 0, false},
		{"flags", []func(*encoder){msg(1, "a:2,"), flag(1, maildir.Seen, ":2,S")}, "1 a:2,S; ", 0, false},
		{"flags of none", []func(*encoder){flag(1, maildir.Seen, ":2,S")}, "", 0, false},
		{"expunged", []func(*encoder){msg(1, "a"), msg(2, "b"), gone(1)}, "2 b; ", 1, false},
		{"expunged unknown", []func(*encoder){gone(7)}, "", 1, false},
		{"expunged and back", []func(*encoder){msg(1, "a"), gone(1), msg(1, "b")}, "1 b; ", 1, false},
		{"unknown kind", []func(*encoder){msg(1, "a"), func(e *encoder) { e.byte('?') }}, "1 a; ", 0, true},
		{"cut", []func(*encoder){func(e *encoder) { e.byte(kindMessage); e.byte(1) }}, "", 0, true},
		{"long text", []func(*encoder){func(e *encoder) { e.byte(kindKeywords); e.uint(1); e.uint(1 << 60) }}, "", 0, true},
		{"many texts", []func(*encoder){func(e *encoder) { e.byte(kindKeywords); e.uint(1 << 60) }}, "", 0, true},
		{"large UID", []func(*encoder){func(e *encoder) { e.byte(kindGone); e.uint(1 << 40); e.uint(1) }}, "", 1, true},
	}
	for _, tc := range tests {
		var e encoder
		for _, r := range tc.records {
			r(&e)
		}
		s := &State{}
		err := s.apply(string(e.b))
		if (err != nil) != tc.bad {
			t.Errorf("%s: %v", tc.name, err)
		}
		s.finish()
		got := ""
		for _, m := range s.Messages {
			if m.File != "" {
				got += fmt.Sprintf("%d %s; ", m.UID, m.File)
			}
		}
		if !tc.bad && (got != tc.want || len(s.Gone) != tc.gone) {
			t.Errorf("%s: %q, %d gone; want %q, %d", tc.name, got, len(s.Gone), tc.want, tc.gone)
		}
	}
}

// A frame is read only if it is complete and unmodified.
func TestFrames(t *testing.T) {
	frame := appendFrame(nil, []byte("pay"), []byte("load"))
	payload, rest, err := cutFrame(append(append([]byte(nil), frame...), "next"...))
	if err != nil || string(payload) != "payload" || string(rest) != "next" {
		t.Errorf("%q, %q, %v", payload, rest, err)
	}
	for i := range frame {
		if _, _, err := cutFrame(frame[:i]); err == nil {
			t.Errorf("cut at %d: accepted", i)
		}
		damaged := append([]byte(nil), frame...)
		damaged[i] ^= 0x40
		if _, _, err := cutFrame(damaged); err == nil {
			t.Errorf("damaged at %d: accepted", i)
		}
	}
}

// The cache has its file open only while reading and flushing.
func TestCacheWithoutDescriptor(t *testing.T) {
	root := openDir(t)
	p := Place{Root: root, Pool: handles.NewPool(1, 1), Owner: &handles.Owner{}}
	all := func(uint32) bool { return true }
	c, err := OpenCache(p, 7, all)
	must(t, err)
	must(t, c.Put(1, []byte("one")))
	if st, err := root.Stat("cache"); err != nil || st.Size() != int64(len(cacheHead(7))) {
		t.Errorf("before flush: %v, %v", st.Size(), err)
	}
	must(t, c.Flush())
	must(t, c.Put(2, []byte("two")))
	must(t, c.Close())
	if c, err = OpenCache(p, 7, all); err != nil || string(c.Get(1)) != "one" || string(c.Get(2)) != "two" {
		t.Errorf("%q, %q, %v", c.Get(1), c.Get(2), err)
	}
	must(t, root.Remove("cache"))
	must(t, c.Put(3, []byte("three")))
	if err := c.Flush(); err == nil {
		t.Error("a cache whose file is gone was flushed")
	}
	if string(c.Get(3)) != "three" {
		t.Error("an item that could not be written is lost in memory")
	}
}
