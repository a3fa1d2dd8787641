package relay

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/users"
	"hoplite/mail"
	"hoplite/mail/alias"
	"hoplite/mail/story"
)

func resolver(t testing.TB, store *users.Store, aliases string) *alias.Resolver {
	t.Helper()
	table, err := alias.Parse(strings.NewReader(aliases), "aliases")
	if err != nil {
		t.Fatal(err)
	}
	return alias.New(store, func() *alias.Table { return table }, []string{"mail.example.org", "localhost"}, "ann@example.org")
}

const hi = "From: sender@example.net\r\nSubject: hi\r\nMessage-ID: <1@example.net>\r\n\r\nhello\r\n"

var id = regexp.MustCompile(`\([0-9a-hjkmnp-tv-z]{16}\)`)

// The id of a transaction appears in every reply after MAIL, in Received, in
// the log line and in the history.
func TestOneMessage(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	replies := []string{
		c.say("MAIL FROM:<sender@example.net> SIZE=100", "250 2.1.0"),
		c.say("RCPT TO:<no@example.org>", "550 5.1.1 no such mailbox"),
		c.say("RCPT TO:<ann@example.org>", "250 2.1.5"),
	}
	c.say("DATA", "354")
	replies = append(replies, c.say(hi+".", "250 2.0.0 kept for ann"))
	first := id.FindString(replies[0])
	for _, r := range replies {
		if first == "" || !strings.Contains(r, first) {
			t.Errorf("no id in %q", r)
		}
	}
	first = strings.Trim(first, "()")
	got := d.boxes.all()
	if len(got) != 1 {
		t.Fatalf("%d messages arrived", len(got))
	}
	want := regexp.MustCompile(`^Received: from client\.example\.net \(\[127\.0\.0\.1\]\)\r\n\tby mail\.example\.org \(Hoplite\) with ESMTP id ` +
		first + `\r\n\tfor <ann@example\.org>; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n`)
	if !want.MatchString(got[0].data) {
		t.Errorf("Received is %q", got[0].data)
	}
	if !strings.HasSuffix(got[0].data, "\r\n"+hi) {
		t.Errorf("message is %q", got[0].data)
	}
	if tx := got[0].tx; tx.Envelope.From != "sender@example.net" || tx.Envelope.Size != 100 || tx.Client.Helo != "client.example.net" || !tx.Client.ESMTP {
		t.Errorf("transaction %+v", tx)
	}
	c.say("QUIT", "221 2.0.0")
	if n := strings.Count(d.log(), `"id":"`+first); n != 1 {
		t.Errorf("%d lines in the log: %s", n, d.log())
	}
	recs := d.records()
	if len(recs) != 1 || recs[0].ID != first || recs[0].MessageID != "<1@example.net>" {
		t.Fatalf("history %+v", recs)
	}
	var story story.Summary
	if err := json.Unmarshal(recs[0].Data, &story); err != nil {
		t.Fatal(err)
	}
	if story.Verdict != "accepted" || story.Header.Subject != "hi" || len(story.Trail.Outcomes) != 1 || story.Reply.Code != 250 {
		t.Errorf("story %s", recs[0].Data)
	}
}

