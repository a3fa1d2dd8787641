package milter

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"hoplite/filters"
	"hoplite/mail"
)

const testMail = "From: ann@example.org\r\nX-Old:  two  spaces\r\nSubject: a\r\n\tfolded\r\nX-Old: second\r\n\r\nHello\r\nWorld\r\n"

// double is a milter based on go-milter's server that records the commands it
// receives.
type double struct {
	gomilter.NoOpMilter
	mu    *sync.Mutex
	heard *[]string
	on    map[string]func(*gomilter.Modifier) (gomilter.Response, error)
}

func (d *double) note(what, detail string, m *gomilter.Modifier) (gomilter.Response, error) {
	d.mu.Lock()
	*d.heard = append(*d.heard, what+" "+detail)
	f := d.on[what]
	d.mu.Unlock()
	if f != nil {
		return f(m)
	}
	return gomilter.RespContinue, nil
}

func (d *double) Connect(host, family string, port uint16, addr net.IP, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("connect", host+" "+family+" "+addr.String(), m)
}
func (d *double) Helo(name string, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("helo", name, m)
}
func (d *double) MailFrom(from string, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("mail", from+" "+m.Macros["i"], m)
}
func (d *double) RcptTo(to string, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("rcpt", to, m)
}
func (d *double) Header(name, value string, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("header", name+":"+value, m)
}
func (d *double) Headers(_ textproto.MIMEHeader, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("eoh", "", m)
}
func (d *double) BodyChunk(chunk []byte, m *gomilter.Modifier) (gomilter.Response, error) {
	return d.note("chunk", string(chunk), m)
}
func (d *double) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	r, err := d.note("eom", "", m)
	if r == gomilter.RespContinue && err == nil {
		r = gomilter.RespAccept
	}
	return r, err
}

// serve runs a double and returns a filter that uses it.
func serve(t *testing.T, protocol gomilter.OptProtocol, on map[string]func(*gomilter.Modifier) (gomilter.Response, error), allow ...string) (*Filter, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var heard []string
	srv := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return &double{mu: &mu, heard: &heard, on: on} },
		Actions:   gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptChangeBody | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt | gomilter.OptChangeFrom | gomilter.OptQuarantine,
		Protocol:  protocol,
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return newFilter(t, "unix:"+path, allow...), func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(heard, "\n")
	}
}

func newFilter(t testing.TB, address string, allow ...string) *Filter {
	t.Helper()
	cfg := Config{Address: address, Allow: allow, ConnectTimeout: 10 * time.Second, CommandTimeout: 10 * time.Second, DataTimeout: 10 * time.Second, MaxBody: 1 << 20, KeepIdle: time.Minute}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, filters.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*Filter)
}

// send passes a message through all stages, as the chain does, and returns the
// stage at which it ended.
func send(t testing.TB, f *Filter, to ...mail.Address) (stage string, v filters.Verdict, m *mail.Message, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tx := mail.NewTransaction(mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:1234"), Helo: "mx.example.com"}, "ann@example.org")
	if v, err = f.AtMail(ctx, tx); err != nil || v.Action != "" {
		return "mail", v, nil, err
	}
	for _, a := range to {
		r := mail.Rcpt{To: a, Orig: a}
		if v, err = f.AtRcpt(ctx, tx, &r); err != nil {
			return "rcpt", v, nil, err
		}
		if v.Action == "" {
			tx.Envelope.Rcpts = append(tx.Envelope.Rcpts, r)
		}
	}
	if len(tx.Envelope.Rcpts) == 0 {
		return "rcpt", v, nil, nil
	}
	m, err = mail.NewMessage(mail.Bytes(testMail))
	if err != nil {
		t.Fatal(err)
	}
	v, err = f.AtData(ctx, tx, m)
	return "data", v, m, err
}

func TestAllStages(t *testing.T) {
	f, heard := serve(t, gomilter.OptHeaderLeadingSpace, nil)
	stage, v, _, err := send(t, f, "bob@example.com", "carl@example.com")
	if stage != "data" || v.Action != "" || err != nil {
		t.Fatalf("%s %v %v", stage, v, err)
	}
	got := heard()
	for i, want := range []string{
		"connect [192.0.2.1] tcp4 192.0.2.1\nhelo mx.example.com\nmail ann@example.org ", "rcpt bob@example.com\nrcpt carl@example.com\nheader From: ann@example.org\nheader X-Old:  two  spaces\nheader Subject: a\n\tfolded\n",
		"eoh \nchunk Hello\r\nWorld\r\n\neom ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%d: heard\n%s\nwant %q", i, got, want)
		}
	}
	if strings.Count(got, "connect") != 1 {
		t.Errorf("it connected again:\n%s", got)
	}
}

