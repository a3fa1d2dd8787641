package imap

import (
	"slices"
	"strings"
	"testing"

	"hoplite/maildrop"
)

// A summary of the header alone agrees with one of the whole message,
// regardless of the length of the header.
func TestHeaderSummary(t *testing.T) {
	long := strings.Repeat("X-Filler: "+strings.Repeat("x", 70)+"\n", 200)
	tests := []struct{ name, msg string }{
		{"short", "Subject: a\n\ntext\n"},
		{"without a body", "Subject: a\nFrom: a@b\n"},
		{"a field after the first block", long + "Subject: late\nFrom: a@b\n\ntext\n"},
		{"as long as the block", "Subject: a\n" + strings.Repeat("x", 8<<10-12) + "\n"},
		{"too long to be kept", strings.Repeat(long, 80) + "Subject: never seen\n\ntext"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, tc := range tests {
		c.put("INBOX", "", tc.msg)
	}
	c.ok("SELECT INBOX")
	heads := c.ok("FETCH 1:* ENVELOPE")
	for i, l := range c.ok("FETCH 1:* (ENVELOPE BODY PREVIEW)") {
		head := strings.TrimSuffix(heads[i], ")")
		if !strings.HasPrefix(l, head+" BODY (") {
			t.Errorf("%s:\n%s\n%s", tests[i].name, head, l)
		}
	}
}

// The messages of a conversation share one THREADID, and copying a message
// preserves it.
func TestThreadID(t *testing.T) {
	tests := []struct{ name, header, thread string }{
		{"root", "Message-ID: <1@x>\n", "a"},
		{"reply", "Message-ID: <2@x>\nIn-Reply-To: <1@x>\n", "a"},
		{"reply to the reply", "Message-ID: <3@x>\nReferences: <1@x> <2@x>\nIn-Reply-To: <2@x>\n", "a"},
		{"other root", "Message-ID: <4@x>\n", "b"},
		{"no id", "Subject: x\n", "c"},
		{"no id either", "Subject: x\n", "d"},
	}
	d := open(t, Config{}, maildrop.Config{})
	c := d.login(t)
	for _, tc := range tests {
		c.put("INBOX", "", tc.header+"\ntext\n")
	}
	c.ok("SELECT INBOX")
	ids := map[string]string{}
	threads := c.ok("FETCH 1:* THREADID")
	for i, tc := range tests {
		_, id, _ := strings.Cut(strings.TrimSuffix(threads[i], "))"), "THREADID (")
		if was, ok := ids[tc.thread]; ok && was != id || len(id) != 33 {
			t.Errorf("%s is in thread %s, not in %s", tc.name, id, was)
		}
		for other, was := range ids {
			if other != tc.thread && was == id {
				t.Errorf("%s is in the thread of others", tc.name)
			}
		}
		ids[tc.thread] = id
	}
	if found := c.ok("SEARCH THREADID %s", ids["a"]); found[0] != "* SEARCH 1 2 3" {
		t.Errorf("SEARCH THREADID: %q", found)
	}
	c.ok("CREATE there")
	c.ok("COPY 1:* there")
	c.ok("SELECT there")
	if copies := c.ok("FETCH 1:* THREADID"); !slices.Equal(copies, threads) {
		t.Errorf("copies: %q, messages: %q", copies, threads)
	}
}