func TestWhoMayRelay(t *testing.T) {
	inbound := func(*Config, *Env) {}
	devices := func(c *Config, _ *Env) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	trusted := func(_ *Config, e *Env) { e.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	for name, tt := range map[string]struct {
		change  func(*Config, *Env)
		to, say string
	}{
		"ours":                     {inbound, "ann@example.org", "250"},
		"a client from outside":    {inbound, "x@elsewhere.example", "550 5.7.1"},
		"trusted is not relay":     {trusted, "x@elsewhere.example", "550 5.7.1"},
		"relay_from":               {devices, "x@elsewhere.example", "250"},
		"an alias may lead out":    {inbound, "away@example.org", "250"},
		"source route":             {inbound, "@example.org:x@elsewhere.example", "550 5.7.1"},
		"percent":                  {inbound, "x%elsewhere.example@example.org", "250"}, // a local part like any other
		"two at":                   {inbound, "x@elsewhere.example@example.org", "553 5.1.3"},
		"quoted at":                {inbound, `"x@elsewhere.example"@example.org`, "250"},
		"bang":                     {inbound, "elsewhere.example!x", "553 5.1.3"},
		"literal":                  {inbound, "x@[192.0.2.1]", "550 5.7.1"},
		"trailing dot":             {inbound, "x@elsewhere.example.", "550 5.7.1"},
		"dots in odd places":       {inbound, "a..b.@example.org", "250"},
		"full-width dot":           {inbound, "x@elsewhere．example", "553 5.1.3"},
		"no domain":                {inbound, "ann", "553 5.1.3"},
		"postmaster alone":         {inbound, "Postmaster", "250"},
		"subdomain is not domain":  {inbound, "x@sub.example.org", "550 5.7.1"},
		"upper case":               {inbound, "Ann@EXAMPLE.ORG", "250"},
		"long local part":          {inbound, strings.Repeat("x", 65) + "@example.org", "553 5.1.3"},
		"null":                     {inbound, "", "553 5.1.3"},
		"loop":                     {inbound, "loop@example.org", "554 5.4.6"},
		"utf8 without smtputf8":    {inbound, "bücher@example.org", "553 5.6.7"},
		"hop does not know":        {inbound, "no@example.org", "550 5.1.1"},
		"hop is broken":            {inbound, "late@example.org", "451 4.3.0"},
		"half of a list":           {inbound, "half@example.org", "550 5.1.1"},
		"host name":                {inbound, "ann@localhost", "250"},
		"quoted, needlessly":       {inbound, `"ann"@example.org`, "250"},
		"control character quoted": {inbound, "\"a\x01b\"@example.org", "501"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, "smtp", tt.change).hello(t)
			c.say("MAIL FROM:<sender@example.net>", "250")
			got := c.say("RCPT TO:<"+tt.to+">", tt.say)
			if strings.Contains(got, "disk") {
				t.Errorf("the inside shows: %s", got)
			}
		})
	}
}

func TestSenders(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.Auth = "required" })
	plain := func(pass string) string {
		return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00"+pass))
	}
	c := d.hello(t)
	c.say("MAIL FROM:<ann@example.org>", "530 5.7.0")
	c.say(plain("secret"), "538 5.7.11")
	c.startTLS()
	c.say(plain("wrong"), "535 5.7.8")
	c.say(plain("secret"), "235 2.7.0")
	c.say("MAIL FROM:<somebody@example.org>", "553 5.7.1")
	c.say("MAIL FROM:<list@example.org>", "250")
	c.say("AUTH PLAIN", "503")
	c.say("RSET", "250")
	c.say("MAIL FROM:<>", "250")
	c.say("RSET", "250")
	c.say("MAIL FROM:<ann@example.org>", "250")
	c.say("RCPT TO:<x@elsewhere.example>", "250")
	c.say("DATA", "354")
	c.say("From: ann@example.org\r\nBcc: secret@example.net\r\nTo: x@elsewhere.example\r\n\r\nx\r\n.", "250")
	got := d.out.all()
	if len(got) != 1 || got[0].tx.Client.User != "ann@example.org" || !strings.Contains(got[0].data, "with ESMTPSA id") {
		t.Fatalf("%+v", got)
	}
	if h, _, _ := strings.Cut(got[0].data, "\r\n\r\n"); !strings.Contains(h, "\r\nDate: ") || !strings.Contains(h, "\r\nMessage-ID: <") || strings.Contains(h, "Bcc") ||
		!strings.Contains(h, "(using TLSv1.3 with cipher TLS_") {
		t.Errorf("header %s", h)
	}
}

func TestLoginRate(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) {
		c.Auth, c.CleartextLogin, c.LoginRate = "optional", true, conf.Rate{Count: 2, Per: time.Hour}
	})
	c := d.hello(t)
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00secret")), "235")
	for _, want := range []string{"250", "250", "450 4.7.1"} {
		c.say("MAIL FROM:<ann@example.org>", want)
		c.say("RSET", "250")
	}
}

