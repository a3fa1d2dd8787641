package authority

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/users"
)

func TestVerdicts(t *testing.T) {
	for response, want := range map[string]string{
		"OK Logged in": "good", "ok": "good", "OK [CAPABILITY IMAP4rev1] in": "good",
		"NO [AUTHENTICATIONFAILED] no": "refused", "NO wrong password": "refused", "NO [EXPIRED] change it": "refused", "no": "refused",
		"NO [UNAVAILABLE] later": "temporary", "NO [unavailable] later": "temporary", "NO [LIMIT] too many": "temporary",
		"NO [INUSE]": "temporary", "NO [PRIVACYREQUIRED] use TLS": "temporary", "BAD what": "temporary", "": "temporary", "OKAY": "temporary",
	} {
		if got := kind(imapVerdict(response)); got != want {
			t.Errorf("%q: %s, want %s", response, got, want)
		}
	}
	for code, want := range map[int]string{
		235: "good", 535: "refused", 534: "refused", 525: "refused", 250: "temporary", 334: "temporary", 421: "temporary",
		454: "temporary", 500: "temporary", 503: "temporary", 504: "temporary", 538: "temporary", 530: "temporary",
	} {
		if got := kind(smtpVerdict(code, "text")); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

func kind(err error) string {
	switch {
	case err == nil:
		return "good"
	case errors.Is(err, errRefused):
		return "refused"
	}
	return "temporary"
}

func TestPairs(t *testing.T) {
	p := newPairs(time.Minute, time.Hour)
	start := time.Now()
	p.add("ann@x", "secret", "ann.smith@x", start)
	for _, tc := range []struct {
		name, password string
		down           bool
		after          time.Duration
		ok             bool
	}{
		{"ann@x", "secret", false, 0, true},
		{"ann@x", "secret", false, time.Minute, false},
		{"ann@x", "secret", true, time.Minute, true},
		{"ann@x", "secret", true, time.Hour, false},
		{"ann@x", "Secret", true, 0, false},
		{"ann@", "xsecret", true, 0, false},
		{"bob@x", "secret", true, 0, false},
	} {
		account, ok := p.get(tc.name, tc.password, tc.down, start.Add(tc.after))
		if ok != tc.ok || ok && account != "ann.smith@x" {
			t.Errorf("%+v: %q, %t", tc, account, ok)
		}
	}
	p.remove("ann@x", "secret")
	if _, ok := p.get("ann@x", "secret", true, start); ok {
		t.Error("a refused password is still known")
	}
}

// peer is a server with a script: the greeting, then a reply to each line by its
// first matching prefix, in which TAG is the client's tag.
type peer struct {
	net.Listener
	mu    sync.Mutex
	lines []string
	tls   *tls.Config
}

func newPeer(t *testing.T, settings *tls.Config, implicit bool, greeting string, replies ...[2]string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l, tls: settings}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if implicit {
				c = tls.Server(c, settings)
			}
			go p.serve(c, greeting, replies)
		}
	}()
	return p
}

func (p *peer) serve(c net.Conn, greeting string, replies [][2]string) {
	defer func() { c.Close() }()
	in := bufio.NewReader(c)
	fmt.Fprint(c, greeting)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		text = strings.TrimRight(text, "\r\n")
		p.mu.Lock()
		p.lines = append(p.lines, text)
		p.mu.Unlock()
		tag, rest, _ := strings.Cut(text, " ")
		for _, r := range replies {
			if !strings.HasPrefix(text, r[0]) && !strings.HasPrefix(rest, r[0]) {
				continue
			}
			fmt.Fprint(c, strings.ReplaceAll(r[1], "TAG", tag))
			if strings.Contains(text, "STARTTLS") && p.tls != nil {
				c = tls.Server(c, p.tls)
				in = bufio.NewReader(c)
			}
			break
		}
	}
}

func (p *peer) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// certificate returns a server certificate for example.com, and the file with it.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return web.TLS, file
}

