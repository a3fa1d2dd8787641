package attach

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/mail/attachments"
	"hoplite/mail/attachments/archive/archivetest"
	"hoplite/mail/attachments/attachmentstest"
)

// judge applies rules to a message.
func judge(t *testing.T, cfg Config, msg string) filters.Verdict {
	t.Helper()
	f, err := New(cfg, filters.Env{Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.NewMessage(mail.Bytes(msg))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A rule matches an item only if all of its conditions match that item.
func TestHolds(t *testing.T) {
	exe := attachments.Item{Name: "Invoice.PDF.exe", Kind: "application/vnd.microsoft.portable-executable", Type: "application/pdf", Size: 100, Tricks: []string{"double-extension"}}
	twice := attachments.Item{Name: "a.txt", Names: []string{"a.txt", "b.scr"}, Kind: "text/plain", Size: 5}
	locked := attachments.Item{Name: "a.zip", Kind: "application/zip", Encrypted: true, Unread: "encrypted"}
	nameless := attachments.Item{Kind: "image/png", Size: 1 << 20}
	for _, c := range []struct {
		name string
		rule Rule
		item attachments.Item
		why  string // "" if it does not match
	}{
		{"a name", Rule{Names: []string{"*.pdf.exe"}}, exe, "named *.pdf.exe"},
		{"a name, as it looks without its folder", Rule{Names: []string{"run.exe"}}, attachments.Item{Name: "x/y/run.exe"}, "named run.exe"},
		{"another name", Rule{Names: []string{"*.zip"}}, exe, ""},
		{"one of several names", Rule{Names: []string{"x", "invoice*"}}, exe, "named invoice*"},
		{"the second name of an item", Rule{Extensions: []string{"scr"}}, twice, ".scr"},
		{"no name at all", Rule{Names: []string{"*"}}, nameless, ""},
		{"an extension", Rule{Extensions: []string{"exe"}}, exe, ".exe"},
		{"only the last extension", Rule{Extensions: []string{"pdf"}}, exe, ""},
		{"programs", Rule{Extensions: []string{"programs"}}, exe, ".exe"},
		{"programs under a second name", Rule{Extensions: []string{"programs"}}, twice, ".scr"},
		{"no program", Rule{Extensions: []string{"programs"}}, locked, ""},
		{"a type by content", Rule{Types: []string{"application/vnd.microsoft.*"}}, exe, "of type application/vnd.microsoft.portable-executable"},
		{"a type as declared", Rule{Types: []string{"application/pdf"}}, exe, "of type application/pdf"},
		{"a group of types", Rule{Types: []string{"image/*"}}, nameless, "of type image/png"},
		{"another type", Rule{Types: []string{"video/*"}}, nameless, ""},
		{"larger", Rule{Larger: 99}, exe, "100 octets"},
		{"not larger", Rule{Larger: 100}, exe, ""},
		{"encrypted", Rule{Encrypted: true}, locked, "encrypted"},
		{"not encrypted", Rule{Encrypted: true}, exe, ""},
		{"unread", Rule{Unread: true}, locked, "encrypted"},
		{"read", Rule{Unread: true}, exe, ""},
		{"a trick", Rule{Tricks: []string{"path", "double-extension"}}, exe, "double-extension"},
		{"any trick", Rule{Tricks: []string{"any"}}, exe, "double-extension"},
		{"no trick", Rule{Tricks: []string{"any"}}, nameless, ""},
		{"two conditions", Rule{Extensions: []string{"exe"}, Larger: 10}, exe, ".exe, 100 octets"},
		{"one of two conditions", Rule{Extensions: []string{"exe"}, Larger: 1000}, exe, ""},
	} {
		why, ok := c.rule.holds(&c.item)
		if ok != (c.why != "") || ok && why != c.why {
			t.Errorf("%s: %q, %v, want %q", c.name, why, ok, c.why)
		}
	}
}

// If several rules match, the most severe action is taken, and the reply names
// the rule and the file.
func TestSeverity(t *testing.T) {
	msg := attachmentstest.Message(attachmentstest.Named("text/plain", "run.exe"), attachmentstest.Program)
	rule := func(name, action string) Rule {
		return Rule{Name: name, Action: action, Extensions: []string{"exe"}}
	}
	for _, c := range []struct {
		rules []Rule
		want  filters.Action
		named string
	}{
		{[]Rule{rule("a", "tag"), rule("b", "quarantine"), rule("c", "reject")}, filters.Reject, "c (run.exe)"},
		{[]Rule{rule("c", "reject"), rule("b", "quarantine"), rule("a", "tag")}, filters.Reject, "c (run.exe)"},
		{[]Rule{rule("a", "tag"), rule("b", "quarantine")}, filters.Quarantine, "b (run.exe)"},
		{[]Rule{rule("a", "tag")}, filters.Tag, "a (run.exe)"},
		{[]Rule{{Name: "x", Action: "reject", Extensions: []string{"zip"}}}, "", ""},
	} {
		v := judge(t, Config{Rules: c.rules}, msg)
		if v.Action != c.want || !strings.Contains(v.Reason, c.named) || c.want != "" && len(v.Facts) != len(c.rules) {
			t.Errorf("%v: %q, %s, %d facts", c.rules, v.Action, v.Reason, len(v.Facts))
		}
		if v.Action == filters.Reject && (v.Reply.Code != 550 || !strings.Contains(v.Reply.Text, "run.exe")) {
			t.Errorf("reply %v", v.Reply)
		}
	}
}

// Programs are found in every kind of archive, and unread contents are
// reported.
func TestArchives(t *testing.T) {
	exe := string(attachmentstest.Program)
	seven, err := os.ReadFile("../../mail/attachments/archive/testdata/lzma2.7z")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := os.ReadFile("../../mail/attachments/archive/testdata/names-encrypted.7z")
	if err != nil {
		t.Fatal(err)
	}
	rules := []Rule{{Name: "programs", Action: "reject", Extensions: []string{"programs"}}, {Name: "locked", Action: "quarantine", Encrypted: true}, {Name: "unread", Action: "tag", Unread: true}}
	for _, c := range []struct {
		name string
		data []byte
		want filters.Action
	}{
		{"a.zip", attachmentstest.Zip(t, "run.exe", exe), filters.Reject},
		{"a.7z", seven, filters.Reject},
		{"a.rar", archivetest.RAR5(archivetest.File{Name: "run.exe", Data: []byte(exe)}), filters.Reject},
		{"a.rar", archivetest.RAR4(archivetest.File{Name: "run.exe", Data: []byte(exe)}), filters.Reject},
		{"a.cab", archivetest.Cabinet(archivetest.File{Name: "run.exe", Data: []byte(exe)}), filters.Reject},
		{"a.7z", locked, filters.Quarantine},
		{"a.rar", archivetest.RAR4(archivetest.File{Name: "a.txt", Data: []byte("hi")}), filters.Tag},
		{"a.rar", archivetest.RAR5(archivetest.File{Name: "a.txt", Data: []byte("hi")}), ""},
		{"a.lzh", []byte("xx-lh5-xxxxxxxxxxxx"), filters.Tag},
	} {
		if v := judge(t, Config{Rules: rules}, attachmentstest.Message(attachmentstest.Named("application/octet-stream", c.name), c.data)); v.Action != c.want {
			t.Errorf("%s: %q (%s), want %q", c.name, v.Action, v.Reason, c.want)
		}
	}
}

// Without rules the filter records at most 20 items of a message's contents.
func TestRecord(t *testing.T) {
	v := judge(t, Config{}, attachmentstest.Message(attachmentstest.Named("application/pdf", "a.pdf"), []byte("%PDF-1.4")))
	if v.Action != "" || len(v.Facts) != 1 || v.Facts[0].Key != "attachment" || !strings.Contains(v.Facts[0].Value, `"a.pdf", application/pdf`) {
		t.Errorf("%+v", v)
	}
	var files []string
	for range 30 {
		files = append(files, "file", "x")
	}
	v = judge(t, Config{}, attachmentstest.Message(attachmentstest.Named("application/zip", "a.zip"), attachmentstest.Zip(t, files...)))
	if n := len(v.Facts); n != maxListed+1 || v.Facts[n-1].Value != "and more" {
		t.Errorf("%d facts: %v", n, v.Facts)
	}
	if v := judge(t, Config{}, "Subject: x\r\n\r\nHello\r\n"); len(v.Facts) != 0 {
		t.Errorf("a plain message has %v", v.Facts)
	}
}

// The configured limits apply to the scan.
func TestLimits(t *testing.T) {
	zip := attachmentstest.Zip(t, "a.zip", string(attachmentstest.Zip(t, "b.zip", string(attachmentstest.Zip(t, "run.exe", string(attachmentstest.Program))))))
	msg := attachmentstest.Message(attachmentstest.Named("application/zip", "a.zip"), zip)
	unread := []Rule{{Name: "unread", Action: "tag", Unread: true}}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Rules: unread}, ""},
		{Config{Rules: unread, Depth: 2}, "nested too deeply"},
		{Config{Rules: unread, Files: 3}, "too many files"},
		{Config{Rules: unread, Unpacked: conf.Bytes(100)}, "too much content"},
	} {
		if v := judge(t, c.cfg, msg); !strings.Contains(v.Reason, c.want) || c.want == "" && v.Action != "" {
			t.Errorf("%+v: %q", c.cfg, v.Reason)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		cfg         Config
	}{
		{"no rules", "", Config{}},
		{"negative depth", "negative", Config{Depth: -1}},
		{"negative files", "negative", Config{Files: -1}},
		{"negative ratio", "negative", Config{Ratio: -1}},
		{"no condition", "no condition", Config{Rules: []Rule{{Name: "x"}}}},
		{"a bad pattern", "not a pattern", Config{Rules: []Rule{{Name: "x", Names: []string{"[a"}}}}},
		{"an unknown trick", "unknown trick", Config{Rules: []Rule{{Name: "x", Tricks: []string{"magic"}}}}},
		{"every trick", "", Config{Rules: []Rule{{Name: "x", Tricks: attachments.Tricks}}}},
		{"any trick", "", Config{Rules: []Rule{{Name: "x", Tricks: []string{"any"}}}}},
	} {
		err := c.cfg.Check()
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.fault)
		}
	}
}

// A message that cannot be read is an error, not a verdict.
func TestUnreadable(t *testing.T) {
	f, err := New(Config{}, filters.Env{Data: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\nHello\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	m.Base = broken{m.Base}
	if _, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, ""), m); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

var errBroken = errors.New("disk")

type broken struct{ mail.Content }

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }
