package rewrite

import (
	"errors"
	"io"
	"strings"
	"testing"

	"hoplite/mail"
)

func message(t *testing.T, head string) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(strings.ReplaceAll(head, "\n", "\r\n") + "\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func text(t *testing.T, m *mail.Message) string {
	t.Helper()
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	head, ok := strings.CutSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\nbody\n")
	if !ok {
		t.Fatalf("the body changed: %q", b)
	}
	return head
}

func rules(t *testing.T, sender string, pairs map[string]string) *Rules {
	t.Helper()
	m, err := ParseMap(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return New(mail.Address(sender), m)
}

func TestMessage(t *testing.T) {
	const scanner = "scanner@example.org"
	lan := map[string]string{"root@host.lan": "admin@example.org", "host.lan": "@example.org", ".lan": "it@example.org"}
	for name, c := range map[string]struct {
		sender string
		pairs  map[string]string
		in     string
		want   string
		words  string
	}{
		"the old author becomes Reply-To": {scanner, nil,
			"From: copier@printer.lan\nTo: a@b.example\n",
			"Reply-To: copier@printer.lan\nFrom: scanner@example.org\nTo: a@b.example\n",
			"From copier@printer.lan -> scanner@example.org"},
		"the name stays": {scanner, nil,
			"From: \"Scanner, 3rd floor\" <copier@printer.lan>\n",
			"Reply-To: \"Scanner, 3rd floor\" <copier@printer.lan>\nFrom: \"Scanner, 3rd floor\" <scanner@example.org>\n",
			"From copier@printer.lan -> scanner@example.org"},
		"encoded words stay": {scanner, nil,
			"From: =?utf-8?q?B=C3=BCro?= <copier@printer.lan>\n",
			"Reply-To: =?utf-8?q?B=C3=BCro?= <copier@printer.lan>\nFrom: =?utf-8?q?B=C3=BCro?= <scanner@example.org>\n",
			"From copier@printer.lan -> scanner@example.org"},
		"an existing Reply-To stays": {scanner, nil,
			"Reply-To: ann@example.org\nFrom: copier@printer.lan\n",
			"Reply-To: ann@example.org\nFrom: scanner@example.org\n",
			"From copier@printer.lan -> scanner@example.org"},
		"no author": {scanner, nil,
			"Subject: x\n", "From: scanner@example.org\nSubject: x\n", "From (none) -> scanner@example.org"},
		"an author without a domain": {scanner, nil,
			"From: root (Cron Daemon)\n", "From: Cron Daemon <scanner@example.org>\n", "From root -> scanner@example.org"},
		"several authors and fields": {scanner, nil,
			"From: a@x.example,\n b@x.example\nX: y\nFrom: c@x.example\nSender: d@x.example\n",
			"Reply-To: a@x.example,\n\tb@x.example,\n\tc@x.example\nFrom: scanner@example.org\nX: y\n",
			"Sender removed, From a@x.example, b@x.example, c@x.example -> scanner@example.org"},
		"the sender it has already": {scanner, nil,
			"From: Scan <Scanner@EXAMPLE.org>\nSender: scanner@example.org\n",
			"From: Scan <Scanner@EXAMPLE.org>\nSender: scanner@example.org\n", ""},
		"an address is mapped": {"", lan,
			"From: root@host.lan\nSubject: x\n", "From: admin@example.org\nSubject: x\n", "root@host.lan -> admin@example.org"},
		"a domain is mapped, case ignored": {"", lan,
			"From: Cron <backup@HOST.lan>\nReply-To: ann@example.net, x@a.b.lan\n",
			"From: Cron <backup@example.org>\nReply-To: ann@example.net,\n\tit@example.org\n",
			"backup@HOST.lan -> backup@example.org, x@a.b.lan -> it@example.org"},
		"unmapped fields keep their octets": {"", lan,
			"From:   \"A  B\"\n <a@example.net>\nSender: root@host.lan\n",
			"From:   \"A  B\"\n <a@example.net>\nSender: admin@example.org\n", "root@host.lan -> admin@example.org"},
		"a local part in Latin-1 is kept": {"", lan,
			"From: m\xfcller@host.lan\nSender: r\xf6@a.lan\n", "From: \"m\xfcller\"@example.org\nSender: it@example.org\n",
			"\"m\xfcller\"@host.lan -> \"m\xfcller\"@example.org, \"r\xf6\"@a.lan -> it@example.org"},
		"an author who cannot be answered": {scanner, nil,
			"From: m\xfcller@host.lan, b@x.example\n", "Reply-To: b@x.example\nFrom: scanner@example.org\n",
			"From \"m\xfcller\"@host.lan, b@x.example -> scanner@example.org"},
		"an author without a readable address": {scanner, nil,
			"From: <>, @\n", "From: scanner@example.org\n", "From (none) -> scanner@example.org"},
		"nothing to map": {"", lan, "From: a@example.net\n", "From: a@example.net\n", ""},
		"mapped, then replaced": {scanner, lan,
			"From: root@host.lan\n", "Reply-To: admin@example.org\nFrom: scanner@example.org\n",
			"root@host.lan -> admin@example.org, From admin@example.org -> scanner@example.org"},
		"a name that cannot stand in a line": {scanner, nil,
			"From: " + strings.Repeat("long ", 100) + "<a@x.example>\n",
			"Reply-To: a@x.example\nFrom: scanner@example.org\n", "From a@x.example -> scanner@example.org"},
		"no rules": {"", nil, "From: a@x.example\n", "From: a@x.example\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := message(t, c.in)
			got, words, err := rules(t, c.sender, c.pairs).Message(m)
			if err != nil {
				t.Fatal(err)
			}
			if words != c.words {
				t.Errorf("words %q, want %q", words, c.words)
			}
			if h := text(t, got); h != c.want {
				t.Errorf("header\n%s\nwant\n%s", h, c.want)
			}
			if words == "" && got != m {
				t.Error("an unchanged message was copied")
			}
		})
	}
}

