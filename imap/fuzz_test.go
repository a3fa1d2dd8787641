package imap

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"hoplite/internal/users"
	"hoplite/maildrop"
)

// FuzzServer sends the input to a complete server in four connection states:
// before login, after login, with a mailbox selected, and with a read-only
// mailbox selected. For any input, the session must end when the client is
// done, must not report a bug, and must send only complete lines.
func FuzzServer(f *testing.F) {
	seeds := []string{
		"a CAPABILITY\r\nb LOGIN ann x\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n", "a LOGIN {3}\r\nann {4+}\r\nword\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (CHILDREN STATUS (MESSAGES SIZE))\r\nb LSUB \"\" *\r\n",
		"a CREATE x\r\nb RENAME x y.z\r\nc DELETE y.z\r\nd SUBSCRIBE INBOX\r\ne STATUS INBOX (UNSEEN HIGHESTMODSEQ)\r\n",
		"a APPEND INBOX (\\Seen) {10+}\r\nA: b\r\n\r\nxx\r\nb APPEND x {3}\r\n",
		"a FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY[1.2.MIME]<0.5> BINARY.SIZE[1] PREVIEW MODSEQ)\r\n",
		"a SEARCH RETURN (ALL SAVE) OR TEXT x NOT (SINCE 1-Jan-2000 BODY {1+}\r\ny)\r\nb FETCH $ BODY[]\r\n",
		"a SORT (REVERSE SUBJECT DATE) UTF-8 ALL\r\nb THREAD REFERENCES UTF-8 ALL\r\nc UID THREAD REFS UTF-8 ALL\r\n",
		"a STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Deleted k)\r\nb EXPUNGE\r\nc UID EXPUNGE 1:*\r\n",
		"a COPY 1 INBOX\r\nb UID MOVE 2 INBOX\r\nc REPLACE 1 INBOX {5+}\r\nA: b\n\r\n",
		"a IDLE\r\nDONE\r\nb ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2\r\nc SELECT INBOX (QRESYNC (1 2 1:5 (1 1)))\r\n",
		"a APPEND INBOX (k) CATENATE (URL /INBOX/;UID=1/;SECTION=2 TEXT {3+}\r\nabc URL {15+}\r\n/INBOX/;UID=2/x)\r\n",
		"a ESEARCH IN (personal) RETURN (COUNT) TEXT x\r\nb UID SEARCH RETURN (UPDATE PARTIAL -1:-2) ALL\r\nc CANCELUPDATE \"b\"\r\n",
		"a SETMETADATA INBOX (/private/x {1+}\r\ny)\r\nb GETMETADATA (DEPTH 1) INBOX /private/x\r\nc LIST \"\" * RETURN (METADATA (/private/x))\r\n",
		"a ENABLE UIDONLY\r\nb UID FETCH 1:* (FLAGS) (PARTIAL 1:1)\r\nc UIDBATCHES 500\r\nd SORT (RELEVANCY) UTF-8 FUZZY TEXT \"x y\"\r\ne UNAUTHENTICATE\r\n",
		"a GETQUOTAROOT INBOX\r\nb ID (\"a\" NIL)\r\nc NAMESPACE\r\nd UNSELECT\r\ne CLOSE\r\n",
	}
	for i, s := range seeds {
		f.Add(byte(i), []byte(s))
	}
	d := openWith(f, Config{AppendLimit: 4096}, maildrop.Config{Quota: 200_000, QuotaMessages: 200},
		func(a users.Authenticator) users.Authenticator { return impatient{a} })
	c := d.login(f)
	c.put("INBOX", `\Seen`, "Subject: one\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html\n\n<p>y\n--b--\n")
	c.put("INBOX", "k", "Subject: Re: one\nReferences: <1@x>\n\nz\n")
	f.Fuzz(func(t *testing.T, state byte, input []byte) {
		nc, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		state %= 4
		if state > 0 {
			io.WriteString(nc, "x LOGIN ann \"secret word\"\r\n")
		}
		if state > 1 {
			io.WriteString(nc, [...]string{"y SELECT INBOX\r\n", "y EXAMINE INBOX\r\n"}[state-2])
		}
		go func() {
			nc.Write(input)
			io.WriteString(nc, "\r\n")
			nc.(*net.TCPConn).CloseWrite()
		}()
		out, err := io.ReadAll(nc)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("%v after %q", err, out)
		}
		if bytes.Contains(out, []byte("SERVERBUG")) {
			t.Fatalf("%q\n%s", out, d.log)
		}
		if err == nil && !bytes.HasSuffix(out, []byte("\r\n")) && !bytes.Contains(bytes.ToUpper(input), []byte("COMPRESS")) {
			t.Fatalf("half a line: %q", out)
		}
	})
}
