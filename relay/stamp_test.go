package relay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"hoplite/mail"
)

func TestReceived(t *testing.T) {
	for name, tt := range map[string]struct {
		c     mail.Client
		utf8  bool
		rcpts []string // one RCPT each
		want  string
	}{
		"plain":          {mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a.example", ESMTP: true, Protocol: "smtp"}, false, nil, "from a.example ([192.0.2.1])\r\n\tby mail.example.org (Hoplite) with ESMTP id ID"},
		"a name":         {mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Name: "b.example", Helo: "a.example", ESMTP: true, Protocol: "smtp"}, false, nil, "from a.example (b.example [192.0.2.1])\r\n"},
		"HELO":           {mail.Client{Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a.example", Protocol: "smtp"}, false, nil, "with SMTP id ID"},
		"IPv6, TLS":      {mail.Client{Addr: netip.MustParseAddrPort("[2001:db8::1]:25"), Helo: "a.example", ESMTP: true, Protocol: "smtp", TLS: &mail.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}}, false, nil, "([IPv6:2001:db8::1])\r\n\tby mail.example.org (Hoplite) with ESMTPS id ID\r\n\t(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)"},
		"a socket file":  {mail.Client{Helo: "a.example", ESMTP: true, Protocol: "lmtp"}, false, nil, "from a.example (local)\r\n\tby mail.example.org (Hoplite) with LMTP id ID"},
		"UTF-8":          {mail.Client{Helo: "a.example", ESMTP: true, Protocol: "smtp"}, true, nil, "with UTF8SMTP id ID"},
		"one recipient":  {mail.Client{Helo: "a.example", Protocol: "smtp"}, false, []string{"ann@example.org"}, "\r\n\tfor <ann@example.org>; "},
		"two recipients": {mail.Client{Helo: "a.example", Protocol: "smtp"}, false, []string{"ann@example.org", "bob@example.org"}, "id ID; "},
		"a forged HELO":  {mail.Client{Helo: "x (y [192.0.2.9]) by us", Protocol: "smtp"}, false, nil, "from x__y_[192.0.2.9]__by_us (local)"},
		"no HELO":        {mail.Client{Protocol: "smtp"}, false, nil, "from unknown (local)"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &transaction{Transaction: mail.NewTransaction(tt.c, "")}
			tr.Hostname, tr.Envelope.UTF8 = "mail.example.org", tt.utf8
			for i, to := range tt.rcpts {
				tr.Envelope.Rcpts = append(tr.Envelope.Rcpts, mail.Rcpt{To: mail.Address(to), Orig: mail.Address(to)})
				tr.asked = append(tr.asked, []int{i})
			}
			got := string(tr.received())
			if want := strings.ReplaceAll(tt.want, "ID", tr.ID); !strings.Contains(got, want) || !strings.HasPrefix(got, "Received: from ") || !strings.HasSuffix(got, "\r\n") {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	spans := func(n ...int64) (list []mail.Span) {
		for i := 0; i < len(n); i += 2 {
			list = append(list, mail.Span{Start: n[i], End: n[i+1]})
		}
		return list
	}
	if got, want := mergeSpans(spans(0, 2, 8, 9), spans(3, 5, 10, 12)), spans(0, 2, 3, 5, 8, 9, 10, 12); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("merged: %v, want %v", got, want)
	}
	if got, want := apart(spans(0, 2, 3, 5, 8, 9), spans(4, 7)), spans(0, 2, 8, 9); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("apart: %v, want %v", got, want)
	}
	if got := apart(spans(3, 5), nil); fmt.Sprint(got) != fmt.Sprint(spans(3, 5)) {
		t.Errorf("apart from nothing: %v", got)
	}
}

func TestWithID(t *testing.T) {
	tr := &transaction{Transaction: mail.NewTransaction(mail.Client{}, "")}
	end := " (" + tr.ID + ")"
	for in, want := range map[string]string{
		"Ok":                             "Ok" + end,
		"two\nlines\n":                   "two\nlines" + end,
		"already (" + tr.ID + ")":        "already (" + tr.ID + ")",
		strings.Repeat("x", 600):         strings.Repeat("x", maxLine) + end,
		"a\n" + strings.Repeat("x", 600): "a\n" + strings.Repeat("x", maxLine) + end,
	} {
		r := mail.Reply{Code: 250, Text: in}
		if got := tr.withID(&r); got.Text != want || r.Text != in {
			t.Errorf("%.40q becomes %.60q, want %.60q", in, got.Text, want)
		}
	}
}
