package mail

import (
	"strconv"
	"strings"
	"testing"
)

func TestLookupCode(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // codes that must be explained, in order
	}{
		{"452", []string{"452"}},
		{"5.7.1", []string{"5.7.1"}},
		{"4.99.1", []string{"4.99.1"}},
		{"550 5.1.1 <ann@example.org>: no such user", []string{"550", "5.1.1"}},
		{"host mx.example.org[192.0.2.1] said: 554-5.4.6 loop", []string{"554", "5.4.6"}},
		{"smtp; 452 4.2.2.", []string{"452", "4.2.2"}},
		{"nothing at 192.0.2.1", nil},
	} {
		var got []string
		for _, m := range LookupCode(c.text) {
			got = append(got, m.Code)
			if m.Title == "" || m.Next == "" {
				t.Errorf("%q: %s has no title or no next step", c.text, m.Code)
			}
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("LookupCode(%q) = %v, want %v", c.text, got, c.want)
		}
	}
}

// The table explains every code defined by RFC 5321 and the login and TLS
// extensions exactly once.
func TestMeaningsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Meanings() {
		if seen[m.Code] {
			t.Errorf("%s stands twice", m.Code)
		}
		seen[m.Code] = true
	}
	for _, code := range []int{211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 500, 501, 502, 503, 504,
		550, 551, 552, 553, 554, 555, 235, 334, 454, 455, 521, 530, 534, 535, 538, 556} {
		if !seen[strconv.Itoa(code)] {
			t.Errorf("%d is missing", code)
		}
	}
}

// TestFindCodes checks which numbers in replies, bounces and log lines are codes.
func TestFindCodes(t *testing.T) {
	for _, c := range []struct{ text, basic, enhanced string }{
		{"", "", ""},
		{"250 2.0.0 Ok: queued as 4F1Zpz0YBvz9sWn", "250", "2.0.0"},
		{"550-5.7.26 Unauthenticated email\r\n550-5.7.26 from a.example\r\n550 5.7.26 x", "550", "5.7.26"},
		{"smtp; 550 5.1.1 <ann@a.example>: user unknown", "550", "5.1.1"},
		{"smtp;550 5.1.1 user unknown", "550", "5.1.1"},
		{"#5.1.1 SMTP; 550 no such user", "550", "5.1.1"},
		{"<ann@a.example>: host mx.a.example[192.0.2.250] said: 450 4.2.0 greylisted (in reply to RCPT TO command)", "450", "4.2.0"},
		{"Status: 5.7.515", "", "5.7.515"},
		{"dsn=4.4.1, status=deferred (connect to mx.a.example[192.0.2.1]:25: timed out)", "", "4.4.1"},
		{"(550 #5.7.1 too many)", "550", "5.7.1"},
		{"the code is 5.7.1.", "", "5.7.1"},
		{"421-4.7.0 [TSS04] 4.16.55.1", "421", "4.7.0"},
		{"554:5.7.1", "554", "5.7.1"},
		{"5.7.1-550", "550", "5.7.1"},
		// Numbers that are no codes.
		{"192.0.2.250", "", ""},
		{"version 15.20.8511", "", ""},
		{"took 5.5 s", "", ""},
		{"3.7.1", "", ""},
		{"5.7.1.2", "", ""},
		{"5.7.1000", "", ""},
		{"15.7.1", "", ""},
		{"id 1550", "", ""},
		{"port 2525", "", ""},
		{"199 hops", "", ""},
		{"600 x", "", ""},
	} {
		if basic, enhanced := FindCodes(c.text); basic != c.basic || enhanced != c.enhanced {
			t.Errorf("%q: %q and %q, want %q and %q", c.text, basic, enhanced, c.basic, c.enhanced)
		}
	}
}

// TestUnregisteredCodes checks that a code that is not in the table is explained
// by its class and subject, and that the class decides the next step.
func TestUnregisteredCodes(t *testing.T) {
	for _, c := range []struct{ code, title, next string }{
		{"5.2.99", "permanent: the mailbox", "It will not be retried"},
		{"4.4.99", "temporary: it will be retried: network and routing", "Wait"},
		{"2.7.99", "success: security or policy", "Nothing"},
		{"5.9.1", "permanent, with an unregistered detail code", "It will not be retried"},
		{"4.0.99", "temporary: it will be retried: other", "Wait"},
		{"5.7.1", "not allowed (permanent)", "If it is your own server"},
		{"4.7.1", "not allowed (temporary: it will be retried)", "If it is your own server"},
	} {
		found := LookupCode(c.code)
		if len(found) != 1 || found[0].Title != c.title || !strings.HasPrefix(found[0].Next, c.next) || found[0].RFC == "" {
			t.Errorf("%s: %+v, want %q and %q", c.code, found, c.title, c.next)
		}
	}
	for _, none := range []string{"", "hello", "299", "6.1.1", "5.7"} {
		if found := LookupCode(none); len(found) != 0 {
			t.Errorf("%q: %+v", none, found)
		}
	}
	all := Meanings()
	all[0].Title = "changed"
	if Meanings()[0].Title == "changed" {
		t.Error("Meanings returns the table itself")
	}
}
