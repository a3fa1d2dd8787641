package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const boxConfig = `hostname = "mail.example.org"
data = "var"
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
`

const smallMbox = `From bob@example.net Mon Nov 16 10:00:00 2020
Subject: one
Status: RO

Body one.

From eve@example.net Tue Nov 17 11:00:00 2020
Subject: two

Body two.
`

func TestBoxCommands(t *testing.T) {
	inConfig(t)
	for name, text := range map[string]string{"relay.hcl": boxConfig, "in.mbox": smallMbox, "letter": "Dear Ann,\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var exported []string
	inbox := "var/mail/example.org/ann/"
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"box list", 0, "no mailboxes yet"},
		{"box list ann@example.org", 1, "there is no account ann@example.org"},
		{"user add ann@example.org", 0, "added"},
		{"box import ann@example.org in.mbox --folder Old/2020", 0, "2 messages in 1 folder; 0 already present\n"},
		{"box import ann@example.org in.mbox --folder Old/2020", 0, "0 messages in 1 folder; 2 already present\n"},
		{"box import ann@example.org letter", 2, "not an mbox file"},
		{"box import ann@example.org nothing", 2, "no such file"},
		{"box import ann@example.org in.mbox --folder a..b", 2, "invalid folder name"},
		{"box list", 0, "ann@example.org  2        2         1       66B   -\n"},
		{"box list ann@example.org", 0, "Old/2020  2         1       66B\n"},
		{"box list --json=lines", 0, `{"account":"ann@example.org","folders":2,"messages":2,"unseen":1,"octets":66}`},
		{"box check", 0, "no damage found\n"},
		{"damage", 0, ""},
		{"box check", 1, "ann@example.org, INBOX: corrupt uidlist: line \"rubbish\"\n  --fix would: keep the valid part"},
		{"box check --fix", 0, "... done\n"},
		{"box check ann@example.org", 0, "no damage found\n"},
		{"box reindex", 0, "ann@example.org: 2 messages\n"},
		{"deliver", 0, ""},
		{"box export ann@example.org copy", 0, "3 messages in 2 folders\n"},
		{"box export ann@example.org mboxes --mbox", 0, "3 messages in 2 folders\n"},
		{"still new", 0, ""},
		{"box export ann@example.org mboxes --mbox", 2, "file exists"},
		{"box export eve@example.org copy2", 1, "there is no account eve@example.org"},
		{"user add bob@example.org", 0, "added"},
		{"box export bob@example.org copy3", 1, "bob@example.org has no mailbox yet"},
		{"box import bob@example.org copy", 0, "3 messages in 2 folders"},
		{"box import bob@example.org mboxes/Old/2020.mbox", 0, "2 messages in 1 folder"},
		{"box list bob@example.org --maildrop other", 2, `there is no maildrop "other"`},
	} {
		switch c.line {
		case "deliver":
			if err := os.WriteFile(inbox+"new/1.a.host", []byte("Subject: new\n\nx\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			exported = files(t, "var")
			continue
		case "still new":
			if now := files(t, "var"); !slices.Equal(now, exported) {
				t.Errorf("an export changed the data folder:\n%q\n%q", exported, now)
			}
			continue
		case "damage":
			text, err := os.ReadFile(inbox + "dovecot-uidlist")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(inbox+"dovecot-uidlist", append(text, "rubbish\n"...), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, code := runLine(t, "secret\n", strings.Fields(c.line)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d:\n%s\nwant %d with %q", c.line, code, out, c.code, c.want)
		}
	}
}

// files lists everything below dir with its time of change.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		list = append(list, fmt.Sprint(path, " ", st.Size(), " ", st.ModTime()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