func TestLMTP(t *testing.T) {
	d := open(t, "lmtp", nil)
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	for _, to := range []string{"list@example.org", "full@example.org", "never@example.org", "ann@example.org"} {
		c.say("RCPT TO:<"+to+">", "250")
	}
	c.say("DATA", "354")
	c.say(hi+".", "250 2.0.0 Accepted for 2 recipients")
	c.want("452 4.2.2")
	c.want("554 5.6.0")
	c.want("250 2.0.0 kept for ann")
	if got := d.boxes.all(); len(got) != 1 || strings.Join(got[0].to, " ") != "ann@example.org bob@example.org" {
		t.Errorf("%+v", got)
	}
	c.say("NOOP", "250")
}

// In LMTP, the recipients that one address resolves to also share a reply.
func TestLMTPList(t *testing.T) {
	later := &hop{waiting: true}
	d := open(t, "lmtp", func(_ *Config, e *Env) { e.Later = func(string, bool) mail.Hop { return later } })
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<some@example.org>", "250")
	c.say("RCPT TO:<full@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250 2.0.0 Accepted for 2 recipients")
	c.want("250 2.0.0 queued")
	if got := later.all(); len(got) != 1 || got[0].to[0] != "full@example.org" {
		t.Errorf("%+v", got)
	}
}

// Several outcomes are combined into one SMTP reply.
func TestFold(t *testing.T) {
	later := &hop{waiting: true}
	var bounced []mail.Outcome
	whole := func(_ *Config, e *Env) {
		e.Later = func(string, bool) mail.Hop { return later }
		e.Bounce = func(_ context.Context, _ *mail.Transaction, _ *mail.Message, failed []mail.Outcome) (mail.Address, error) {
			bounced = append(bounced, failed...)
			return "sender@example.net", nil
		}
	}
	for name, tt := range map[string]struct {
		change          func(*Config, *Env)
		to              string
		want            string
		queued, bounced int
	}{
		"all good":                      {whole, "ann bob", "250 2.0.0 Accepted for 2", 0, 0},
		"all full":                      {whole, "full", "452 4.2.2", 0, 0},
		"the next server hangs up":      {whole, "closing", "451 4.3.2 shutting down", 0, 0},
		"all refused":                   {whole, "never", "554 5.6.0", 0, 0},
		"full and refused":              {whole, "full never", "452 4.2.2", 0, 0},
		"one full":                      {whole, "ann full", "250", 1, 0},
		"one refused":                   {whole, "ann never", "250", 0, 1},
		"one of each":                   {whole, "ann full never", "250", 1, 1},
		"one full, nowhere to wait":     {nil, "ann full", "452 4.2.2", 0, 0},
		"one refused, nobody to report": {nil, "ann never", "554 5.6.0", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			later.got, bounced = nil, nil
			d := open(t, "smtp", tt.change)
			var to []string
			for _, l := range strings.Fields(tt.to) {
				to = append(to, l+"@example.org")
			}
			d.hello(t).send(hi, tt.want, to...)
			if len(later.all()) != tt.queued || len(bounced) != tt.bounced {
				t.Errorf("%d queued, %d reported", len(later.all()), len(bounced))
			}
		})
	}
}

// judge is a filter with a fixed verdict.
type judge struct{ verdict filters.Verdict }

func (j judge) AtData(context.Context, *mail.Transaction, *mail.Message) (filters.Verdict, error) {
	return j.verdict, nil
}

