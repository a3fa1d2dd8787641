package srs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

func rewriter(domain string) *Rewriter {
	w := New([]byte(strings.Repeat(domain[:1], keyLen)), domain)
	w.now = func() time.Time { return time.Unix(1795434780, 0) }
	return w
}

func TestThereAndBack(t *testing.T) {
	w := rewriter("fwd.example")
	for _, from := range []mail.Address{
		"ann@example.org", "a=b@example.org", `"a b"@example.org`, "jürg@example.org", "srs0@example.org",
	} {
		sent := w.Forward(from)
		if sent.Domain() != "fwd.example" || !w.Ours(sent) {
			t.Errorf("%s becomes %s", from, sent)
		}
		if back, err := w.Reverse(sent); err != nil || back != from {
			t.Errorf("%s comes back as %s, %v", sent, back, err)
		}
		lower, _ := mail.Join(strings.ToLower(sent.Local()), sent.Domain())
		if back, err := w.Reverse(lower); err != nil || back != from {
			t.Errorf("%s comes back as %s, %v", lower, back, err)
		}
	}
	for _, from := range []mail.Address{"", "ann@fwd.example", mail.Address(strings.Repeat("x", 60) + "@example.org")} {
		if got := w.Forward(from); got != from {
			t.Errorf("%s becomes %s", from, got)
		}
	}
}

// With three consecutive forwarders, the address stops growing after the
// second. A bounce goes from the third to the first and then to the sender.
func TestChain(t *testing.T) {
	a, b, c := rewriter("a.example"), rewriter("b.example"), rewriter("c.example")
	sent := c.Forward(b.Forward(a.Forward("ann@example.org")))
	back, err := c.Reverse(sent)
	if err != nil || back.Domain() != "a.example" {
		t.Fatalf("%s comes back as %s, %v", sent, back, err)
	}
	if home, err := a.Reverse(back); err != nil || home != "ann@example.org" {
		t.Errorf("%s comes back as %s, %v", back, home, err)
	}
}

func TestRefused(t *testing.T) {
	w := rewriter("fwd.example")
	good := w.Forward("ann@example.org")
	old := rewriter("fwd.example")
	old.now = func() time.Time { return w.now().Add(-22 * 24 * time.Hour) }
	for name, tc := range map[string]struct {
		addr mail.Address
		err  error
	}{
		"another recipient": {mail.Address(strings.Replace(string(good), "=ann@", "=bob@", 1)), ErrForged},
		"another domain":    {mail.Address(strings.Replace(string(good), "example.org", "example.net", 1)), ErrForged},
		"another key":       {mail.Address(strings.Replace(string(rewriter("other.example").Forward("ann@example.org")), "other.example", "fwd.example", 1)), ErrForged},
		"another host":      {mail.Address(strings.Replace(string(good), "fwd.example", "example.com", 1)), ErrForged},
		"no parts":          {"SRS0=x@fwd.example", ErrForged},
		"half a chain":      {"SRS1=abcdef=host@fwd.example", ErrForged},
		"no tag":            {"ann@fwd.example", ErrForged},
		"too old":           {old.Forward("ann@example.org"), ErrExpired},
	} {
		if back, err := w.Reverse(tc.addr); !errors.Is(err, tc.err) {
			t.Errorf("%s: %s gives %q, %v", name, tc.addr, back, err)
		}
	}
}

func TestKeys(t *testing.T) {
	key := NewKey()
	a, b, other := New(key, "Fwd.Example."), New(key, "fwd.example"), New(NewKey(), "fwd.example")
	if back, err := b.Reverse(a.Forward("ann@example.org")); err != nil || back != "ann@example.org" {
		t.Errorf("with the same key: %s, %v", back, err)
	}
	if _, err := other.Reverse(a.Forward("ann@example.org")); err == nil {
		t.Error("another key reverses it")
	}
	if !ValidKey(key) || ValidKey([]byte("short")) || ValidKey(nil) || ValidKey(make([]byte, len(key))) {
		t.Error("ValidKey is wrong")
	}
}

func FuzzReverse(f *testing.F) {
	w := rewriter("fwd.example")
	f.Add("SRS0=abcdef=AB=example.org=ann")
	f.Add("SRS1=abcdef=a.example=abcdef=AB=example.org=ann")
	f.Add(w.Forward("ann@example.org").Local())
	f.Fuzz(func(t *testing.T, local string) {
		a, err := mail.Join(local, "fwd.example")
		if err != nil {
			return
		}
		if next := w.Forward(a); next != a {
			t.Errorf("our own %s was rewritten", a)
		}
		if back, err := w.Reverse(a); err == nil && back == "" {
			t.Errorf("%s leads nowhere", a)
		}
	})
}
