package imap

import (
	"fmt"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// Values may contain any octets, up to a limit.
func TestMetadataValues(t *testing.T) {
	c := open(t, Config{}, maildrop.Config{}).login(t)
	for _, value := range []string{"a\x00b", "\xff", strings.Repeat("x", maxValue)} {
		if _, status := c.do("SETMETADATA INBOX (/private/v ~{%d+}\n%s)", len(value), value); !strings.HasPrefix(status, "OK") {
			t.Fatalf("%.20q: %s", value, status)
		}
		mark := ""
		if strings.Contains(value, "\x00") {
			mark = "~"
		}
		want := fmt.Sprintf("* METADATA INBOX (/private/v %s{%d}\r\n%s)", mark, len(value), value)
		if got := c.ok("GETMETADATA INBOX /private/v")[0]; got != want {
			t.Errorf("got %.80q, want %.80q", got, want)
		}
	}
	if _, status := c.do("SETMETADATA INBOX (/private/w \"x\" /private/v {%d+}\n%s)", maxValue+1, strings.Repeat("x", maxValue+1)); status != fmt.Sprintf("NO [METADATA MAXSIZE %d] Value is too large", maxValue) {
		t.Error(status)
	}
	// Nothing of a refused command is stored.
	if got := c.ok("GETMETADATA INBOX /private/w")[0]; got != "* METADATA INBOX (/private/w NIL)" {
		t.Error(got)
	}
	if _, status := c.do("GETMETADATA INBOX /private/%s", strings.Repeat("x", 1000)); !strings.HasPrefix(status, "BAD ") {
		t.Errorf("a long name: %s", status)
	}
}
