package imap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hoplite/maildrop"
)

// The parts of a message together must not exceed append_limit, and their number
// is limited, because a small command could otherwise create a large message.
func TestCatenateLimits(t *testing.T) {
	d := open(t, Config{AppendLimit: 100_000}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Subject: x\n\n"+strings.Repeat("0123456789abcde\n", 2000))
	url := "URL /INBOX/;UID=1"
	tests := []struct{ name, parts, want string }{
		{"two", url + " " + url, "OK [APPENDUID "},
		{"three", url + " " + url + " " + url, "NO [TOOBIG] "},
		{"text after the limit", url + " " + url + " TEXT {90000+}\n" + strings.Repeat("x", 90_000), "NO [TOOBIG] "},
		{"many", strings.Repeat(url+"/;SECTION=HEADER ", maxCatParts) + "TEXT {1+}\nx", "NO [LIMIT] "},
		{"long URL", fmt.Sprintf("URL {%d}", maxURL+1), "NO [TOOBIG] "},
	}
	for _, tc := range tests {
		parts := tc.parts
		if tc.name != "long URL" {
			parts += ")"
		}
		if _, status := c.do("APPEND INBOX CATENATE (%s", parts); !strings.HasPrefix(status, tc.want) {
			t.Errorf("%s: %.100s", tc.name, status)
		}
	}
	if got := c.ok("STATUS INBOX (MESSAGES)")[0]; got != "* STATUS INBOX (MESSAGES 2)" {
		t.Error(got)
	}
}

// Octets that are read only to find a part count towards the work budget.
func TestCatenateSpendsWork(t *testing.T) {
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	c.put("INBOX", "", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"+strings.Repeat("0123456789abcde\n", 50_000)+"\n--b\n\nx\n--b--\n")
	c.ok("APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=2)")
	work := d.works.accounts["ann@localhost"]
	if spent := accountBudget - work.remaining(); spent < 500_000 {
		t.Errorf("%d octets of work", spent)
	}
	work.spend(2*accountBudget, time.Now())
	if _, status := c.do("APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=2)"); !strings.HasPrefix(status, "NO [LIMIT]") {
		t.Errorf("without a budget: %s", status)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("/a%2Fb/c;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME/;PARTIAL=1.2")
	f.Add("imap://;AUTH=*@host/x/;UID=1")
	f.Fuzz(func(t *testing.T, text string) {
		if u, err := parseURL(text, "ann@host"); err == nil && (u.uid == 0 || u.mailbox == "") {
			t.Errorf("%q: %+v", text, u)
		}
	})
}

func TestParseURL(t *testing.T) {
	tests := []struct {
		text    string
		mailbox string
		uid     uint32
		section string
	}{
		{"/INBOX/;UID=1", "INBOX", 1, "BODY[]"},
		{"/a%2Fb/c;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME", "a/b/c", 20, "BODY[1.2.MIME]"},
		{"/x/;uid=1/;section=HEADER.FIELDS%20(From%20To)/;partial=5", "x", 1, "BODY[HEADER.FIELDS (From To)]"},
		{"imap://host/x/;UID=1", "x", 1, "BODY[]"},
		{"imap://;AUTH=*@host/x/;UID=1", "x", 1, "BODY[]"},
		{"imap://ann@host@host/x/;UID=1", "x", 1, "BODY[]"}, // the last @ precedes the host
		{"imap://ann%40host@host/x/;UID=1", "x", 1, "BODY[]"},
		{"/x/;UID=1;URLAUTH=anonymous", "", 0, ""},
		{"/x/;UID=1/;SECTION=1;EXPIRE=2030-01-01", "", 0, ""},
		{"/x/;UID=1/;PARTIAL=", "", 0, ""},
		{"/x/;UID=1/;PARTIAL=1.0", "", 0, ""},
		{"/x/;UID=1/;PARTIAL=1.5", "x", 1, "BODY[]"},
		{"/x/;UID=4294967296", "", 0, ""},
		{"/%zz/;UID=1", "", 0, ""},
		{"//;UID=1", "", 0, ""},
		{"x", "", 0, ""}, {"", "", 0, ""}, {"imap://", "", 0, ""},
	}
	for _, tc := range tests {
		u, err := parseURL(tc.text, "ann@host")
		if tc.mailbox == "" {
			if err == nil {
				t.Errorf("%s: accepted as %+v", tc.text, u)
			}
			continue
		}
		if err != nil || u.mailbox != tc.mailbox || u.uid != tc.uid || u.section.Label != tc.section {
			t.Errorf("%s: %+v, %v", tc.text, u, err)
		}
	}
}