func TestVerdicts(t *testing.T) {
	other := mail.Address("new@example.net")
	for name, tt := range map[string]struct {
		v       filters.Verdict
		want    string
		to      string
		verdict string
	}{
		"pass":       {filters.Verdict{}, "250 2.0.0 kept", "ann@example.org", "accepted"},
		"reject":     {filters.Rejected(554, "5.7.1", "no thanks"), "554 5.7.1 no thanks", "", "refused"},
		"defer":      {filters.Deferred(450, "4.7.1", "later"), "450 4.7.1 later", "", "deferred"},
		"discard":    {filters.Verdict{Action: filters.Discard}, "250 2.0.0 Accepted", "", "discarded"},
		"quarantine": {filters.Quarantined("bad"), "250", "ann@example.org", "accepted"},
		"redirect":   {filters.Verdict{Action: filters.Redirect, Edits: filters.Edits{To: "bob@example.org"}}, "250", "bob@example.org", "accepted"},
		"add":        {filters.Verdict{Edits: filters.Edits{AddRcpts: []mail.Address{"bob@example.org"}}}, "250", "ann@example.org bob@example.org", "accepted"},
		"drop all":   {filters.Verdict{Edits: filters.Edits{DropRcpts: []mail.Address{"ann@example.org"}}}, "250", "", "discarded"},
		"from":       {filters.Verdict{Edits: filters.Edits{From: &other}}, "250", "ann@example.org", "accepted"},
		"a field":    {filters.Verdict{Edits: filters.Edits{Top: []byte("X-Test: yes\r\n")}}, "250", "ann@example.org", "accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "smtp", func(_ *Config, e *Env) {
				e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: judge{tt.v}})
			})
			d.hello(t).send(hi, tt.want, "ann@example.org")
			to := ""
			for _, g := range d.boxes.all() {
				to = strings.Join(g.to, " ")
				if name == "from" && g.tx.Envelope.From != other {
					t.Errorf("from %s", g.tx.Envelope.From)
				}
				if name == "a field" && !strings.Contains(g.data, "\r\nX-Test: yes\r\nFrom:") {
					t.Errorf("%s", g.data)
				}
				if name == "quarantine" && g.tx.Quarantine != "judge: bad" {
					t.Errorf("quarantine %q", g.tx.Quarantine)
				}
			}
			if to != tt.to {
				t.Errorf("went to %q, want %q", to, tt.to)
			}
			if !strings.Contains(d.log(), `"message":"`+tt.verdict+`"`) {
				t.Errorf("log %s", d.log())
			}
		})
	}
}

func TestPanicEndsOneSession(t *testing.T) {
	d := open(t, "smtp", nil)
	other := d.hello(t)
	d.boxes.panics = true
	c := d.hello(t)
	c.send(hi, "421", "ann@example.org")
	c.want("")
	other.say("NOOP", "250")
	c = d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("BDAT 4 LAST\r\nhi", "421")
	c.want("")
	other.say("NOOP", "250")
	for range 3 {
		c := d.hello(t)
		c.send(hi, "421", "ann@example.org")
	}
	// There is one line per stack, and DATA and BDAT have the same stack.
	if n := strings.Count(d.log(), `"message":"session ended by a panic"`); n != 1 || !strings.Contains(d.log(), "(*handoff).Send harness_test.go") {
		t.Errorf("%d lines: %s", n, d.log())
	}
}

func TestChunks(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	begin := func() {
		c.say("MAIL FROM:<sender@example.net>", "250")
		c.say("RCPT TO:<ann@example.org>", "250")
	}
	begin()
	c.say("BDAT 0", "250")
	c.say("RSET", "250")
	begin()
	c.say("BDAT 12\r\nSubject: x", "250")
	c.say("RSET", "250")
	begin()
	c.say("BDAT 14\r\nSubject: x\r\n", "250")
	c.say("BDAT 3 LAST\r\ny", "250 2.0.0 kept for ann")
	got := d.boxes.all()
	if len(got) != 1 || !strings.HasSuffix(got[0].data, "\r\nSubject: x\r\n\r\ny\r\n") {
		t.Errorf("%+v", got)
	}
}

func TestLimits(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.MaxRecipients, c.MaxMessages, c.MaxSize = 2, 2, 2000 })
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net> SIZE=2001", "552 5.3.4")
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("MAIL FROM:<sender@example.net>", "503 5.5.1")
	c.say("RCPT TO:<a@example.org>", "250")
	c.say("RCPT TO:<b@example.org>", "250")
	c.say("RCPT TO:<c@example.org>", "452 4.5.3")
	c.say("DATA", "354")
	c.say(hi+".", "250")
	c.say("MAIL FROM:<sender@example.net> SIZE=1", "250")
	c.say("RCPT TO:<a@example.org>", "250")
	c.say("DATA", "354")
	c.say("x: "+strings.Repeat("y", 3000)+"\r\n.", "552 5.3.4")
	c.send(strings.Repeat("X: y\r\n", 50)+"\r\n", "250", "a@example.org")
	c.say("MAIL FROM:<sender@example.net>", "421 4.7.0")
	c.want("")
}