// Fields added or removed by earlier edits are taken into account.
func TestEditedMessage(t *testing.T) {
	m := message(t, "From: a@x.example\nSubject: x\n")
	m = m.Edited([]byte("Received: by us\r\nFrom: b@x.example\r\n"), mail.Span{Start: 0, End: 19})
	got, _, err := rules(t, "s@example.org", nil).Message(m)
	if err != nil {
		t.Fatal(err)
	}
	if h, want := text(t, got), "Received: by us\nReply-To: b@x.example\nFrom: s@example.org\nSubject: x\n"; h != want {
		t.Errorf("header\n%s\nwant\n%s", h, want)
	}
}

func TestSignedMessageIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ field, kind string }{
		"DKIM":         {"DKIM-Signature: v=1; d=x.example", "DKIM"},
		"ARC":          {"ARC-Message-Signature: i=1; d=x.example", "DKIM"},
		"clear-signed": {"Content-Type: Multipart/Signed; protocol=\"application/pkcs7-signature\"; boundary=b", "S/MIME"},
		"opaque":       {"Content-Type: application/pkcs7-mime;\n smime-type=Signed-Data", "S/MIME"},
		"OpenPGP":      {"Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b", "OpenPGP"},
		"encrypted":    {"Content-Type: application/pkcs7-mime; smime-type=enveloped-data", ""},
		"plain":        {"Content-Type: text/plain", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []*Rules{
				rules(t, "s@example.org", nil),
				rules(t, "", map[string]string{"x.example": "s@example.org"}),
			} {
				_, _, err := r.Message(message(t, "From: a@x.example\n"+c.field+"\n"))
				if c.kind == "" {
					if err != nil {
						t.Errorf("refused: %v", err)
					}
					continue
				}
				var reply *mail.Reply
				if !errors.As(err, &reply) || reply.Code != 550 || !strings.Contains(reply.Text, "signed ("+c.kind+")") ||
					!strings.Contains(reply.Text, "s@example.org") {
					t.Errorf("error %v, want 550 naming %s and the sender", err, c.kind)
				}
			}
			// A signature does not matter if nothing changes.
			if _, _, err := rules(t, "a@x.example", nil).Message(message(t, "From: a@x.example\n"+c.field+"\n")); err != nil {
				t.Errorf("unchanged, but refused: %v", err)
			}
		})
	}
}

