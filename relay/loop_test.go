package relay

import (
	"net/netip"
	"strings"
	"testing"

	"hoplite/mail"
)

func TestLooped(t *testing.T) {
	ours := func(to string) string {
		f := ""
		if to != "" {
			f = "\r\n\tfor <" + to + ">"
		}
		return "Received: from a.example ([192.0.2.1])\r\n\tby mail.example.org (Hoplite) with ESMTP id " + mail.NewID() + f + "; Mon, 2 Jan 2006 15:04:05 -0700\r\n"
	}
	theirs := "Received: from a.example ([192.0.2.1]) by mail.example.org (Postfix) with ESMTP id 4XyZ\r\n\tfor <ann@example.org>; Mon, 2 Jan 2006 15:04:05 -0700\r\n"
	for name, tt := range map[string]struct {
		head    string
		trusted bool
		want    string // text of the refusal; "" if accepted
	}{
		"a new message":                         {"Subject: hi\r\n", false, ""},
		"here for this recipient":               {ours("ann@example.org") + "Subject: hi\r\n", false, "had this message for <ann@example.org>"},
		"here for this recipient, in capitals":  {ours("ann@EXAMPLE.org"), false, "had this message"},
		"here for the alias":                    {ours("sales@example.org"), false, "for <ann@example.org>"},
		"here for another recipient":            {ours("list@example.org"), false, ""},
		"back from a scanner":                   {ours("ann@example.org"), true, ""},
		"twice back from a scanner":             {ours("ann@example.org") + ours("ann@example.org"), true, "had this message"},
		"here five times":                       {strings.Repeat(ours(""), 5), true, ""},
		"here six times":                        {strings.Repeat(ours(""), 6), true, "6 times"},
		"our name in a line of another program": {theirs, false, ""},
		"delivered to the recipient":            {"Delivered-To: ann@example.org\r\n", false, "delivered to <ann@example.org>"},
		"delivered to another":                  {"Delivered-To: bob@example.org\r\n", false, ""},
		"resent by the reader":                  {"Resent-From: ann@example.org\r\n" + ours("ann@example.org") + "Delivered-To: ann@example.org\r\n", false, ""},
		"a loop after it was resent":            {ours("ann@example.org") + "Resent-From: ann@example.org\r\n", false, "had this message"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &transaction{Transaction: mail.NewTransaction(mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Trusted: tt.trusted}, "")}
			tr.Hostname = "mail.example.org"
			tr.Envelope.Rcpts = []mail.Rcpt{{To: "ann@example.org", Orig: "sales@example.org"}}
			m, err := mail.NewMessage(mail.Bytes(tt.head + "\r\ntext\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			got := tr.looped(m)
			switch {
			case got == nil && tt.want != "":
				t.Error("accepted")
			case got != nil && (tt.want == "" || !strings.Contains(got.Text, tt.want) || got.Enhanced != "5.4.6"):
				t.Errorf("refused with %q, want %q", got.Text, tt.want)
			}
		})
	}
}

// A loop is ended even without a "hops" filter.
func TestLoopEnds(t *testing.T) {
	d := open(t, "smtp", nil)
	c := d.hello(t)
	c.send("Delivered-To: ann@example.org\r\n"+hi, "554 5.4.6 Mail loop", "ann@example.org")
	c.send("Delivered-To: bob@example.org\r\n"+hi, "250", "ann@example.org")
}
