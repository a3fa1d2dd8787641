package trace

import (
	"strings"
	"testing"
)

func TestAnonymise(t *testing.T) {
	head := "Received: from KRYPTIK (mx.bigcorp.com [8.8.4.4]) (Authenticated sender: bob@bigcorp.com)\n\tby mail.bigcorp.com (Postfix) with ESMTPS id 4F12ABCD\n" +
		"\tfor <ann@home.org>; Tue, 12 May 2026 08:30:06 +0000\n" +
		"Received: from laptop.lan ([10.1.2.3]) by mx.bigcorp.com (8.18.1/8.18.1) with ESMTP; Tue, 12 May 2026 08:30:01 +0000\n"
	tr := Read([]byte(head), Options{})
	a := NewAnonymiser(tr)
	got := a.Text(head)
	for _, secret := range []string{"bigcorp", "KRYPTIK", "8.8.4.4", "10.1.2.3", "bob@", "ann@", "home.org", "4F12ABCD", "laptop"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is still there:\n%s", secret, got)
		}
	}
	for _, kept := range []string{"8.18.1", "Postfix", "ESMTPS", "Tue, 12 May 2026 08:30:06 +0000"} {
		if !strings.Contains(got, kept) {
			t.Errorf("%s is gone:\n%s", kept, got)
		}
	}
	if again := a.Text(head); again != got {
		t.Errorf("pseudonyms change:\n%s\n%s", got, again)
	}
	anon := Read([]byte(got), Options{})
	if len(anon.Steps) != 2 || organisation(anon.Steps[1].By.Name) != organisation(anon.Steps[0].By.Name) || anon.Total != tr.Total {
		t.Errorf("the trace changed: %s\n%s", anon.Verdict(), got)
	}
}

func TestAnonymiseLongToken(t *testing.T) {
	a := NewAnonymiser(Read([]byte("From: ann@a.example\n"), Options{}))
	if got := a.Text(strings.Repeat("=", 1<<20) + "ann@a.example"); got != "text1" {
		t.Errorf("%d octets: %.80s", len(got), got)
	}
}

// The time to make a text anonymous is linear in its length for all tokens.
func TestAnonymiseManyParts(t *testing.T) {
	head := Read([]byte("From: ann@a.example\n"), Options{})
	for _, part := range []string{"=", "A=", "a@", "a.com=", "1:", "b/"} {
		a := NewAnonymiser(head)
		token := strings.Repeat(part, 490/len(part)) + "ann@a.example"
		if got := a.Text(token + " " + token); got != "text1 text1" {
			t.Errorf("%q: %.80s", part, got)
		}
	}
	for _, kept := range []string{strings.Repeat("=", 30), strings.Repeat("-", 600), "----=_=----=====:::::===/////=="} {
		if got := NewAnonymiser(head).Text(kept); got != kept {
			t.Errorf("%s became %s", kept, got)
		}
	}
	if got := NewAnonymiser(head).Text("https://mx.bigcorp.com/a/b/c/d/e=f"); got != "https://h1.d1.example/a/b/c/d/e=f" {
		t.Error(got)
	}
}
