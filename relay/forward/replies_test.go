package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoplite/mail"
)

func readText(text string) (*mail.Reply, error) {
	return readReply(bufio.NewReaderSize(strings.NewReader(text), maxReplyLine))
}

// TestRepliesOfServers reads replies as large providers and old servers send
// them. The code decides whether a message is retried, the enhanced code what
// the sender is told.
func TestRepliesOfServers(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"Gmail refuses with a link", "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550-5.1.1 double-checking the recipient's email address.\r\n550 5.1.1 https://support.google.com/mail/?p=NoSuchUser x - gsmtp\r\n",
			"550 5.1.1 The email account that you tried to reach does not exist. Please try / double-checking the recipient's email address. / https://support.google.com/mail/?p=NoSuchUser x - gsmtp"},
		{"Outlook names its server at the end", "550 5.7.606 Access denied, banned sending IP [192.0.2.1] [AM0PR.eurprd.example]\r\n", "550 5.7.606 Access denied, banned sending IP [192.0.2.1] [AM0PR.eurprd.example]"},
		{"Yahoo puts its own code first", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred\r\n", "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"},
		{"Exim has no enhanced code", "550 Unrouteable address\r\n", "550 Unrouteable address"},
		{"an enhanced code in brackets is text", "550 [5.1.1] no\r\n", "550 [5.1.1] no"},
		{"a number that only looks like one", "250 2.5 GB free\r\n", "250 2.5 GB free"},
		{"a version number", "220 2.0.0.1 ready\r\n", "220 2.0.0.1 ready"},
		{"an enhanced code with a colon is text", "550 5.1.1: no\r\n", "550 5.1.1: no"},
		{"an enhanced code alone", "250 2.0.0\r\n", "250 2.0.0"},
		{"the code of the first line that has one", "550-no\r\n550 5.1.1 such user\r\n", "550 5.1.1 no / such user"},
		{"two enhanced codes: the last line's", "550-5.7.1 a\r\n550 5.1.1 b\r\n", "550 5.1.1 a / b"},
		{"a tab after the code is no reply", "250\tok\r\n", "error"},
		{"a hyphen in the last line's text", "250 -\r\n", "250 -"},
		{"UTF-8 text", "550 Empf\u00e4nger unbekannt\r\n", "550 Empf\u00e4nger unbekannt"},
		{"Latin-1 text", "550 Empf\xe4nger\r\n", "550 Empf?nger"},
		{"an empty first line with a code", "250-\r\n250 ok\r\n", "250  / ok"},
		{"a notice before the reply", "*** filtered ***\r\n\r\n250 ok\r\n", "250 ok"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n", "error"},
		{"a TLS alert", "\x15\x03\x03\x00\x02\x02\x28\r\n", "error"},
		{"code 199", "199 x\r\n", "error"},
		{"a code of four digits", "2500 x\r\n", "error"},
		{"white space first", " 250 ok\r\n", "error"},
	} {
		got := "error"
		if r, err := readText(c.in); err == nil {
			got = r.String()
		} else if !errors.Is(err, errGarbage) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestOffersOfServers reads EHLO replies. What is read from them decides which
// commands are sent, so that unknown and malformed lines must change nothing.
func TestOffersOfServers(t *testing.T) {
	shown := func(c caps) string {
		var on []string
		for name, ok := range map[string]bool{"PIPELINING": c.pipelining, "8BITMIME": c.eightBit, "CHUNKING": c.chunking, "BINARYMIME": c.binary, "SMTPUTF8": c.utf8, "DSN": c.dsn,
			"STARTTLS": c.startTLS, "REQUIRETLS": c.requireTLS, "ENHANCEDSTATUSCODES": c.enhanced} {
			if ok {
				on = append(on, name)
			}
		}
		slices.Sort(on)
		if c.sizeKnown {
			on = append(on, fmt.Sprint("SIZE ", c.size))
		}
		if len(c.auth) > 0 {
			on = append(on, "AUTH "+strings.Join(c.auth, ","))
		}
		if len(c.xclient) > 0 {
			on = append(on, "XCLIENT "+strings.Join(c.xclient, ","))
		}
		return strings.Join(on, " ")
	}
	for _, c := range []struct {
		name, text, want string
		disabled         []string
	}{
		{"Postfix", "mail.example.net\nPIPELINING\nSIZE 10240000\nETRN\nSTARTTLS\nENHANCEDSTATUSCODES\n8BITMIME\nDSN\nSMTPUTF8\nCHUNKING", "8BITMIME CHUNKING DSN ENHANCEDSTATUSCODES PIPELINING SMTPUTF8 STARTTLS SIZE 10240000", nil},
		{"Exchange", "ex.example.net Hello [192.0.2.1]\nSIZE 37748736\nPIPELINING\nDSN\nENHANCEDSTATUSCODES\nSTARTTLS\nX-ANONYMOUSTLS\nAUTH NTLM\nX-EXPS GSSAPI NTLM\n8BITMIME\nBINARYMIME\nCHUNKING\nXRDST", "8BITMIME BINARYMIME CHUNKING DSN ENHANCEDSTATUSCODES PIPELINING STARTTLS SIZE 37748736 AUTH NTLM", nil},
		{"old servers repeat AUTH with an equals sign", "old\nAUTH LOGIN PLAIN\nAUTH=LOGIN", "AUTH LOGIN,PLAIN,LOGIN", nil},
		{"only the form with an equals sign", "old\nAUTH=LOGIN PLAIN", "AUTH LOGIN,PLAIN", nil},
		{"lower case", "old\nsize 100\npipelining\nauth plain", "PIPELINING SIZE 100 AUTH PLAIN", nil},
		{"SIZE without a number", "old\nSIZE", "SIZE 0", nil},
		{"SIZE with something else", "old\nSIZE unlimited", "SIZE 0", nil},
		{"the greeting is no extension", "PIPELINING\nDSN", "DSN", nil},
		{"a keyword with a suffix is another one", "old\nPIPELINING2\nX-DSN\n8BITMIMES", "", nil},
		{"empty lines", "old\n\n  \nDSN", "DSN", nil},
		{"disabled ones", "old\nPIPELINING\nCHUNKING\nSIZE 5", "SIZE 5", []string{"pipelining", "Chunking"}},
		{"AUTH is disabled in both forms", "old\nAUTH PLAIN\nAUTH=LOGIN", "", []string{"AUTH"}},
		{"XCLIENT", "old\nXCLIENT NAME ADDR proto", "XCLIENT NAME,ADDR,PROTO", nil},
		{"nothing", "old", "", nil},
	} {
		if got := shown(parseCaps(c.text, c.disabled)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for arg, want := range map[string][3]int{
		"MAILMAX=100 RCPTMAX=50 RCPTDOMAINMAX=1": {100, 50, 1}, "rcptmax=7": {0, 7, 0}, "RCPTMAX=0": {}, "RCPTMAX=-1": {}, "RCPTMAX=1000000": {}, "RCPTMAX": {}, "RCPTMAX=x OTHER=3": {}, "RCPTMAX=2 RCPTMAX=3": {0, 3, 0},
	} {
		if c := parseCaps("old\nLIMITS "+arg, nil); [3]int{c.mailMax, c.rcptMax, c.domainMax} != want {
			t.Errorf("LIMITS %s: %d, %d, %d", arg, c.mailMax, c.rcptMax, c.domainMax)
		}
	}
}

// TestIDsOfServers finds the id under which the other side's log has the
// message.
func TestIDsOfServers(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"Postfix", "Ok: queued as 4XyZ12AbCd", "4XyZ12AbCd"},
		{"Postfix behind a filter", "OK: queued as ABC, from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as DEF", "ABC"},
		{"Exim", "OK id=1rABCD-00000000123-0xYZ", "1rABCD-00000000123-0xYZ"},
		{"Sendmail", "4ANAbc123456 Message accepted for delivery", "4ANAbc123456"},
		{"Exchange", "<1@example.org> [InternalId=12345678901, Hostname=EX1.example.net] 5432 bytes in 0.1, 50 KB/sec Queued mail for delivery", "12345678901"},
		{"Gmail has none that its owner can look up", "OK 1700000000 x12-20020a05600c1c0c00b003si123wmb.1 - gsmtp", ""},
		{"in capitals", "OK: QUEUED AS ABC123", "ABC123"},
		{"in brackets", "queued as <ABC123>", "ABC123"},
		{"with a full stop", "Message queued as ABC123.", "ABC123"},
		{"of this program", "2.0.0 queued as 01m8pv882fdkv5my", "01m8pv882fdkv5my"},
		{"an id that is not there", "queued as", ""},
		{"an empty one", "OK id=", ""},
		{"words that only look like it", "as queued, message not accepted", ""},
	} {
		if got := remoteID(c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// timeout is an error as the net package returns it when time is over.
type timeout struct{ error }

func (timeout) Timeout() bool { return true }

// TestErrorsInPlainWords checks the text of replies about failed connections:
// the stage and the cause, without addresses of our own network.
func TestErrorsInPlainWords(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 25}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"refused", &stageError{stage: "connect", err: dial}, "connect: connection refused"},
		{"no route", &stageError{stage: "connect", err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, "connect: no route to host"},
		{"too slow", &stageError{stage: "RCPT", err: timeout{errors.New("i/o timeout")}}, "RCPT: no answer in time"},
		{"a deadline", &stageError{stage: "EHLO", err: fmt.Errorf("read: %w", os.ErrDeadlineExceeded)}, "EHLO: no answer in time"},
		{"stopped by us", &stageError{stage: "TLS", err: context.Canceled}, "TLS: stopped"},
		{"closed", &stageError{stage: "greeting", err: io.EOF}, "greeting: the server closed the connection"},
		{"closed in a line", &stageError{stage: "greeting", err: io.ErrUnexpectedEOF}, "greeting: the server closed the connection"},
		{"not SMTP keeps its text", &stageError{stage: "greeting", err: fmt.Errorf("%w: %q", errGarbage, "SSH-2.0")}, `greeting: the server's answer is not SMTP: "SSH-2.0"`},
		{"a stage inside another error", fmt.Errorf("upstream: %w", &stageError{stage: "AUTH", err: errors.New("no mechanism")}), "AUTH: no mechanism"},
		{"without a stage", dial, "connection refused"},
	} {
		if got := plainError(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for err, want := range map[error]bool{io.EOF: true, io.ErrUnexpectedEOF: true, error(syscall.ECONNRESET): true, os.ErrDeadlineExceeded: false, error(syscall.ECONNREFUSED): false, context.Canceled: false} {
		if isClosed(fmt.Errorf("read: %w", err)) != want {
			t.Errorf("isClosed(%v) is %v", err, !want)
		}
	}
}

// TestServersInConfiguration reads the URLs of servers.
func TestServersInConfiguration(t *testing.T) {
	for _, c := range []struct {
		name, text, want string // network, address and weight; "" means an error
	}{
		{"the port by default", "smtp://mail.example.net", "tcp mail.example.net:25 1"},
		{"another port", "smtp://mail.example.net:587", "tcp mail.example.net:587 1"},
		{"implicit TLS", "smtps://mail.example.net", "tcp mail.example.net:465 1"},
		{"LMTP", "lmtp://192.0.2.10", "tcp 192.0.2.10:24 1"},
		{"an IPv6 address", "smtp://[2001:db8::1]:25", "tcp [2001:db8::1]:25 1"},
		{"an IPv6 address without a port", "smtp://[2001:db8::1]", "tcp [2001:db8::1]:25 1"},
		{"a socket", "lmtp+unix:///run/dovecot/lmtp", "unix /run/dovecot/lmtp 1"},
		{"a weight", "smtp://192.0.2.10?weight=3", "tcp 192.0.2.10:25 3"},
		{"a reserve", "smtp://192.0.2.10?weight=0", "tcp 192.0.2.10:25 0"},
		{"a slash at the end", "smtp://192.0.2.10/", "tcp 192.0.2.10:25 1"},
		{"a bare name", "mail.example.net", ""},
		{"a bare address with a port", "192.0.2.10:25", ""},
		{"an IPv6 address without brackets", "smtp://2001:db8::1:25", ""},
		{"an IPv6 address without brackets or a port", "smtp://2001:db8::1", ""},
		{"another protocol", "http://mail.example.net", ""},
		{"a password in the URL", "smtp://user:secret@mail.example.net", ""},
		{"a path", "smtp://mail.example.net/box", ""},
		{"no host", "smtp://:25", ""},
		{"a socket without a path", "lmtp+unix://", ""},
		{"a socket with a host", "lmtp+unix://run/dovecot/lmtp", ""},
		{"a negative weight", "smtp://192.0.2.10?weight=-1", ""},
		{"a weight that is none", "smtp://192.0.2.10?weight=high", ""},
		{"a weight too large", "smtp://192.0.2.10?weight=1001", ""},
		{"empty", "", ""},
	} {
		got := ""
		if s, err := parseServer(c.text); err == nil {
			got = fmt.Sprint(s.network, " ", s.address, " ", s.weight)
		} else if strings.Contains(err.Error(), "secret") && c.name != "a password in the URL" {
			t.Errorf("%s: %v", c.name, err)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestRecipientFiles reads lists of recipients, among them a Postfix map.
func TestRecipientFiles(t *testing.T) {
	for _, c := range []struct {
		name, text string
		has, lacks []mail.Address
		bad        string
	}{
		{"a Postfix map", "ann@example.org\tOK\n@example.net  OK\n", []mail.Address{"ann@example.org", "x@example.net"}, []mail.Address{"bob@example.org", "x@sub.example.net"}, ""},
		{"Windows line endings", "ann@example.org\r\nbob@example.org\r\n", []mail.Address{"ann@example.org", "bob@example.org"}, nil, ""},
		{"comments and empty lines", "# all\n\n  ann@example.org # left\n", []mail.Address{"ann@example.org"}, []mail.Address{"left@example.org"}, ""},
		{"capitals in the file", "Ann@EXAMPLE.org\n", []mail.Address{"ann@example.org", "ANN@example.org"}, nil, ""},
		{"a domain in U-labels", "@b\u00fccher.example\n", []mail.Address{"x@xn--bcher-kva.example", "x@b\u00fccher.example"}, nil, ""},
		{"no recipients at all", "", nil, []mail.Address{"ann@example.org"}, ""},
		{"a name without a domain", "ann\n", nil, nil, `people:1: "ann"`},
		{"the line of an error", "ann@example.org\nno address\n", nil, nil, `people:2: "no"`},
		{"a domain that is none", "@\n", nil, nil, "people:1:"},
	} {
		path := filepath.Join(t.TempDir(), "people")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f := &rcptFile{path: path}
		for want, list := range map[bool][]mail.Address{true: c.has, false: c.lacks} {
			for _, a := range list {
				if got, err := f.has(a); got != want || err != nil {
					t.Errorf("%s: %s: %v, %v", c.name, a, got, err)
				}
			}
		}
		if _, err := f.has("ann@example.org"); c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s: %v, want %s", c.name, err, c.bad)
		}
	}
}

// TestWhenAllAreDown checks when an upstream counts as down, and since when.
func TestWhenAllAreDown(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, c := range []struct {
		name    string
		servers []ServerHealth
		since   time.Time
		reason  string
		down    bool
	}{
		{"none was tried", nil, time.Time{}, "", false},
		{"the only one is down", []ServerHealth{{Server: "a", Down: early, Reason: "refused"}}, early, "refused", true},
		{"one of two answers", []ServerHealth{{Server: "a", Down: early, Reason: "refused"}, {Server: "b"}}, time.Time{}, "", false},
		{"both are down: since the second failed", []ServerHealth{{Server: "a", Down: late, Reason: "silent"}, {Server: "b", Down: early, Reason: "refused"}}, late, "silent", true},
	} {
		h := Health{Servers: c.servers}
		if since, reason, down := h.Down(); !since.Equal(c.since) || reason != c.reason || down != c.down {
			t.Errorf("%s: %v, %q, %v", c.name, since, reason, down)
		}
	}
}
