package trace

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// chain writes the Received lines of one message, oldest first.
type chain struct {
	*rand.Rand
	now   time.Time
	lines []string
}

// line adds a line and replaces %D with its date in the given zone.
func (c *chain) line(zone string, format string, args ...any) {
	hours := map[string]int{"UTC": 0, "PDT": -7, "EDT": -4, "CEST": 2, "MSK": 3, "CST8": 8}[zone]
	at := c.now.In(time.FixedZone("", hours*3600))
	c.lines = append(c.lines, fmt.Sprintf(format, args...)+"; "+at.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
}

// wait advances the clock by up to n seconds.
func (c *chain) wait(n int) { c.now = c.now.Add(time.Duration(c.Intn(n+1)) * time.Second) }

func (c *chain) hex(n int) string {
	return fmt.Sprintf("%0*X", n, c.Int63())[:n]
}

// client is the host that sends next.
type client struct{ helo, rdns, addr string }

// senders write the lines added by the sender's provider.
var senders = []func(c *chain) client{
	func(c *chain) client { // a company's Postfix
		c.line("CEST", "from [192.168.1.%d] (dsl-%d.isp.example [198.51.100.%[2]d])\n\t(Authenticated sender: ann)\n\tby mail.a.example (Postfix) with ESMTPSA id %[3]s", c.Intn(250), c.Intn(250), c.hex(10))
		return client{"mail.a.example", "mail.a.example", "192.0.2.5"}
	},
	func(c *chain) client { // a web application with amavis
		c.line("UTC", "by web.a.example (Postfix, from userid 33)\n\tid %s", c.hex(10))
		c.wait(1)
		c.line("UTC", "from web.a.example (web.a.example [10.1.0.9])\n\tby out.a.example (Postfix) with ESMTPS id %s", c.hex(10))
		c.wait(3)
		c.line("UTC", "from out.a.example ([127.0.0.1])\n\tby localhost (out.a.example [127.0.0.1]) (amavisd-new, port 10024)\n\twith ESMTP id %s", c.hex(8))
		c.line("UTC", "from localhost (localhost [127.0.0.1])\n\tby out.a.example (Postfix) with ESMTP id %s", c.hex(10))
		return client{"out.a.example", "out.a.example", "192.0.2.6"}
	},
	func(c *chain) client { // Exim, with a generic reverse name
		c.line("UTC", "from [198.51.100.%d] (helo=[10.0.0.5])\n\tby vps.a.example with esmtpsa (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.98)\n\t(envelope-from <ann@a.example>)", c.Intn(250))
		return client{"vps.a.example", "vps7.hosting.example", "192.0.2.7"}
	},
	func(c *chain) client { // Exchange in its own domain
		c.line("CEST", "from EX01.corp.companynet.example (10.1.1.1) by\n EX02.corp.companynet.example (10.1.1.2) with Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.1.2507.%d", c.Intn(40))
		return client{"mail.company.example", "mail.company.example", "192.0.2.8"}
	},
	func(c *chain) client { // Gmail
		c.line("PDT", "by mail-wm1-f42.google.com with SMTP id %sso%d.1\n        for <bob@b.example>", c.hex(12), c.Intn(1e6))
		return client{"mail-wm1-f42.google.com", "mail-wm1-f42.google.com", "209.85.128.42"}
	},
	func(c *chain) client { // Microsoft 365
		c.line("UTC", "from AM0PR09MB3876.eurprd09.prod.outlook.com\n ([fe80::d82c:67bf:ec39:a403]) by AM0PR09MB3876.eurprd09.prod.outlook.com\n ([fe80::d82c:67bf:ec39:a403%%4]) with mapi id 15.20.8511.027")
		c.wait(1)
		c.line("UTC", "from AM0PR09MB3876.eurprd09.prod.outlook.com (2603:10a6:208:1b8::7)\n by DB9PR09MB1234.eurprd09.prod.outlook.com (2603:10a6:10:2a1::11) with\n Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8511.27")
		return client{"EUR05-DB8-obe.outbound.protection.outlook.com", "mail-db8eur05on2099.outbound.protection.outlook.com", "40.107.21.99"}
	},
	func(c *chain) client { // Yahoo
		c.line("UTC", "by hermes--production-ir2-bbcfb4457-jfg7j (Yahoo Inc. Hermes SMTP Server) with ESMTPA ID %s", strings.ToLower(c.hex(15)))
		c.wait(1)
		c.line("UTC", "from sonic.gate.mail.ne1.yahoo.com by sonic313.consmr.mail.ir2.yahoo.com with HTTP")
		return client{"sonic313-20.consmr.mail.ir2.yahoo.com", "sonic313-20.consmr.mail.ir2.yahoo.com", "77.238.179.187"}
	},
	func(c *chain) client { // Fastmail
		c.line("EDT", "from imap51 ([10.202.2.101])\n  by phl-compute-01.internal (MEProxy)")
		c.line("EDT", "from phl-compute-01.internal (phl-compute-01.nyi.internal [10.202.2.41])\n\tby mailfhigh.nyi.internal (Postfix) with ESMTP id %s", c.hex(12))
		return client{"fhigh1-smtp.messagingengine.com", "fhigh1-smtp.messagingengine.com", "103.168.172.152"}
	},
	func(c *chain) client { // GMX
		c.line("CEST", "from [192.168.0.%d] ([198.51.100.%d]) by mail.gmx.net (mrgmx105\n [212.227.17.168]) with ESMTPSA (Nemesis) id 1Mel3t-1vtzHi0Yrd-00fIRU", c.Intn(250), c.Intn(250))
		return client{"mout.gmx.net", "mout.gmx.net", "212.227.17.20"}
	},
	func(c *chain) client { // Zoho
		c.line("PDT", "from [10.10.1.82] (static-72.isp.example\n [198.51.100.72]) by mx.zohomail.com\n with SMTPS id 1686648081516%d.3641276495971", 100+c.Intn(900))
		return client{"sender3-of-o59.zoho.com", "sender3-of-o59.zoho.com", "136.143.184.59"}
	},
	func(c *chain) client { // Mail.ru
		c.line("MSK", "by smtp37.i.mail.ru with esmtpa (envelope-from <ann@a.example>)")
		return client{"smtp37.i.mail.ru", "smtp37.i.mail.ru", "94.100.177.97"}
	},
	func(c *chain) client { // Yandex
		c.line("MSK", "by sas1-b43cfc766761.qloud-c.yandex.net with HTTP")
		c.wait(1)
		c.line("MSK", "from sas1-ec30c78b6c5b.qloud-c.yandex.net (sas1-ec30c78b6c5b.qloud-c.yandex.net [2a02:6b8:c14:2704:0:640:ec30:c78b])\n        by sas2-3467662b745a.qloud-c.yandex.net with LMTP id %s", c.hex(10))
		return client{"forward100.mail.yandex.net", "forward100.mail.yandex.net", "77.88.28.100"}
	},
	func(c *chain) client { // QQ
		c.line("CST8", "from pc7.example ([198.51.100.107])\n\tby newxmesmtplogicsvrszc43-0.qq.com (NewEsmtp) with SMTP\n\tid %s", c.hex(8))
		return client{"out203-205-221-210.mail.qq.com", "out203-205-221-210.mail.qq.com", "203.205.221.210"}
	},
	func(c *chain) client { // iCloud
		c.line("UTC", "from smtpclient.apple (pv50p00im-dlb-asmtp-mailmevip.me.com [17.56.9.10])\n\tby pv50p00im-ztdg10011901.me.com (Postfix) with ESMTPSA id %s", c.hex(12))
		return client{"pv50p00im-ztdg10011901.me.com", "pv50p00im-ztdg10011901.me.com", "17.58.6.50"}
	},
	func(c *chain) client { // Proton writes no line about the client
		return client{"mail-40131.protonmail.ch", "mail-40131.protonmail.ch", "185.70.40.131"}
	},
	func(c *chain) client { // a bulk sender
		c.line("UTC", "by recvd-canary-7d844d8954-l5pzx with SMTP id recvd-canary-%d", c.Intn(1e6))
		return client{"o1.email.a.example", "o1.email.a.example", "167.89.1.2"}
	},
	func(c *chain) client { // sendmail
		c.line("EDT", "(from www@localhost)\n\tby web.a.example (8.17.1/8.17.1/Submit) id %s", "not-encoded")
		return client{"web.a.example", "web.a.example", "192.0.2.10"}
	},
}

// transits write the lines added between the two providers.
var transits = []func(c *chain, p client) client{
	func(c *chain, p client) client { return p },
	func(c *chain, p client) client { return p },
	func(c *chain, p client) client { // a mailing list
		c.line("UTC", "from %s (%s [%s])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\tby lists.l.example (Postfix) with ESMTPS id %s\n\tfor <talk@lists.l.example>", p.helo, p.rdns, p.addr, c.hex(10))
		c.wait(20)
		c.line("UTC", "from lists.l.example (localhost [127.0.0.1])\n\tby lists.l.example (Postfix) with ESMTP id %s", c.hex(10))
		return client{"lists.l.example", "lists.l.example", "192.0.2.20"}
	},
	func(c *chain, p client) client { // an alias that forwards
		c.line("CEST", "from %s (%s [%s])\n\tby mx.f.example (Postfix) with ESMTPS id %s\n\tfor <bob@f.example>", p.helo, p.rdns, p.addr, c.hex(10))
		c.wait(1)
		c.line("CEST", "by mx.f.example (Postfix)\n\tid %s", c.hex(10))
		return client{"mx.f.example", "mx.f.example", "192.0.2.21"}
	},
	func(c *chain, p client) client { // a filter provider
		c.line("EDT", "from %s (%s [%s])\n\tby mx0b-00012301.pphosted.com (8.18.1.2/8.18.1.2) with ESMTPS id not-encoded\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NOT)", p.helo, p.rdns, p.addr)
		c.wait(3)
		c.line("EDT", "from pps.filterd (m0012345.ppops.net [127.0.0.1])\n\tby mx0b-00012301.pphosted.com (8.18.1.2/8.18.1.2) with ESMTP id not-encoded-2")
		return client{"mx0b-00012301.pphosted.com", "mx0b-00012301.pphosted.com", "148.163.158.57"}
	},
}

// receivers write the lines added by the reader's provider.
var receivers = []func(c *chain, p client){
	func(c *chain, p client) { // Postfix and Dovecot
		c.line("CEST", "from %s (%s [%s])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\tby mx.b.example (Postfix) with ESMTPS id %s\n\tfor <bob@b.example>", p.helo, p.rdns, p.addr, c.hex(10))
		c.wait(2)
		c.line("CEST", "from mx.b.example\n\tby store.b.example with LMTP id %s\n\tfor <bob@b.example>", c.hex(12))
	},
	func(c *chain, p client) { // Exim
		c.line("CEST", "from %s ([%s]:%d)\n\tby mx.b.example with esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.98)\n\t(envelope-from <ann@a.example>)\n\tfor bob@b.example", p.helo, p.addr, 1024+c.Intn(6e4))
	},
	func(c *chain, p client) { // Exchange
		c.line("CEST", "from %s (%s) by EX1.b.example\n (10.2.0.1) with Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.2.1544.11", p.helo, p.addr)
		c.wait(2)
		c.line("CEST", "from EX1.b.example (10.2.0.1) by EX2.b.example (10.2.0.2) with Microsoft SMTP\n Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id\n 15.2.1544.11")
	},
	func(c *chain, p client) { // Gmail
		c.line("PDT", "from %s (%s. [%s])\n        by mx.google.com with ESMTPS id %s\n        for <bob@gmail.com>\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256)", p.helo, p.rdns, p.addr, strings.ToLower(c.hex(12)))
		c.wait(1)
		c.line("PDT", "by 2002:a05:6850:265e:b0:45c:21e8:%x with SMTP id y30csp895790nnd", c.Intn(65536))
	},
	func(c *chain, p client) { // Microsoft 365
		c.line("UTC", "from %s (%s) by\n AM0PEPF00012345.mail.protection.outlook.com (10.167.16.5) with Microsoft SMTP\n Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.8511.27 via\n Frontend Transport", p.helo, p.addr)
		c.wait(2)
		c.line("UTC", "from AM0PEPF00012345.eurprd05.prod.outlook.com\n (2603:10a6:208:1b8:cafe::7) by AM0PR05CA0077.outlook.office365.com\n (2603:10a6:208:136::17) with Microsoft SMTP Server (version=TLS1_3,\n cipher=TLS_AES_256_GCM_SHA384) id 15.20.8511.27 via Frontend Transport")
	},
	func(c *chain, p client) { // a mailbox polled over POP
		c.line("CEST", "from %s (%s [%s]) by mx.isp.example (Postfix) with ESMTPS id %s for <bob@isp.example>", p.helo, p.rdns, p.addr, c.hex(10))
		c.wait(900)
		c.line("CEST", "from pop.isp.example [192.0.2.30]\n\tby home.b.example with POP3 (fetchmail-6.4.38)\n\tfor <bob@localhost> (single-drop)")
	},
}

// newChain returns the header of a message that took an ordinary path.
func newChain(seed int64) string {
	c := &chain{Rand: rand.New(rand.NewSource(seed)), now: time.Date(2026, 5, 12, 8, 30, 0, 0, time.UTC).Add(time.Duration(seed) * time.Hour)}
	// Most clocks are right to within a few seconds; some are off by up to
	// two minutes.
	written := c.now
	switch c.Intn(10) {
	case 0:
		written = written.Add(time.Duration(c.Intn(240)-120) * time.Second)
	default:
		written = written.Add(time.Duration(c.Intn(8)-4) * time.Second)
	}
	c.wait(3)
	p := senders[c.Intn(len(senders))](c)
	c.wait(8)
	p = transits[c.Intn(len(transits))](c, p)
	if c.Intn(8) == 0 {
		c.now = c.now.Add(5 * time.Minute) // greylisting
	}
	c.wait(5)
	receivers[c.Intn(len(receivers))](c, p)
	var b strings.Builder
	for _, l := range slices.Backward(c.lines) {
		b.WriteString("Received: " + l + "\n")
	}
	fmt.Fprintf(&b, "From: ann@a.example\nTo: bob@b.example\nDate: %s\nMessage-ID: <%d@a.example>\n", written.Format("Mon, 2 Jan 2006 15:04:05 -0700"), seed)
	return b.String()
}

// count counts the messages with each finding, by severity and code, those with
// any warning, and those with a suspect line.
func count(t *testing.T, heads []string, o Options) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, head := range heads {
		tr := Read([]byte(head), o)
		seen := map[string]bool{}
		for _, f := range tr.Findings {
			seen[f.Severity+" "+f.Code] = true
			if f.Severity != Note {
				seen["any warning"] = true
			}
		}
		for i := range tr.Steps {
			if tr.Steps[i].Trust == Suspect {
				seen["any suspect line"] = true
				t.Logf("suspect: %s\n%s", tr.Steps[i].Reasons, head)
			}
		}
		for code := range seen {
			counts[code]++
		}
	}
	return counts
}

