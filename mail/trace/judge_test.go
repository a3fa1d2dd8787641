package trace

import (
	"strings"
	"testing"
	"time"
)

// TestDMARCFailure checks that the domains that did not align are explained,
// and that only the reader's own server is trusted.
func TestDMARCFailure(t *testing.T) {
	const path = "Received: from mail.a.example (mail.a.example [192.0.2.5]) by mx.b.example (Postfix) with ESMTPS id 4F1Zpz0YBvz9sWn; Tue, 12 May 2026 08:30:06 +0000\n"
	for _, c := range []struct{ name, results, want string }{
		{"not aligned", "mx.b.example; spf=pass smtp.mailfrom=bounce@esp.example; dkim=pass header.d=esp.example; dmarc=fail (p=none) header.from=a.example",
			"DMARC failed for the From domain a.example: SPF: pass for esp.example, which does not align; DKIM: pass for esp.example, which does not align"},
		{"aligned but failing", "mx.b.example; spf=fail smtp.mailfrom=ann@a.example; dkim=fail header.i=@mail.a.example; dmarc=fail header.from=a.example",
			"DMARC failed for the From domain a.example: SPF: fail for a.example; DKIM: fail for mail.a.example"},
		{"nothing to align", "mx.b.example; dmarc=fail header.from=a.example", "DMARC failed for the From domain a.example: no SPF result; no DKIM result"},
		{"without a domain", "mx.b.example; spf=none smtp.helo=mail.a.example; dmarc=fail", "DMARC failed: SPF: none for mail.a.example; no DKIM result"},
		{"passing", "mx.b.example; dmarc=pass header.from=a.example", ""},
		{"another server's word", "evil.example; dmarc=fail header.from=a.example", ""},
	} {
		tr := Read([]byte("Authentication-Results: "+c.results+"\n"+path+"From: ann@a.example\n"), Options{})
		got := ""
		for _, f := range tr.Findings {
			if f.Code == "dmarc-fail" {
				got = f.Text
				if f.Severity != Warning || f.Advice == "" {
					t.Errorf("%s: %+v", c.name, f)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestBoundsMatter(t *testing.T) {
	m := time.Minute
	for _, c := range []struct {
		delay, low, high time.Duration
		want             bool
	}{
		{3 * time.Second, 0, 60 * m, false}, // on nearly every hop
		{5 * m, 0, 5 * m, true},
		{5 * m, 4 * m, 6 * m, false},
		{5 * m, 5 * m, 11 * m, true},
	} {
		s := Step{HasDelay: true, Delay: c.delay, Low: c.low, High: c.high}
		if s.BoundsMatter() != c.want {
			t.Errorf("%v within %v..%v: %v", c.delay, c.low, c.high, !c.want)
		}
	}
	if (&Step{Delay: 5 * m}).BoundsMatter() {
		t.Error("a step without a delay has bounds")
	}
}

// TestFindingsNameNoFlags checks that advice does not mention flags, because
// the web page shows the same texts.
func TestFindingsNameNoFlags(t *testing.T) {
	for _, head := range []string{
		"From: a@a.example\nFrom: b@b.example\nBcc: c@c.example\nDate: nonsense\n",
		"Received: from a ([192.0.2.1]) by b.example with ESMTP id 1 (TLSv1:RC4:128:NO); Tue, 12 May 2026 08:30:06 +0000\nReceived: by b.example; Tue, 12 May 2026 09:30:06 +0000\n",
	} {
		for _, f := range Read([]byte(head), Options{}).Findings {
			if strings.Contains(f.Text+f.Advice, " --") {
				t.Errorf("%s: %s %s", f.Code, f.Text, f.Advice)
			}
		}
	}
}
