//go:build interop

package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestInteropMoveWithinFolder moves two messages to the folder that contains
// them after another client has expunged the second one. The first one must
// still exist.
//
// Dovecot 2.3 loses it: when a MOVE within a folder fails because a message no
// longer exists, fetch_and_copy in cmd-copy.c removes the copies of the other
// messages, but also commits the transaction that expunges the originals. No
// second server is needed for that. Without this command at Dovecot,
// TestInteropMailboxStress needs no exception for lost messages.
func TestInteropMoveWithinFolder(t *testing.T) {
	needDovecot(t)
	s := newStress(t)
	for _, at := range []endpoint{s.ours, s.theirs} {
		folder := "at" + at.name
		s.must(t, at, "CREATE "+folder)
		for _, text := range []string{"Subject: kept\r\n\r\n", "Subject: expunged\r\n\r\n"} {
			s.must(t, at, fmt.Sprintf("APPEND %s {%d}\n%s", folder, len(text), text))
		}
		mover, other := s.selected(t, at, folder), s.selected(t, at, folder)
		other.must(t, `UID STORE 2 +FLAGS.SILENT (\Deleted)`)
		other.must(t, "UID EXPUNGE 2")
		_, status, err := mover.run("UID MOVE 1:2 " + folder)
		if err != nil {
			t.Fatal(err)
		}
		fetched := s.selected(t, at, folder).must(t, "UID FETCH 1:* (UID BODY.PEEK[HEADER])")
		kept := slices.ContainsFunc(fetched, func(line string) bool { return strings.Contains(line, "Subject: kept") })
		t.Logf("%s: %s; the other message exists: %t", at.name, status, kept)
		if at == s.ours && !kept {
			t.Errorf("the messages are now %q", fetched)
		}
	}
}

// selected returns a connection with a selected folder. It is closed at the end
// of the test.
func (s *stress) selected(t *testing.T, at endpoint, folder string) *connection {
	t.Helper()
	c, err := s.open(at, time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.must(t, "SELECT "+folder)
	return c
}