// A signature below the top level is not broken either, unless it belongs to an
// attached message.
func TestSignedPartIsRefused(t *testing.T) {
	const signed = "Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\n\n--s\n\nx\n--s\n\ny\n--s--\n"
	const armor = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx\n"
	for name, c := range map[string]struct{ rest, kind string }{
		"in a mixed":             {"Content-Type: multipart/mixed; boundary=m\n\n--m\n" + signed + "--m\n\nfooter\n--m--\n", "OpenPGP"},
		"opaque in a mixed":      {"Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: application/pkcs7-mime; smime-type=signed-data\n\nx\n--m--\n", "S/MIME"},
		"in the text":            {"\n" + armor, "OpenPGP"},
		"in a long text":         {"\n" + strings.Repeat("x", 32<<10) + "\n" + armor, "OpenPGP"},
		"quoted":                 {"\n> " + armor, ""},
		"in an attached message": {"Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: message/rfc822\n\n" + signed + "--m--\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := rules(t, "s@example.org", nil).Message(message(t, "From: a@x.example\n"+c.rest))
			var reply *mail.Reply
			if refused := errors.As(err, &reply) && strings.Contains(reply.Text, "signed ("+c.kind+")"); refused != (c.kind != "") || !refused && err != nil {
				t.Errorf("error %v, want a refusal for %q", err, c.kind)
			}
		})
	}
}

// The beginning of a signed text is found wherever the pieces end.
func TestArmor(t *testing.T) {
	text := "a\n-----BEGIN PGP SIGNED MESSAGE-----\nx"
	for size := 1; size < len(text); size++ {
		var a armor
		for i := 0; i < len(text); i += size {
			a.Write([]byte(text[i:min(i+size, len(text))]))
		}
		if !a.found {
			t.Errorf("not found in pieces of %d octets", size)
		}
	}
	var a armor
	a.Write([]byte("-----BEGIN PGP SIGNED MESSAGE----"))
	a.Write([]byte("\n-----BEGIN PGP MESSAGE-----"))
	if a.found {
		t.Error("found where it is not")
	}
}

func TestReversePath(t *testing.T) {
	lan := map[string]string{"root@host.lan": "admin@example.org", "host.lan": "@example.org", "ff.lan": "@x"}
	for _, c := range []struct {
		sender     string
		pairs      map[string]string
		from, want mail.Address
	}{
		{"s@example.org", nil, "a@x.example", "s@example.org"},
		{"s@example.org", nil, "", ""},
		{"", lan, "", ""},
		{"", lan, "Root@host.lan", "admin@example.org"},
		{"", lan, `"a b"@host.lan`, `"a b"@example.org`},
		{"", lan, "a@sub.host.lan", "a@sub.host.lan"},
		{"", nil, "a@x.example", "a@x.example"},
	} {
		if got := rules(t, c.sender, c.pairs).ReversePath(c.from); got != c.want {
			t.Errorf("%q, %v: %q becomes %q, want %q", c.sender, c.pairs, c.from, got, c.want)
		}
	}
}

func TestParseMapNamesMistakes(t *testing.T) {
	_, err := ParseMap(map[string]string{"a@": "b@example.org", "<>": "b@example.org", "c@example.org": "nobody", "d@example.org": "@-", "ok.lan": "@example.org"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"a@"`, `"<>"`, `"nobody"`, `"@-"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "ok.lan") {
		t.Errorf("a valid pair is named in %v", err)
	}
}

// FuzzMessage checks that no client-supplied sender breaks out of its field,
// and that the result has the configured author.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"a@x.example", "\"a\\\"b\" <a@x>", "=?utf-8?q?a?= <a@x>, g: b@y;", "a\x00b <c>", "<@r:a@b>", "\"un", "root (x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, from string) {
		from = strings.NewReplacer("\r", "", "\n", "").Replace(from)
		m, err := mail.NewMessage(mail.Bytes("From: " + from + "\r\nSubject: x\r\n\r\nbody\r\n"))
		if err != nil || m.Repaired != "" {
			t.Skip()
		}
		got, words, err := New("s@example.org", Map{}).Message(m)
		if err != nil {
			t.Fatal(err)
		}
		if words == "" {
			return
		}
		count := map[string]int{}
		for f := range mail.Fields(got.Header()) {
			if f.Name == "" {
				t.Fatalf("not a field: %q", f.Raw)
			}
			count[f.Name]++
			if f.Is("From") && !strings.Contains(f.Text(), "s@example.org") {
				t.Errorf("From is %q", f.Text())
			}
		}
		if count["From"] != 1 || count["Subject"] != 1 || count["Reply-To"] > 1 || len(count) > 3 {
			t.Errorf("fields %v in %q", count, got.Header())
		}
	})
}