func TestHeaderLimits(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	for name, body := range map[string]string{
		"many fields": strings.Repeat("X: y\r\n", 1001),
		"long field":  "X: " + strings.Repeat("y", 70000) + "\r\n",
		"many folds":  "X: y\r\n" + strings.Repeat(" z\r\n", 501),
		"large":       strings.Repeat("X: "+strings.Repeat("y", 50000)+"\r\n", 6),
	} {
		if got := c.send(body+"\r\nbody\r\n", "552 5.3.4", "a@example.org"); got == "" {
			t.Fatal(name)
		}
	}
}

func TestHelp(t *testing.T) {
	d := open(t, "smtp", func(c *Config, e *Env) {
		c.Verify, c.Auth, c.CleartextLogin = "local", "optional", true
		e.Verify = func(a mail.Address) (exists, known bool) {
			return a.Local() == "old", a.Domain() == "legacy.example"
		}
	})
	c := d.hello(t)
	if got := c.say("HELP", "214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT"); !strings.Contains(got, "ann@example.org") {
		t.Error(got)
	}
	c.say("HELP STATUS", "211 2.0.0")
	c.say("VRFY ann@example.org", "252 2.5.0")
	c.say("EXPN list@example.org", "550 5.7.1")
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00secret")), "235")
	c.say("EHLO client.example.net", "250")
	c.say("VRFY ann@example.org", "250 2.1.5 <ann@example.org>")
	c.say("VRFY nobody@example.org", "550 5.1.1")
	c.say("VRFY x@elsewhere.example", "252 2.5.0")
	c.say("VRFY old@legacy.example", "250 2.1.5 <old@legacy.example>")
	c.say("VRFY gone@legacy.example", "550 5.1.1")
	c.say("VRFY away@example.org", "251 2.1.5 User not local; will forward to <ann@elsewhere.example>")
	if got := c.say("EXPN list@example.org", "250-2.1.5 <ann@example.org>|250 2.1.5 <bob@example.org>"); got == "" {
		t.Error(got)
	}
	c.say("MAIL FROM:<ann@example.org>", "250")
	c.say("RCPT TO:<away@example.org>", "251 2.1.5")
}

func TestForgedResultsAreRemoved(t *testing.T) {
	d := open(t, "smtp", func(_ *Config, e *Env) {
		e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: judge{filters.Verdict{
			Auth: []mail.AuthResult{{Method: "spf", Value: "fail"}}}}})
	})
	forged := "Authentication-Results: mail.example.org; spf=pass\r\nAuthentication-Results: other.example; spf=pass\r\n"
	d.hello(t).send(forged+hi, "250", "ann@example.org")
	got := d.boxes.all()[0].data
	if strings.Contains(got, "mail.example.org; spf=pass") || !strings.Contains(got, "other.example; spf=pass") ||
		!strings.Contains(got, "\r\nAuthentication-Results: mail.example.org;\r\n\tspf=fail") {
		t.Error(got)
	}
}

