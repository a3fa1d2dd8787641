package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestJoin(t *testing.T) {
	for _, c := range []struct {
		local, domain, want string
		err                 error
	}{
		{"ann", "Example.ORG.", "ann@example.org", nil},
		{"a b", "example.org", `"a b"@example.org`, nil},
		{`a"b`, "example.org", `"a\"b"@example.org`, nil},
		{"a@b", "example.org", `"a@b"@example.org`, nil},
		{"a.b", "example.org", "a.b@example.org", nil},
		{".a", "example.org", `".a"@example.org`, nil},
		{"ann", "b\u00fccher.example", "ann@b\u00fccher.example", nil},
		{"ann", "[192.0.2.1]", "ann@[192.0.2.1]", nil},
		{"", "example.org", "", ErrAddressSyntax},
		{"a\nb", "example.org", "", ErrAddressSyntax},
		{strings.Repeat("a", maxLocal+1), "example.org", "", ErrAddressLong},
		{"ann", "", "", ErrDomain},
		{"ann", "a..b", "", ErrDomain},
		{"ann", "-a.example", "", ErrDomain},
	} {
		got, err := Join(c.local, c.domain)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q and %q: %q, %v, want %q, %v", c.local, c.domain, got, err, c.want, c.err)
		}
		if err == nil && got.String() != c.want {
			t.Errorf("%q as text: %q", got, got.String())
		}
	}
}

func TestLiteral(t *testing.T) {
	for in, want := range map[Address]string{
		"ann@[192.0.2.1]": "192.0.2.1", "ann@[ipv6:2001:db8::1]": "2001:db8::1", "ann@example.org": "", "ann@[x]": "", "": "",
	} {
		ip, ok := in.Literal()
		if ok != (want != "") || ok && ip.String() != want {
			t.Errorf("%s: %v, %v", in, ip, ok)
		}
	}
}

