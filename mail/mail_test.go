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

func TestNewID(t *testing.T) {
	now := time.UnixMilli(1795400000123)
	var source idSource
	id := source.next(now)
	if at, ok := IDTime(id); !ok || !at.Equal(now) {
		t.Errorf("IDTime(%q) = %v, %v; want %v", id, at, ok, now)
	}
	if later := source.next(now.Add(time.Millisecond)); later <= id {
		t.Errorf("%s, made later, sorts before %s", later, id)
	}
	if _, ok := IDTime("not-one-of-ours!"); ok {
		t.Error("IDTime took a text that is no id")
	}
	seen := map[string]bool{}
	for range 200000 { // all within one millisecond
		id := source.next(now)
		if seen[id] {
			t.Fatalf("id %s twice", id)
		}
		seen[id] = true
	}
}

func TestWith(t *testing.T) {
	tls := &TLS{Version: "TLSv1.3"}
	for want, c := range map[string]Client{
		"SMTP":   {Protocol: "smtp"},
		"ESMTP":  {Protocol: "smtp", ESMTP: true},
		"ESMTPS": {Protocol: "smtp", ESMTP: true, TLS: tls},
		"ESMTPA": {Protocol: "smtp", ESMTP: true, User: "a@b"},
		"LMTPSA": {Protocol: "lmtp", TLS: tls, User: "a@b"},
	} {
		if got := c.With(false); got != want {
			t.Errorf("With = %s, want %s", got, want)
		}
	}
	c := Client{Protocol: "smtp", ESMTP: true, TLS: tls, User: "a@b"}
	if got := c.With(true); got != "UTF8SMTPSA" {
		t.Errorf("With UTF8 = %s", got)
	}
}

func TestAsReply(t *testing.T) {
	full := NewReply(452, "4.2.2", "mailbox full")
	if got := AsReply(fmt.Errorf("deliver: %w", full)); got != full {
		t.Errorf("AsReply = %v", got)
	}
	if got := AsReply(io.ErrUnexpectedEOF); got.Code != 451 || got.Permanent() || !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("an unknown error became %v", got)
	}
	if AsReply(nil) != nil {
		t.Error("AsReply(nil) is not nil")
	}
}

// file is Content that is not in memory.
type file struct{ *bytes.Reader }

func TestMessageEdits(t *testing.T) {
	const text = "A: 1\r\nB: 2\r\n folded\r\nBcc: x@example.org\r\n\r\nbody\r\n.\r\n"
	for name, base := range map[string]Content{"memory": Bytes(text), "file": file{bytes.NewReader([]byte(text))}} {
		m, err := NewMessage(base)
		if err != nil {
			t.Fatal(name, err)
		}
		var drop Span
		for f := range Fields(m.Head) {
			if f.Is("BCC") {
				drop = f.Span
			}
		}
		e := m.Edited([]byte("Received: by us\r\n"), drop).Edited([]byte("Return-Path: <>\r\n"))
		want := "Return-Path: <>\r\nReceived: by us\r\nA: 1\r\nB: 2\r\n folded\r\n\r\nbody\r\n.\r\n"
		var out bytes.Buffer
		if n, err := e.WriteTo(&out); err != nil || n != e.Size() || out.String() != want {
			t.Errorf("%s: wrote %d of %d, %v: %q", name, n, e.Size(), err, out.String())
		}
		if got, _ := io.ReadAll(e.Reader()); string(got) != want {
			t.Errorf("%s: read %q", name, got)
		}
		if got, _ := io.ReadAll(m.Reader()); string(got) != text {
			t.Errorf("%s: the base changed: %q", name, got)
		}
	}
}

func TestHeaderLimits(t *testing.T) {
	for _, c := range []struct {
		name, head string
		err        error
	}{
		{"no body", "A: 1\r\n", nil},
		{"no header", "\r\nbody", nil},
		{"empty", "", nil},
		{"many fields", strings.Repeat("A: 1\r\n", 1001), ErrFieldCount},
		{"long field", "A: " + strings.Repeat("x", MaxField) + "\r\n", ErrFieldLong},
		{"many folds", "A: x\r\n" + strings.Repeat(" \r\n", 600), ErrFieldLong},
		{"long header", strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 300), ErrHeaderLong},
	} {
		for _, base := range []Content{Bytes(c.head + "\r\n"), file{strings2(c.head + "\r\n")}} {
			if _, err := NewMessage(base); !errors.Is(err, c.err) {
				t.Errorf("%s (%T): %v, want %v", c.name, base, err, c.err)
			}
		}
	}
}

func strings2(s string) *bytes.Reader { return bytes.NewReader([]byte(s)) }

func TestFields(t *testing.T) {
	head := "Subject: a\r\n\tb\nno field here\r\nX-Y : c\r\n: empty\r\n\r\nBody: not\r\n"
	var got []string
	for f := range Fields([]byte(head)) {
		got = append(got, f.Name+"="+f.Text())
	}
	want := "Subject=a\tb;=;X-Y=c;="
	if s := strings.Join(got, ";"); s != want {
		t.Errorf("Fields = %q, want %q", s, want)
	}
}