func TestStepsThatAreNotWanted(t *testing.T) {
	f, heard := serve(t, gomilter.OptNoConnect|gomilter.OptNoHelo|gomilter.OptNoRcptTo|gomilter.OptNoBody, nil)
	if stage, _, _, err := send(t, f, "bob@example.com"); stage != "data" || err != nil {
		t.Fatal(stage, err)
	}
	for _, not := range []string{"connect", "helo", "rcpt", "chunk"} {
		if strings.Contains(heard(), not) {
			t.Errorf("it was told of %s", not)
		}
	}
}

func respond(r gomilter.Response) func(*gomilter.Modifier) (gomilter.Response, error) {
	return func(*gomilter.Modifier) (gomilter.Response, error) { return r, nil }
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name, at string
		answer   gomilter.Response
		stage    string
		want     filters.Action
		reply    string
	}{
		{"reject at connect", "connect", gomilter.RespReject, "mail", "reject", "550 5.7.1 Message rejected by a content filter"},
		{"tempfail at helo", "helo", gomilter.RespTempFail, "mail", "defer", "451 4.7.1 Message deferred by a content filter, please try again later"},
		{"own words at mail", "mail", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "554 5.7.9 go away"), "mail", "reject", "554 5.7.9 go away"},
		{"own words, temporary", "rcpt", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "452 later"), "rcpt", "defer", "452 4.7.1 later"},
		{"reject at rcpt", "rcpt", gomilter.RespReject, "rcpt", "reject", "550 5.7.1 Message rejected by a content filter"},
		{"reject at header", "header", gomilter.RespReject, "data", "reject", "550 5.7.1 Message rejected by a content filter"},
		{"reject at body", "chunk", gomilter.RespReject, "data", "reject", "550 5.7.1 Message rejected by a content filter"},
		{"reject at the end", "eom", gomilter.RespReject, "data", "reject", "550 5.7.1 Message rejected by a content filter"},
		{"discard at mail", "mail", gomilter.RespDiscard, "data", "discard", ""},
		{"discard at the end", "eom", gomilter.RespDiscard, "data", "discard", ""},
		{"accept at once", "connect", gomilter.RespAccept, "data", "", ""},
		{"accept at header", "header", gomilter.RespAccept, "data", "", ""},
		{"enhanced code of another class", "eom", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "550 2.1.0 x"), "data", "reject", "550 5.7.1 2.1.0 x"},
		{"a bare code", "eom", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "5.7.2"), "data", "defer", "451 4.7.1 Message deferred by a content filter, please try again later"},
		{"a positive code", "eom", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "250 fine"), "data", "defer", "451 4.7.1 Message deferred by a content filter, please try again later"},
		{"lines", "eom", gomilter.NewResponseStr(byte(gomilter.ActReplyCode), "550-5.7.1 one\r\n550 5.7.1 two\x1b[1m"), "data", "reject", "550 5.7.1 one / two?[1m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := serve(t, 0, map[string]func(*gomilter.Modifier) (gomilter.Response, error){c.at: respond(c.answer)})
			stage, v, _, err := send(t, f, "bob@example.com")
			reply := ""
			if v.Reply != nil {
				reply = v.Reply.String()
			}
			if err != nil || stage != c.stage || v.Action != c.want || reply != c.reply {
				t.Errorf("%s %s %q, %v", stage, v.Action, reply, err)
			}
		})
	}
}

// A refused recipient does not end the message for the others.
func TestOneRecipientRefused(t *testing.T) {
	n := 0
	f, heard := serve(t, 0, map[string]func(*gomilter.Modifier) (gomilter.Response, error){"rcpt": func(*gomilter.Modifier) (gomilter.Response, error) {
		if n++; n == 1 {
			return gomilter.RespReject, nil
		}
		return gomilter.RespContinue, nil
	}})
	stage, v, _, err := send(t, f, "bad@example.com", "bob@example.com")
	if stage != "data" || v.Action != "" || err != nil || !strings.Contains(heard(), "eom") {
		t.Errorf("%s %v %v\n%s", stage, v, err, heard())
	}
}

// A recipient refused by a later filter must not be part of the message at DATA:
// the transaction is repeated.
func TestRecipientRefusedBehindIt(t *testing.T) {
	f, heard := serve(t, 0, nil)
	ctx := context.Background()
	tx := mail.NewTransaction(mail.Client{Addr: netip.MustParseAddrPort("[2001:db8::1]:25")}, "")
	f.AtMail(ctx, tx)
	f.AtRcpt(ctx, tx, &mail.Rcpt{To: "gone@example.com"})
	f.AtRcpt(ctx, tx, &mail.Rcpt{To: "bob@example.com"})
	tx.Envelope.Rcpts = []mail.Rcpt{{To: "bob@example.com"}}
	m, err := mail.NewMessage(mail.Bytes(testMail))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AtData(ctx, tx, m); err != nil {
		t.Fatal(err)
	}
	all := heard()
	if last := all[strings.LastIndex(all, "mail "):]; strings.Contains(last, "gone") || !strings.Contains(last, "rcpt bob@example.com\nheader") {
		t.Errorf("heard\n%s", all)
	}
}