// open returns an authority whose server has a name of its own but runs here.
func open(t *testing.T, login, host, address, ca string, change func(*Config)) *Authority {
	t.Helper()
	c := Config{Name: "example.org", Login: login + "://" + host, CA: ca}
	conf.Defaults(&c)
	if change != nil {
		change(&c)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	a, err := New(c, Env{Hostname: "mail.example.org", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	a.checker.(*remote).address = address
	return a
}

const annSecret = "AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=" // \0ann@example.org\0secret

var (
	goodIMAP = [][2]string{
		{"CAPABILITY", "* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\nTAG OK\r\n"}, {"STARTTLS", "TAG OK go\r\n"},
		{"AUTHENTICATE PLAIN", "+ \r\n"}, {annSecret, "* OK noise\r\nh4 OK in\r\n"}, {"AGFub", "h4 NO [AUTHENTICATIONFAILED] no\r\n"},
	}
	goodSMTP = [][2]string{
		{"EHLO", "250-old\r\n250-STARTTLS\r\n250 AUTH LOGIN PLAIN\r\n"}, {"STARTTLS", "220 go\r\n"},
		{"AUTH PLAIN " + annSecret, "235 2.7.0 in\r\n"}, {"AUTH PLAIN", "535 5.7.8 no\r\n"},
	}
)

// swap returns replies with one of them replaced.
func swap(replies [][2]string, prefix, reply string) [][2]string {
	return append([][2]string{{prefix, reply}}, replies...)
}

func TestDialogues(t *testing.T) {
	settings, ca := certificate(t)
	imapTLS := [][2]string{{"AUTHENTICATE PLAIN", "+ \r\n"}, {annSecret, "h2 OK in\r\n"}, {"AGFub", "h2 NO no\r\n"}}
	imapTLS = append(imapTLS, goodIMAP...)
	loginOnly := swap(swap(goodIMAP, "CAPABILITY", "* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK\r\n"), `LOGIN "ann@example.org" "secret"`, "TAG OK\r\n")
	smtpLogin := swap(goodSMTP, "EHLO", "250-old\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n")
	smtpLogin = append([][2]string{{"AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"}, {"YW5uQGV4YW1wbGUub3Jn", "334 UGFzc3dvcmQ6\r\n"}, {"c2VjcmV0", "235 in\r\n"}}, smtpLogin...)
	long := strings.Repeat("x", maxReplies+10)
	for _, tc := range []struct {
		name, login, host, greeting string
		replies                     [][2]string
		want, wrong                 string // verdict on the right password and on a wrong one
	}{
		{"IMAP", "imap", "example.com", "* OK hi\r\n", goodIMAP, "good", "refused"},
		{"IMAPS", "imaps", "example.com", "* OK hi\r\n", imapTLS, "good", "refused"},
		{"IMAP with LOGIN only", "imap", "example.com", "* OK hi\r\n", loginOnly, "good", ""},
		{"SMTP", "submission", "example.com", "220 hi\r\n", goodSMTP, "good", "refused"},
		{"SMTPS", "smtps", "example.com", "220 hi\r\n", goodSMTP, "good", "refused"},
		{"SMTP with LOGIN only", "smtp", "example.com", "220 hi\r\n", smtpLogin, "good", ""},
		{"clear text here", "imap", "localhost", "* OK hi\r\n", imapTLS, "good", "refused"},
		{"PREAUTH", "imap", "example.com", "* PREAUTH hi\r\n", goodIMAP, "temporary", "temporary"},
		{"BYE", "imap", "example.com", "* BYE busy\r\n", goodIMAP, "temporary", "temporary"},
		{"wrong name", "imap", "old.example.net", "* OK hi\r\n", goodIMAP, "temporary", "temporary"},
		{"wrong name, SMTP", "smtps", "old.example.net", "220 hi\r\n", goodSMTP, "temporary", "temporary"},
		{"no STARTTLS", "imap", "example.com", "* OK hi\r\n", swap(goodIMAP, "CAPABILITY", "* CAPABILITY AUTH=PLAIN\r\nTAG OK\r\n"), "temporary", "temporary"},
		{"no STARTTLS, SMTP", "smtp", "example.com", "220 hi\r\n", swap(goodSMTP, "EHLO", "250 AUTH PLAIN\r\n"), "temporary", "temporary"},
		{"STARTTLS refused", "imap", "example.com", "* OK hi\r\n", swap(goodIMAP, "STARTTLS", "TAG NO no\r\n"), "temporary", "temporary"},
		{"injected", "smtp", "example.com", "220 hi\r\n", swap(goodSMTP, "STARTTLS", "220 go\r\n250 AUTH PLAIN\r\n"), "temporary", "temporary"},
		{"LOGINDISABLED", "imap", "example.com", "* OK hi\r\n", swap(goodIMAP, "CAPABILITY", "* CAPABILITY LOGINDISABLED STARTTLS\r\nTAG OK\r\n"), "temporary", "temporary"},
		{"unavailable", "imaps", "example.com", "* OK hi\r\n", swap(imapTLS, "AGFub", "h2 NO [UNAVAILABLE] later\r\n"), "temporary", "temporary"},
		{"unavailable, SMTP", "smtps", "example.com", "220 hi\r\n", swap(goodSMTP, "AUTH", "454 4.7.0 later\r\n"), "temporary", "temporary"},
		{"no mechanism", "smtps", "example.com", "220 hi\r\n", swap(goodSMTP, "EHLO", "250-old\r\n250 AUTH GSSAPI\r\n"), "temporary", "temporary"},
		{"endless line", "imaps", "example.com", "* OK hi\r\n", swap(imapTLS, "CAPABILITY", "* "+long), "temporary", "temporary"},
		{"endless lines", "smtps", "example.com", "220 hi\r\n", swap(goodSMTP, "EHLO", strings.Repeat("250-x\r\n", 10000)), "temporary", "temporary"},
		{"not SMTP", "smtps", "example.com", "* OK hi\r\n", goodSMTP, "temporary", "temporary"},
		{"repeats the password", "smtps", "example.com", "220 hi\r\n", swap(goodSMTP, "AUTH", "501 "+annSecret+" secret\r\n"), "temporary", "temporary"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPeer(t, settings, tc.login == "imaps" || tc.login == "smtps", tc.greeting, tc.replies...)
			a := open(t, tc.login, tc.host, p.Addr().String(), ca, func(c *Config) { c.Timeout = 5 * time.Second })
			for password, want := range map[string]string{"secret": tc.want, "wrong": tc.wrong} {
				if want == "" {
					continue
				}
				account, err := a.checker.check(t.Context(), "ann@example.org", password)
				if kind(err) != want || err == nil && account != "ann@example.org" {
					t.Errorf("%s: %q, %v", password, account, err)
				}
				if err != nil && (strings.Contains(err.Error(), password) || password == "secret" && strings.Contains(err.Error(), annSecret)) {
					t.Errorf("the password is in the error: %v", err)
				}
			}
			if said := p.said(); tc.host == "old.example.net" && strings.Contains(said, "AG") || strings.Contains(tc.name, "no STARTTLS") && strings.Contains(said, "AUTH") {
				t.Errorf("the password was sent: %s", said)
			}
		})
	}
}

func TestOddNames(t *testing.T) {
	p := newPeer(t, nil, false, "* OK hi\r\n", goodIMAP...)
	a := open(t, "imap", "localhost", p.Addr().String(), "", nil)
	for _, password := range []string{"", "a\r\nb", "a\x00b"} {
		if _, err := a.checker.check(t.Context(), "ann@example.org", password); !errors.Is(err, errRefused) {
			t.Errorf("%q: %v", password, err)
		}
	}
	if said := p.said(); said != "" {
		t.Errorf("the server was asked: %s", said)
	}
	if got := quote(`a"b\c`); got != `"a\"b\\c"` {
		t.Error(got)
	}
}

// fake is a checker that counts.
type fake struct {
	asked, running, most atomic.Int32
	err                  atomic.Pointer[error]
	wait                 time.Duration
}

func (f *fake) check(_ context.Context, name, password string) (string, error) {
	f.asked.Add(1)
	if n := f.running.Add(1); n > f.most.Load() {
		f.most.Store(n)
	}
	defer f.running.Add(-1)
	time.Sleep(f.wait)
	if err := f.err.Load(); err != nil {
		return "", *err
	}
	if password != "secret" {
		return "", errRefused
	}
	return name, nil
}

func (f *fake) probe(context.Context) error { return nil }

// accounts returns the accounts of this server with an authority for
// example.org.
func accounts(t *testing.T, f *fake, log zerolog.Logger) *Accounts {
	t.Helper()
	store, err := users.Open(filepath.Join(t.TempDir(), "users"), []string{"localhost"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	err = store.Update(func(b *users.Book) error {
		ann := &users.Account{Name: "ann@example.org", Roles: []string{users.Admin}}
		local := &users.Account{Name: "root@localhost"}
		return errors.Join(ann.SetPassword("phone", "app-secret"), b.Add(ann), local.SetPassword("", "root-secret"), b.Add(local))
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Name: "example.org", Login: "imaps://old.example.org"}
	conf.Defaults(c)
	c.Connections = 2
	a, err := NewAccounts(store, []*Config{c}, Env{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	a.authorities["example.org"].checker = f
	return a
}

func TestAccounts(t *testing.T) {
	f := &fake{}
	var log bytes.Buffer
	a := accounts(t, f, zerolog.New(&log))
	for _, tc := range []struct {
		name, password, account string
		asked                   int32
	}{
		{"ann@example.org", "app-secret", "ann@example.org", 0},
		{"ann@example.org", "secret", "ann@example.org", 1},
		{"Ann@Example.org", "secret", "ann@example.org", 0}, // remembered
		{"ann", "secret", "ann@example.org", 0},
		{"bob@example.org", "secret", "bob@example.org", 1}, // no account here
		{"bob@example.org", "wrong", "", 1},
		{"bob@example.org", "", "", 1},
		{"root", "root-secret", "root@localhost", 0},
		{"root", "secret", "", 0},
		{"eve@example.net", "secret", "", 0},
		{"a/b@example.org", "secret", "", 0},
	} {
		before := f.asked.Load()
		got, err := a.Verify(t.Context(), tc.name, tc.password)
		if tc.account == "" && err != users.ErrBadLogin || tc.account != "" && (err != nil || got.Name != tc.account) {
			t.Errorf("%s %q: %+v, %v", tc.name, tc.password, got, err)
		}
		if n := f.asked.Load() - before; n != tc.asked {
			t.Errorf("%s %q: asked %d times", tc.name, tc.password, n)
		}
		if err == nil && tc.account == "ann@example.org" && !got.Is(users.Admin) {
			t.Error("the role of the account here is lost")
		}
	}
	if a.SCRAMReady() {
		t.Error("SCRAM would be announced")
	}
	down := errors.New("connection refused")
	f.err.Store(&down)
	authority := a.authorities["example.org"]
	authority.pairs.fresh = 0
	for _, tc := range []struct {
		name, password string
		ok             bool
	}{{"ann@example.org", "app-secret", true}, {"bob@example.org", "secret", true}, {"bob@example.org", "wrong", false}, {"new@example.org", "secret", false}} {
		_, err := a.Verify(t.Context(), tc.name, tc.password)
		if tc.ok != (err == nil) || errors.Is(err, users.ErrBadLogin) {
			t.Errorf("down: %s %q: %v", tc.name, tc.password, err)
		}
	}
	if authority.Outage().Since.IsZero() {
		t.Error("no outage")
	}
	next := accounts(t, f, zerolog.Nop()).authorities["example.org"]
	next.Inherit(authority)
	if _, err := next.verify(t.Context(), "bob@example.org", "secret"); err != nil {
		t.Errorf("after a reload: %v", err)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || strings.Contains(text, "secret") {
		t.Errorf("log: %s", text)
	}
}

// What a server replies to one login does not block the logins of others.
func TestOneOddLogin(t *testing.T) {
	f := &fake{}
	a := accounts(t, f, zerolog.Nop())
	for _, reply := range []error{imapVerdict("BAD line too long"), smtpVerdict(454, "busy")} {
		f.err.Store(&reply)
		if _, err := a.Verify(t.Context(), "eve@example.org", "secret"); err == nil || errors.Is(err, users.ErrBadLogin) {
			t.Errorf("%v", err)
		}
		if a.authorities["example.org"].Outage().Reason != reply.Error() {
			t.Error("no outage")
		}
		f.err.Store(nil)
		if _, err := a.Verify(t.Context(), "bob@example.org", "secret"); err != nil {
			t.Errorf("another user: %v", err)
		}
		a.authorities["example.org"].pairs.known.Purge()
	}
	asked := f.asked.Load()
	if _, err := a.Verify(t.Context(), "eve@example.org", strings.Repeat("x", maxPassword+1)); err != users.ErrBadLogin || f.asked.Load() != asked {
		t.Errorf("a long password: %v", err)
	}
}

func TestConcurrentChecks(t *testing.T) {
	f := &fake{wait: 5 * time.Millisecond}
	a := accounts(t, f, zerolog.Nop())
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { a.Verify(t.Context(), fmt.Sprintf("u%d@example.org", i), "secret") })
	}
	all.Wait()
	if f.most.Load() > 2 || f.asked.Load() != 20 {
		t.Errorf("%d checks, %d at a time", f.asked.Load(), f.most.Load())
	}
}

func TestConfig(t *testing.T) {
	for login, ok := range map[string]bool{
		"imaps://old.example.org": true, "imap://old:1143": true, "submission://old": true, "smtps://[2001:db8::1]": true, "directory:ad": true,
		"directory:": false, "old.example.org": false, "pop3://old": false, "imaps://": false, "imaps://u:p@old": false, "imaps://old/INBOX": false,
	} {
		c := Config{Name: "example.org", Login: login}
		conf.Defaults(&c)
		if err := c.Check(); (err == nil) != ok {
			t.Errorf("%s: %v", login, err)
		}
	}
	for host, local := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "192.0.2.1": false, "localhost.example.org": false} {
		if (server{host: host}).isLocal() != local {
			t.Error(host)
		}
	}
	if got := base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00secret")); got != annSecret {
		t.Error(got)
	}
}

// FuzzDialogue checks that no server can confuse the dialogues, and that only a
// clear reply is a success.
func FuzzDialogue(f *testing.F) {
	f.Add("* OK hi\r\n* CAPABILITY AUTH=PLAIN\r\nh1 OK\r\n+ \r\nh2 OK\r\n", false)
	f.Add("220 hi\r\n250-x\r\n250 AUTH PLAIN\r\n235 ok\r\n", true)
	f.Add("220", true)
	f.Fuzz(func(t *testing.T, replies string, smtp bool) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			go bufio.NewReader(there).WriteTo(discard{})
			fmt.Fprint(there, replies)
			there.Close()
		}()
		l := &line{remote: &remote{server: server{host: "localhost", smtp: smtp}, helo: "x"}}
		l.use(here)
		open := openIMAP
		if smtp {
			open = openSMTP
		}
		d, err := open(t.Context(), l)
		if err == nil {
			err = d.login("ann", "secret")
		}
		if err == nil && !strings.Contains(replies, "235") && !strings.Contains(strings.ToUpper(replies), "OK") {
			t.Errorf("%q is a success", replies)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// changed is a directory in which a user has the given primary address.
type changed string

func (c changed) check(context.Context, string, string) (string, error) { return string(c), nil }
func (changed) probe(context.Context) error                             { return nil }

// A user who changes the address in the directory does not become a user of
// another domain.
func TestAddressInAnotherDomain(t *testing.T) {
	for address, ok := range map[string]bool{
		"ann@example.org": true, "Ann@Example.ORG": true, "ann@ad.example.org": true, "boss@example.com": false, "boss@example.org.evil.example": false,
	} {
		a, err := New(Config{Name: "ad.example.org", Login: "directory:ad", Timeout: time.Second, Connections: 1, KnownFor: time.Minute}, Env{Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		a.checker, a.domains = changed(address), []string{"ad.example.org", "example.org"}
		for range 2 {
			got, err := a.verify(t.Context(), "ann@ad.example.org", "secret")
			if ok && got != address || ok != (err == nil) {
				t.Errorf("%s: got %q, %v", address, got, err)
			}
		}
	}
}
