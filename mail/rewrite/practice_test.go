package rewrite

import (
	"errors"
	"strings"
	"testing"

	"hoplite/mail"
)

// TestMapPrecedence checks which of several pairs an address matches: the whole
// address, its domain, or the closest parent domain.
func TestMapPrecedence(t *testing.T) {
	m, err := ParseMap(map[string]string{
		"ann@a.example": "x@out.example", "a.example": "@out.example", ".a.example": "sub@out.example",
		".example": "rest@out.example", "b\u00fccher.example": "@books.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		in, want mail.Address
	}{
		{"the whole address before its domain", "ann@a.example", "x@out.example"},
		{"a domain in another case", "ann@A.EXAMPLE", "x@out.example"},
		{"the domain keeps the local part", "bob@a.example", "bob@out.example"},
		{"a tag is part of the local part", "ann+lists@a.example", "ann+lists@out.example"},
		{"a quoted local part", `"bob smith"@a.example`, `"bob smith"@out.example`},
		{"a subdomain before the parent's parent", "bob@host.a.example", "sub@out.example"},
		{"a subdomain of a subdomain", "bob@rack.host.a.example", "sub@out.example"},
		{"a domain with the same ending is not a subdomain", "bob@xa.example", "rest@out.example"},
		{"a parent domain does not match itself", "bob@example", "bob@example"},
		{"an internationalized domain", "ann@b\u00fccher.example", "ann@books.example"},
		{"the same domain as an A-label", "ann@xn--bcher-kva.example", "ann@books.example"},
		{"an address literal", "bob@[192.0.2.1]", "bob@[192.0.2.1]"},
		{"another domain", "bob@example.org", "bob@example.org"},
		{"the null path", "", ""},
	} {
		if got := m.Apply(c.in); got != c.want {
			t.Errorf("%s: %s becomes %s, want %s", c.name, c.in, got, c.want)
		}
	}
}

// TestSendersInPractice rewrites headers that printers, scripts and old programs
// write.
func TestSendersInPractice(t *testing.T) {
	const sender = "scanner@example.org"
	lan := map[string]string{"host.lan": "@example.org"}
	name := strings.Repeat("x", maxName)
	for _, c := range []struct {
		name   string
		sender string
		pairs  map[string]string
		in     string
		want   string
	}{
		{"a name in a comment", sender, nil,
			"From: copier@printer.lan (Scanner)\n", "Reply-To: Scanner <copier@printer.lan>\nFrom: Scanner <scanner@example.org>\n"},
		{"a group of authors", sender, nil,
			"From: Team: a@x.example, b@x.example;\n", "Reply-To: a@x.example,\n\tb@x.example\nFrom: scanner@example.org\n"},
		{"a name with quotes and backslashes", sender, nil,
			"From: \"A \\\"B\\\" \\\\ C\" <a@x.example>\n",
			"Reply-To: \"A \\\"B\\\" \\\\ C\" <a@x.example>\nFrom: \"A \\\"B\\\" \\\\ C\" <scanner@example.org>\n"},
		{"a name in two lines", sender, nil,
			"From: Third\n floor <a@x.example>\n", "Reply-To: Third floor <a@x.example>\nFrom: Third floor <scanner@example.org>\n"},
		{"the longest name that is kept", sender, nil,
			"From: " + name + " <a@x.example>\n", "Reply-To: " + name + " <a@x.example>\nFrom: " + name + " <scanner@example.org>\n"},
		{"a name one octet longer", sender, nil,
			"From: x" + name + " <a@x.example>\n", "Reply-To: a@x.example\nFrom: scanner@example.org\n"},
		{"fields of a resent message", sender, nil,
			"Resent-From: b@y.example\nFrom: a@x.example\n", "Reply-To: a@x.example\nFrom: scanner@example.org\nResent-From: b@y.example\n"},
		{"recipients are not senders", "", lan,
			"From: a@example.net\nTo: root@host.lan\nCc: root@host.lan\n", "From: a@example.net\nTo: root@host.lan\nCc: root@host.lan\n"},
		{"every sender field is mapped", "", lan,
			"From: a@host.lan\nSender: b@host.lan\nReply-To: c@host.lan\n", "From: a@example.org\nSender: b@example.org\nReply-To: c@example.org\n"},
		{"one of two authors is mapped", "", lan,
			"From: a@host.lan, B <b@example.net>\n", "From: a@example.org,\n\tB <b@example.net>\n"},
		{"a field name in lower case", "", lan, "from: a@host.lan\n", "from: a@example.org\n"},
		{"a host that only looks similar", "", lan, "From: a@myhost.lan\n", "From: a@myhost.lan\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := rules(t, c.sender, c.pairs).Message(message(t, c.in))
			if err != nil {
				t.Fatal(err)
			}
			if h := text(t, got); h != c.want {
				t.Errorf("header\n%s\nwant\n%s", h, c.want)
			}
		})
	}
}

// TestSignaturesInPractice checks which messages a change of the author would
// damage. Encryption alone does not name an author.
func TestSignaturesInPractice(t *testing.T) {
	for _, c := range []struct{ name, rest, kind string }{
		{"Outlook's older media type", "Content-Type: application/x-pkcs7-mime; smime-type=signed-data; name=smime.p7m\n", "S/MIME"},
		{"a protocol in upper case", "Content-Type: multipart/signed; protocol=\"APPLICATION/PGP-SIGNATURE\"; boundary=b\n", "OpenPGP"},
		{"a protocol of its own", "Content-Type: multipart/signed; protocol=\"application/x-own\"; boundary=b\n", "S/MIME"},
		{"without smime-type it may be signed", "Content-Type: application/pkcs7-mime; name=smime.p7m\n", "S/MIME"},
		{"certificates only", "Content-Type: application/pkcs7-mime; smime-type=certs-only; name=smime.p7c\n", ""},
		{"OpenPGP encryption", "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n", ""},
		{"a detached signature as an attachment", "Content-Type: multipart/mixed; boundary=m\n\n--m\n\ntext\n--m\nContent-Type: application/pgp-signature\n\nx\n--m--\n", ""},
		{"an OpenPGP key", "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n", ""},
		{"signed text after a greeting", "\nHello,\n\n-----BEGIN PGP SIGNED MESSAGE-----\n", "OpenPGP"},
		{"two levels down", "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; boundary=a\n\n--a\n" +
			"Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nx\n--a--\n--m--\n", "S/MIME"},
		{"results of an earlier check", "Authentication-Results: mx.example; dkim=pass\nARC-Seal: i=1\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := rules(t, "s@example.org", nil).Message(message(t, "From: a@x.example\n"+c.rest))
			var reply *mail.Reply
			switch {
			case c.kind == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.kind != "" && (!errors.As(err, &reply) || !strings.Contains(reply.Text, "signed ("+c.kind+")")):
				t.Errorf("error %v, want a refusal that names %s", err, c.kind)
			}
		})
	}
	const signature = "DKIM-Signature: v=1; d=x.example\r\n"
	m := message(t, strings.ReplaceAll(signature, "\r\n", "\n")+"From: a@x.example\n").Edited(nil, mail.Span{Start: 0, End: int64(len(signature))})
	if _, _, err := rules(t, "s@example.org", nil).Message(m); err != nil {
		t.Errorf("a signature that was removed: %v", err)
	}
}