func TestChanges(t *testing.T) {
	on := map[string]func(*gomilter.Modifier) (gomilter.Response, error){"eom": func(m *gomilter.Modifier) (gomilter.Response, error) {
		return gomilter.RespAccept, errors.Join(
			m.AddHeader("X-Spam", "no\nsecond: line"), m.InsertHeader(0, "X-First", "1"), m.ChangeHeader(2, "x-old", "changed"), m.ChangeHeader(1, "Subject", ""),
			m.ReplaceBody([]byte("new\nbody\rx")), m.AddRecipient("new@example.com"), m.DeleteRecipient("bob@example.com"), m.ChangeFrom("eve@example.com"), m.Quarantine("odd"))
	}}
	f, _ := serve(t, gomilter.OptHeaderLeadingSpace, on, "headers", "body", "recipients", "sender")
	_, v, m, err := send(t, f, "bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if v.Message != nil {
		m = v.Message
	}
	var out strings.Builder
	m.Edited(v.Top, v.Drop...).WriteTo(&out)
	want := "X-First: 1\r\nX-Spam: no\r\n\tsecond: line\r\nx-old: changed\r\nFrom: ann@example.org\r\nX-Old:  two  spaces\r\n\r\nnew\r\nbody x\r\n"
	if out.String() != want {
		t.Errorf("message is now\n%q, want\n%q", out.String(), want)
	}
	if v.Action != filters.Quarantine || v.From == nil || *v.From != "eve@example.com" || len(v.AddRcpts) != 1 || v.DropRcpts[0] != "bob@example.com" {
		t.Errorf("%+v", v)
	}

	f, _ = serve(t, 0, on)
	_, v, _, err = send(t, f, "bob@example.com")
	if err != nil || v.Message != nil || v.Top != nil || v.From != nil || v.AddRcpts != nil || v.Facts[len(v.Facts)-1].Value != "headers, sender, recipients, body" {
		t.Errorf("nothing was allowed: %+v, %v", v, err)
	}
}

// scripted starts a server that reads a command, runs play and closes the
// connection.
func scripted(t *testing.T, play func(net.Conn)) *Filter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				play(c)
			}()
		}
	}()
	f := newFilter(t, l.Addr().String(), "headers", "body")
	f.cfg.ConnectTimeout, f.cfg.CommandTimeout, f.cfg.DataTimeout = 300*time.Millisecond, 300*time.Millisecond, time.Second
	return f
}

func packet(cmd byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))) + string(cmd) + data
}

var negotiated = packet('O', "\x00\x00\x00\x06\x00\x00\x00\xff\x00\x08\x02\x6f") // only the body and the end are sent, and the body has no replies

func TestNoMilter(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(net.Conn)
		want string
	}{
		{"clamd", func(c net.Conn) {
			buf := make([]byte, 100)
			n, _ := c.Read(buf)
			if strings.HasPrefix(string(buf[:n]), "nPING") {
				io.WriteString(c, "PONG\n")
			} else {
				io.Copy(io.Discard, c)
			}
		}, "this is clamd"},
		{"clamd that complains", func(c net.Conn) { io.WriteString(c, "UNKNOWN COMMAND\n") }, "this is clamd"},
		{"web server", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "this is a web server"},
		{"SMTP server", func(c net.Conn) { io.WriteString(c, "220 mail.example.org ESMTP\r\n") }, "this is an SMTP server"},
		{"closes", func(net.Conn) {}, "negotiate with"},
		{"short", func(c net.Conn) { io.WriteString(c, packet('O', "x")) }, "not a milter"},
		{"too new", func(c net.Conn) { io.WriteString(c, packet('O', "\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00")) }, "version 9"},
		{"odd flags", func(c net.Conn) { io.WriteString(c, packet('O', "\x00\x00\x00\x06\x00\x00\x00\x00\xff\x00\x00\x00")) }, "not offered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, _, err := send(t, scripted(t, c.play), "bob@example.com"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	f := newFilter(t, "unix:/nonexistent/milter.sock")
	if _, _, _, err := send(t, f, "bob@example.com"); err == nil {
		t.Error("no milter and no error")
	}
}

// A broken or hostile program causes an error, never a partial change.
func TestBadAnswers(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":              "",
		"half a body":          packet('b', "half of it"),
		"endless progress":     strings.Repeat(packet('p', ""), 100_001),
		"unknown answer":       packet('Z', ""),
		"huge packet":          "\xff\xff\xff\xff",
		"empty packet":         "\x00\x00\x00\x00",
		"body without bound":   strings.Repeat(packet('b', strings.Repeat("x", 60000)), 20) + packet('c', ""),
		"a field without name": packet('h', "\x00x\x00") + packet('c', ""),
		"a field of two lines": packet('h', "X: a\r\nY\x00x\x00") + packet('c', ""),
		"change without place": packet('m', "xx") + packet('c', ""),
		"many fields":          strings.Repeat(packet('h', "X\x00y\x00"), 2000) + packet('c', ""),
		"large fields":         strings.Repeat(packet('h', "X\x00"+strings.Repeat("y", 60000)+"\x00"), 3) + packet('c', ""),
		"a bad recipient":      packet('+', "no address\x00") + packet('c', ""),
	} {
		t.Run(name, func(t *testing.T) {
			f := scripted(t, func(c net.Conn) {
				io.WriteString(c, negotiated)
				buf := make([]byte, 64<<10)
				for { // wait for the end of the message
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if strings.HasSuffix(string(buf[:n]), packet('E', "")) {
						break
					}
				}
				io.WriteString(c, said)
			})
			stage, v, _, err := send(t, f, "bob@example.com")
			if err == nil || stage != "data" || v.Message != nil || v.Top != nil {
				t.Errorf("%s %+v, %v", stage, v, err)
			}
		})
	}
}