// Authentication-Results fields with any name of this server are removed from
// remote clients' mail, and those that name no server. A trusted server may have
// written those with other names.
func TestForgedResultsOfAllNames(t *testing.T) {
	forged := "Authentication-Results: mail.example.org; spf=pass\r\nAuthentication-Results: OUT.example.org 1; spf=pass\r\n" +
		"Authentication-Results: imap.example.org; spf=pass\r\nAuthentication-Results: other.example; spf=pass\r\n" +
		"Authentication-Results: spf=pass smtp.mailfrom=bank.example\r\n"
	for at, kept := range map[string][]string{
		":0":          {"other.example"},
		"127.0.0.1:0": {"OUT.example.org", "imap.example.org", "other.example", "spf=pass"}, // a trusted client
	} {
		d := parts(t, "smtp", func(_ *Config, e *Env) {
			e.Names = func() []string { return []string{"mail.example.org", "out.example.org", "imap.example.org"} }
		})
		d.listenAt = at
		d.run(t, t.TempDir())
		c := d.connect(t)
		c.want("220")
		c.say("EHLO client.example.net", "250")
		c.send(forged+hi, "250", "ann@example.org")
		got := d.boxes.all()[0].data
		if n := strings.Count(got, "spf=pass"); n != len(kept) {
			t.Errorf("%s: %d fields are left:\n%s", at, n, got)
		}
		for _, name := range kept {
			if !strings.Contains(got, "Authentication-Results: "+name) {
				t.Errorf("%s: the results of %s were removed", at, name)
			}
		}
	}
}

// The parameters of MAIL and RCPT reach the hop.
func TestEnvelope(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb BY=60;NT MT-PRIORITY=5", "250")
	c.say("RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@example.org", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250")
	e := d.boxes.all()[0].tx.Envelope
	if e.Body != "8BITMIME" || !e.UTF8 || e.Ret != "HDRS" || e.EnvID != "a+b" {
		t.Errorf("%+v", e)
	}
	if by := e.DeliverBy; by == nil || by.Return || !by.Trace || e.Priority != 0 {
		t.Errorf("by %+v, priority %d: a client that may not relay must not get priority", by, e.Priority)
	}
	if r := e.Rcpts[0]; r.Notify != mail.NotifySuccess|mail.NotifyDelay || r.ORcpt != "RFC822;x@example.org" || r.Orig != "ann@example.org" {
		t.Errorf("%+v", r)
	}
}

func TestRouteThatReplies(t *testing.T) {
	d := open(t, "smtp", func(_ *Config, e *Env) {
		gone := NewRoute(&RouteConfig{Name: "gone", To: []string{"eve@example.org"}, Reply: "551 5.1.6 she has moved to <eve@example.net>"}, nil, nil, nil)
		e.Chain.Routes = append([]Route{gone}, e.Chain.Routes...)
	})
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<Eve@example.org>", "551 5.1.6 she has moved to <eve@example.net> (")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250")
	for in, want := range map[string]string{
		"550 no longer used":  "550 5.0.0 no longer used",
		"450 4.2.1 come back": "450 4.2.1 come back",
		"250 ok":              "", "551": "", "": "", "hello": "", "550 5.1.1": "", "550 4.1.1 x": "550 5.0.0 4.1.1 x",
	} {
		r, err := parseReply(in)
		if (err != nil) != (want == "") || err == nil && r.String() != want {
			t.Errorf("%q: %v %v", in, r, err)
		}
	}
}

// A reply ends in the id, however long the hop's reply is.
func TestLongReply(t *testing.T) {
	d := open(t, "smtp", func(_ *Config, e *Env) {
		v := filters.Rejected(554, "5.7.1", "first line\n%s", strings.Repeat("long ", 500))
		e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: judge{v}})
	})
	got := d.hello(t).send(hi, "554-5.7.1 first line|554 5.7.1 long long", "ann@example.org")
	if last := got[strings.LastIndexByte(got, '|')+1:]; !id.MatchString(last) || len(last) > 510 {
		t.Errorf("%d octets: %q", len(last), last)
	}
}

func TestMetrics(t *testing.T) {
	figures := NewMetrics()
	d := open(t, "smtp", func(c *Config, e *Env) { e.Metrics, c.Auth, c.CleartextLogin = figures, "optional", true })
	c := d.hello(t)
	c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann@example.org\x00secret")), "235")
	c.say("MAIL FROM:<bob@example.org>", "553")
	c.say("MAIL FROM:<ann@example.org>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250")
	c.settle()
	r := prometheus.NewRegistry()
	r.MustRegister(figures)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "hoplite_smtp_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"transactions_total inbound accepted": 1, "transactions_total inbound refused": 1,
		"logins_total 235 inbound": 1, "octets_total": float64(len(hi)), "transaction_seconds": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v (%v)", name, got[name], want, got)
		}
	}
}