// The forms of an address: for display, comparison and account names.
func TestForms(t *testing.T) {
	for _, c := range []struct{ in, key, fold, ascii string }{
		{"ann@example.org", "ann@example.org", "ann@example.org", "example.org"},
		{"Ann@Example.ORG.", "ann@example.org", "ann@example.org", "example.org"},
		{`"ann"@example.org`, "ann@example.org", `"ann"@example.org`, "example.org"},
		{`"a b"@example.org`, `"a b"@example.org`, `"a b"@example.org`, "example.org"},
		{"\u00c4nn@B\u00fccher.example", "\u00e4nn@xn--bcher-kva.example", "\u00e4nn@b\u00fccher.example", "xn--bcher-kva.example"},
		{"Ann", "ann", "ann", ""},
		{"ANN\u00c9", "ann\u00e9", "ann\u00e9", ""},
		{"", "", "", ""},
	} {
		if got := Key(c.in); got != c.key {
			t.Errorf("Key(%q) = %q, want %q", c.in, got, c.key)
		}
		if got := Fold(c.in); got != c.fold {
			t.Errorf("Fold(%q) = %q, want %q", c.in, got, c.fold)
		}
		if !strings.Contains(c.in, "@") {
			continue
		}
		a, err := ParseAddress(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.ASCIIDomain(); got != c.ascii {
			t.Errorf("ASCIIDomain of %q: %q", c.in, got)
		}
		if a.Key() != Key(a.Key()) {
			t.Errorf("the key of %q has another key", c.in)
		}
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		notify, kind Notify
		want         bool
	}{
		{0, NotifyFailure, true}, {0, NotifyDelay, true}, {0, NotifySuccess, false},
		{NotifyNever, NotifyFailure, false}, {NotifyNever, NotifyDelay, false},
		{NotifySuccess, NotifySuccess, true}, {NotifySuccess, NotifyFailure, false},
		{NotifySuccess | NotifyFailure, NotifyFailure, true},
	} {
		if got := c.notify.Wants(c.kind); got != c.want {
			t.Errorf("%b wants %b: %v", c.notify, c.kind, got)
		}
	}
}

// Ids sort by time, are unique within a process, and contain their creation
// time.
func TestID(t *testing.T) {
	var source idSource
	start := time.UnixMilli(1_800_000_000_000)
	seen := map[string]bool{}
	last := ""
	for i := range 5000 {
		id := source.next(start.Add(time.Duration(i/1000) * time.Millisecond))
		if seen[id] || len(id) != 16 {
			t.Fatalf("%q twice, or too long", id)
		}
		seen[id] = true
		if at, ok := IDTime(id); !ok || !at.Equal(start.Add(time.Duration(i/1000)*time.Millisecond)) {
			t.Fatalf("%q was made at %v", id, at)
		}
		if i%1000 == 0 {
			if id[:10] <= last {
				t.Fatalf("%q sorts before %q", id, last)
			}
			last = id[:10]
		}
	}
	for _, bad := range []string{"", "short", "0123456789abcdefg", "0123456789abcdeU", "0123456789abcde!", strings.Repeat("i", 16)} {
		if _, ok := IDTime(bad); ok {
			t.Errorf("%q is an id", bad)
		}
	}
	if at, ok := IDTime(NewID()); !ok || time.Since(at).Abs() > time.Minute {
		t.Errorf("a new id was made at %v", at)
	}
}

func TestReply(t *testing.T) {
	cause := errors.New("disk")
	for _, c := range []struct {
		reply               *Reply
		text                string
		positive, permanent bool
	}{
		{NewReply(250, "2.0.0", "ok as %s", "x1"), "250 2.0.0 ok as x1", true, false},
		{NewReply(250, "", "all good"), "250 all good", true, false},
		{NewReply(550, "5.1.1", "no such mailbox"), "550 5.1.1 no such mailbox", false, true},
		{&Reply{Code: 421}, "421", false, false},
		{&Reply{Code: 354, Text: "go on"}, "354 go on", false, false},
		{&Reply{Code: 250, Text: "a\nb"}, "250 a / b", true, false},
		{&Reply{Code: 7, Text: "odd"}, "007 odd", false, false},
		{&Reply{Code: 612}, "612", false, false},
	} {
		if got := c.reply.String(); got != c.text || c.reply.Error() != c.text {
			t.Errorf("%q and %q, want %q", got, c.reply.Error(), c.text)
		}
		if c.reply.Positive() != c.positive || c.reply.Permanent() != c.permanent {
			t.Errorf("%s: positive %v, permanent %v", c.text, c.reply.Positive(), c.reply.Permanent())
		}
	}
	r := &Reply{Code: 451, Text: "later", Cause: cause}
	if r.Error() != "451 later: disk" || !errors.Is(r, cause) {
		t.Errorf("%v", r)
	}
	if AsReply(nil) != nil || AsReply(fmt.Errorf("send: %w", r)) != r {
		t.Error("AsReply")
	}
	if got := AsReply(cause); got.Code != 451 || got.Permanent() || !errors.Is(got, cause) {
		t.Errorf("an unknown error is %v", got)
	}
}

func TestTrail(t *testing.T) {
	tx := NewTransaction(Client{User: "ann"}, "ann@example.org")
	if _, ok := IDTime(tx.ID); !ok || tx.Envelope.From != "ann@example.org" || tx.Client.User != "ann" || tx.At.IsZero() {
		t.Errorf("%+v", tx)
	}
	at := time.Unix(1000, 0)
	tx.Trail.Add(Event{At: at, By: "a"})
	tx.Trail.Add(Event{By: "b"})
	if e := tx.Trail.Events; len(e) != 2 || !e[0].At.Equal(at) || e[1].At.IsZero() || e[1].By != "b" {
		t.Errorf("%+v", e)
	}
	r := AuthResult{Props: []AuthProp{{"header", "d", "one"}, {"header", "d", "two"}, {"smtp", "d", "three"}}}
	if r.Prop("header", "d") != "one" || r.Prop("smtp", "d") != "three" || r.Prop("body", "d") != "" {
		t.Errorf("%+v", r)
	}
}

func TestBytes(t *testing.T) {
	b := Bytes("hello")
	for _, c := range []struct {
		off  int64
		size int
		want string
		err  error
	}{{0, 5, "hello", nil}, {1, 3, "ell", nil}, {3, 5, "lo", io.EOF}, {5, 1, "", io.EOF}, {9, 1, "", io.EOF}, {-1, 1, "", io.EOF}} {
		p := make([]byte, c.size)
		n, err := b.ReadAt(p, c.off)
		if string(p[:n]) != c.want || err != c.err {
			t.Errorf("%d octets at %d: %q, %v", c.size, c.off, p[:n], err)
		}
	}
}

// Reading a patch at any offset returns the same octets as reading a copy.
func TestPatch(t *testing.T) {
	p := &patch{front: []byte("front|"), base: Bytes("0123456789"), skip: 4}
	want := "front|456789"
	if p.Size() != int64(len(want)) {
		t.Fatalf("%d octets", p.Size())
	}
	for off := range len(want) + 1 {
		got, err := io.ReadAll(io.NewSectionReader(p, int64(off), p.Size()-int64(off)))
		if err != nil || string(got) != want[off:] {
			t.Errorf("from %d: %q, %v", off, got, err)
		}
		var b bytes.Buffer
		if n, err := p.CopyTo(&b, int64(off)); err != nil || b.String() != want[off:] || n != int64(b.Len()) {
			t.Errorf("copied from %d: %q, %d, %v", off, b.String(), n, err)
		}
		var again bytes.Buffer
		if _, err := (&patch{base: p}).CopyTo(&again, int64(off)); err != nil || again.String() != want[off:] {
			t.Errorf("copied through another patch from %d: %q, %v", off, again.String(), err)
		}
	}
	if _, err := p.ReadAt(make([]byte, 1), -1); err != io.EOF {
		t.Error(err)
	}
	if _, err := p.CopyTo(fullWriter{}, 0); err == nil {
		t.Error("a full disk was not noticed")
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
