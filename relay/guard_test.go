package relay

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hoplite/mail/srs"
)

// A rewritten sender accepts only reports, which have a null sender.
func TestRewrittenSenders(t *testing.T) {
	w := srs.New([]byte(strings.Repeat("k", 32)), "mail.example.org")
	d := open(t, "smtp", func(_ *Config, e *Env) { e.Rewritten = w.Ours })
	to := string(w.Forward("ann@elsewhere.example"))
	c := d.hello(t)
	c.say("MAIL FROM:<spam@example.net>", "250")
	c.say("RCPT TO:<"+to+">", "550 5.7.1 Recipient address rejected: rewritten senders receive delivery reports only")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("RSET", "250")
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<"+to+">", "250")
}

// A client that hangs up during a message is recorded as an event of the
// transaction, not as a server error.
func TestDropInsideData(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	io.WriteString(c, "Subject: half\r\n\r\nte")
	c.Close()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(d.log(), "aborted"); {
		if time.Now().After(end) {
			t.Fatalf("no line for the transaction: %s", d.log())
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if log := d.log(); strings.Contains(log, `"level":"error"`) {
		t.Errorf("log: %s", log)
	}
}

// A refusal of LF.LF is recorded on the trail.
func TestBareEndIsRecorded(t *testing.T) {
	d := parts(t, "smtp", nil)
	d.opts.Limits.BareEnd = 50 * time.Millisecond
	d.run(t, t.TempDir())
	c := d.hello(t)
	c.say("MAIL FROM:<sender@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	io.WriteString(c, "Subject: x\n\ntext\n.\n")
	c.want("554 5.6.0 Message rejected: message ended by <LF>.<LF> instead of <CR><LF>.<CR><LF>; only clients in relay_from")
	c.want("")
	if recs := d.records(); len(recs) != 1 || !strings.Contains(string(recs[0].Data), "message ended by") {
		t.Errorf("history %+v", recs)
	}
}

// A device may end its message with LF.LF.
func TestBareEndOfDevices(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	c := d.hello(t)
	c.say("MAIL FROM:<ups@example.net>", "250")
	c.say("RCPT TO:<ann@example.org>", "250")
	c.say("DATA", "354")
	io.WriteString(c, "Subject: battery low\n\ntext\n.\n")
	c.want("250")
	if got := d.boxes.all(); len(got) != 1 || !strings.HasSuffix(got[0].data, "Subject: battery low\r\n\r\ntext\r\n") {
		t.Errorf("stored %+v", got)
	}
}

// A submission server removes fields that name hidden recipients.
func TestResentBcc(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	d.hello(t).send("Resent-Bcc: eve@example.com\r\nBcc: bob@example.com\r\n"+hi, "250", "ann@example.org")
	if got := d.boxes.all(); len(got) != 1 || strings.Contains(got[0].data, "Bcc") {
		t.Errorf("stored %+v", got)
	}
}

// A loopback address is trusted only on a loopback listener, and never if it
// was given by PROXY or XCLIENT.
func TestTrustedLoopback(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, tt := range map[string]struct {
		change func(*Config, *Env)
		at     string
		first  string // sent before the greeting
		then   string // sent after it
		want   bool
	}{
		"loopback listener":               {nil, "127.0.0.1:0", "", "", true},
		"every address":                   {nil, ":0", "", "", false},
		"every address, trusted":          {func(_ *Config, e *Env) { e.Trusted = loopback }, ":0", "", "", false},
		"PROXY":                           {func(c *Config, _ *Env) { c.ProxyProtocol = true }, "127.0.0.1:0", "PROXY TCP4 127.0.0.1 127.0.0.1 1000 25\r\n", "", false},
		"XCLIENT":                         {func(c *Config, _ *Env) { c.XclientFrom = loopback }, "127.0.0.1:0", "", "XCLIENT ADDR=127.0.0.2", false},
		"XCLIENT, the peer's own address": {func(c *Config, _ *Env) { c.XclientFrom = loopback }, "127.0.0.1:0", "", "XCLIENT ADDR=127.0.0.1", false},
		"XCLIENT, trusted client": {func(c *Config, e *Env) {
			c.XclientFrom = loopback
			e.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}, "127.0.0.1:0", "", "XCLIENT ADDR=192.0.2.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := parts(t, "smtp", tt.change)
			d.listenAt = tt.at
			d.run(t, t.TempDir())
			c := d.connect(t)
			io.WriteString(c, tt.first)
			c.want("220")
			if tt.then != "" {
				c.say(tt.then, "220")
			}
			c.say("EHLO client.example.net", "250")
			c.send(hi, "250", "ann@example.org")
			if got := d.boxes.all(); len(got) != 1 || got[0].tx.Client.Trusted != tt.want {
				t.Errorf("trusted is not %v: %+v", tt.want, got)
			}
		})
	}
}

// An LMTP client on a socket file is trusted, but not if XCLIENT gives its
// address as unknown.
func TestTrustedSocketFile(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	d := open(t, "lmtp", func(c *Config, _ *Env) { c.XclientFrom = loopback })
	c := d.dial(t)
	c.say("XCLIENT ADDR=[UNAVAILABLE]", "220")
	c.say("LHLO client.example.net", "250")
	c.send(hi, "250", "ann@example.org")
	if got := d.boxes.all(); len(got) != 1 || got[0].tx.Client.Trusted {
		t.Errorf("trusted: %+v", got)
	}
}