func TestSkip(t *testing.T) {
	var chunks int
	f := scripted(t, func(c net.Conn) {
		io.WriteString(c, packet('O', "\x00\x00\x00\x06\x00\x00\x00\xff\x00\x00\x02\x6f")) // only the body has replies
		conn := newConn(c)
		for {
			cmd, _, err := conn.receive()
			if err != nil {
				return
			}
			switch cmd {
			case 'B':
				chunks++
				conn.send('s')
			case 'E':
				conn.send('c')
			}
		}
	})
	ctx := context.Background()
	tx := mail.NewTransaction(mail.Client{}, "")
	m, err := mail.NewMessage(mail.Bytes("A: b\r\n\r\n" + strings.Repeat("0123456789\r\n", 50_000)))
	if err != nil {
		t.Fatal(err)
	}
	f.cfg.DataTimeout = 10 * time.Second
	if v, err := f.AtData(ctx, tx, m); err != nil || v.Action != "" || chunks != 1 {
		t.Errorf("%v, %v, %d chunks", v, err, chunks)
	}
}

func TestProbe(t *testing.T) {
	f, _ := serve(t, 0, nil)
	if err := f.Probe(context.Background()); err != nil {
		t.Error(err)
	}
	if err := newFilter(t, "unix:/nonexistent/milter.sock").Probe(context.Background()); err == nil {
		t.Error("no milter and no error")
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{{}, {Address: "localhost"}, {Address: "x:1", Allow: []string{"everything"}}} {
		if c.Check() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// replies is a connection that returns prepared replies.
type replies struct {
	net.Conn
	io.Reader
}

func (r replies) Read(p []byte) (int, error)    { return r.Reader.Read(p) }
func (replies) Write(p []byte) (int, error)     { return len(p), nil }
func (replies) SetReadDeadline(time.Time) error { return nil }

func FuzzReplies(f *testing.F) {
	f.Add(packet('p', "") + packet('h', "X\x00y\nz\x00") + packet('m', "\x00\x00\x00\x01X-Old\x00\x00") + packet('b', "x\ny") + packet('c', ""))
	f.Add(packet('y', "550 5.7.1 no\x00"))
	f.Add("220 smtp\r\n")
	m, err := mail.NewMessage(mail.Bytes(testMail))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, said string) {
		s := &session{conn: newConn(replies{Reader: strings.NewReader(said)})}
		ch := newChanges(m, s, 1<<16)
		a, err := s.readReply(ch)
		if err != nil || a.verdict.Action != "" {
			return
		}
		e, _ := ch.apply(m, []string{"headers", "body", "recipients", "sender"})
		out := m
		if e.Message != nil {
			out = e.Message
		}
		var b strings.Builder
		if _, err := out.Edited(e.Top, e.Drop...).WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); strings.Count(got, "\r") != strings.Count(got, "\r\n") || strings.Count(got, "\n") != strings.Count(got, "\r\n") {
			t.Fatalf("bare CR or LF in %q", got)
		}
		for field := range mail.Fields(e.Top) {
			if field.Name == "" {
				t.Fatalf("a line that is no field in %q", e.Top)
			}
		}
	})
}
