package imap

import (
	"fmt"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// A client cannot make the server keep any number of results up to date.
func TestContextLimit(t *testing.T) {
	c := open(t, Config{}, maildrop.Config{}).login(t)
	c.put("INBOX", "", "Subject: x\n\nx\n")
	c.ok("SELECT INBOX")
	for i := range maxContexts + 2 {
		refused := strings.Contains(strings.Join(c.ok("SEARCH RETURN (UPDATE COUNT) TEXT x"), "\n"), fmt.Sprintf(`NO [NOUPDATE "t%d"]`, c.n))
		if refused != (i >= maxContexts) {
			t.Errorf("context %d: refused %v", i+1, refused)
		}
	}
	// All of them are notified, and a new one fits after another is cancelled.
	c.ok("CANCELUPDATE %q", fmt.Sprintf("t%d", c.n-2))
	c.ok("SEARCH RETURN (UPDATE COUNT) TEXT x")
	c.put("INBOX", "", "Subject: x\n\nx\n")
	c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
	if got := strings.Count(strings.Join(c.ok("EXPUNGE"), "\n"), " REMOVEFROM (0 1:2)"); got != maxContexts {
		t.Errorf("%d notifications, want %d", got, maxContexts)
	}
}