// readRates reads a column of testdata/rates.txt.
func readRates(t *testing.T, column string) map[string]int {
	t.Helper()
	raw, err := os.ReadFile("testdata/rates.txt")
	if err != nil {
		t.Fatal(err)
	}
	rates, col := map[string]int{}, -1
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		row := strings.Split(line, "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if col < 0 {
			col = slices.Index(row, column)
			continue
		}
		if rates[row[0]], err = strconv.Atoi(row[col]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return rates
}

// checkRates fails for each finding that is more frequent than recorded, and if
// more than 5% of the messages have a warning, or any has a suspect line.
func checkRates(t *testing.T, column string, heads []string, o Options) {
	t.Helper()
	got, want := count(t, heads, o), readRates(t, column)
	for _, code := range slices.Sorted(maps.Keys(got)) {
		if t.Logf("%-26s | %3d", code, got[code]); got[code] > want[code] {
			t.Errorf("%s: %d of %d messages, %d recorded", code, got[code], len(heads), want[code])
		}
	}
	if got["any suspect line"] > 0 || 20*got["any warning"] > len(heads) {
		t.Errorf("%d of %d messages have a warning, %d a suspect line", got["any warning"], len(heads), got["any suspect line"])
	}
}

// TestOrdinaryChains traces 200 generated messages from common providers. The
// origin must never be an address of the provider that hosts the mailbox.
func TestOrdinaryChains(t *testing.T) {
	var heads []string
	for seed := range int64(200) {
		heads = append(heads, newChain(seed))
		if o := Read([]byte(heads[seed]), Options{}).Origin; o == nil || !o.Addr.IsValid() {
			t.Errorf("no origin: %+v\n%s", o, heads[seed])
		}
	}
	checkRates(t, "generated", heads, Options{})
}

// TestCorpusRates traces public sample mail. It is older than typical mail, much
// of it is spam, and some headers were edited by hand or joined from several
// messages.
func TestCorpusRates(t *testing.T) {
	raw, err := os.ReadFile("testdata/received/real/chains.json")
	if err != nil {
		t.Fatal(err)
	}
	var chains []struct {
		Received []string `json:"received_newest_first"`
	}
	if err := json.Unmarshal(raw, &chains); err != nil {
		t.Fatal(err)
	}
	var heads []string
	for _, c := range chains {
		head := ""
		for _, v := range c.Received {
			head += "Received: " + v + "\n"
		}
		heads = append(heads, head)
	}
	checkRates(t, "corpus", heads, Options{Excerpt: true})
}