// The reply is sent before the log and history are written. They are written
// even if the client has disconnected.
func TestReplyBeforeHistory(t *testing.T) {
	told, slow := make(chan string), make(chan bool)
	d := open(t, "smtp", func(_ *Config, e *Env) {
		e.History = func(r history.Record, _ zerolog.LogObjectMarshaler) {
			<-slow
			told <- r.MessageID
		}
	})
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "250") // while history is stuck
	c.Close()
	close(slow)
	select {
	case id := <-told:
		if id != "<1@example.net>" {
			t.Errorf("told of %q", id)
		}
	case <-time.After(10 * time.Second):
		t.Error("the message is missing from history")
	}
}

// After a filter has changed the recipients, LMTP still sends the real reply
// for each RCPT. With a 250 for the second one, its mail would be lost.
func TestLMTPChangedRecipients(t *testing.T) {
	d := open(t, "lmtp", func(_ *Config, e *Env) {
		e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: judge{filters.Verdict{
			Edits: filters.Edits{AddRcpts: []mail.Address{"full@example.org"}},
		}}})
	})
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("RCPT TO:<bob@example.org>", "250")
	c.say("DATA", "354")
	c.say(hi+".", "452 4.2.2")
	c.want("452 4.2.2")
	c.say("NOOP", "250")
}

// The client's text stays below the fields added by the server and cannot
// continue them.
func TestFirstLineContinuesNothing(t *testing.T) {
	for name, tt := range map[string]struct{ in, below string }{
		"white space":    {"\t; dkim=pass header.d=bank.example\r\nFrom: a@b.example\r\n\r\nhi\r\n", "\r\n\t; dkim=pass header.d=bank.example\r\nFrom: a@b.example\r\n\r\nhi\r\n"},
		"text":           {"Battery low on UPS 3\r\nPlease check\r\n", "\r\nBattery low on UPS 3\r\nPlease check\r\n"},
		"no empty line":  {"Subject: Backup report\r\nJob ran fine\r\n", "Subject: Backup report\r\n\r\nJob ran fine\r\n"},
		"mbox From line": {"From ann Thu Jan  1 00:00:00 2026\r\nSubject: x\r\n\r\nhi\r\n", "X-Mailbox-Line: From ann Thu Jan  1 00:00:00 2026\r\nSubject: x\r\n\r\nhi\r\n"},
		"well-formed":    {hi, hi},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "smtp", func(_ *Config, e *Env) {
				e.Chain.Filters = chainOf(filters.Entry{Name: "judge", Filter: judge{filters.Verdict{Edits: filters.Edits{Top: []byte("X-Test: yes\r\n")}}}})
			})
			d.hello(t).send(tt.in, "250", "ann@example.org")
			got := d.boxes.all()[0].data
			if !strings.HasSuffix(got, "\r\nX-Test: yes\r\n"+tt.below) {
				t.Errorf("got %q", got)
			}
			if repaired := strings.Contains(d.log(), "empty line added") || strings.Contains(d.log(), "X-Mailbox-Line"); repaired != (tt.in != tt.below) {
				t.Errorf("the trail is wrong about it: %s", d.log())
			}
		})
	}
}

// A message that has passed through more than 100 servers is refused even
// without a "hops" filter, which has its own limit.
func TestTooManyHops(t *testing.T) {
	received := "Received: from a.example by b.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
	for name, tt := range map[string]struct {
		n      int
		filter string
		want   string
	}{
		"100":                {100, "other", "250"},
		"101":                {101, "other", "554 5.4.6 Too many hops"},
		"101, with a filter": {101, "hops", "250"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, "smtp", func(_ *Config, e *Env) {
				e.Chain.Filters = chainOf(filters.Entry{Name: tt.filter, Filter: judge{}})
			})
			d.hello(t).send(strings.Repeat(received, tt.n)+hi, tt.want, "ann@example.org")
		})
	}
}
