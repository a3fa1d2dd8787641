package upstreamtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// Behaviour is a fault of an upstream and the expected result.
type Behaviour struct {
	// Fault is a stage and the wrong answer at that stage: a reply, "drop",
	// "garbage", "endless", "slow", "late" or "bytes" with a reply, and for
	// STARTTLS "broken" or "stalled".
	Fault string
	TLS   string // the upstream's tls attribute; empty: off
	Cert  string // the server's certificate: good, self-signed, expired; empty: no STARTTLS
	Reply string // first reply to the client in mode auto
	Then  string // who has the message after that
	// Copies is the maximum number of copies that the upstream eventually
	// receives; it receives at least one. 0 means that the message is refused
	// permanently or never sent.
	Copies int
	// Words must appear in the outcome of the first attempt: in the reply to the
	// client in inline mode, and in the log, the history and the queue's listing.
	Words string
}

// Name describes the behaviour on one line.
func (b *Behaviour) Name() string {
	return strings.TrimSpace(strings.ReplaceAll(b.Fault, "\r\n", " ") + " " + b.TLS)
}

// Refused reports whether the upstream refuses the message permanently.
func (b *Behaviour) Refused() bool { return b.Copies == 0 && b.Then == AtClient }

// Possible values of Reply and Then.
const (
	Queued   = "250 2.0.0 queued as "
	Taken    = "250 2.0.0 queued" // by the upstream
	InQueue  = "the queue has it"
	AtClient = "the client has it"
	Arrived  = "the upstream has it" // at once
	Stuck    = "the queue keeps it"  // until an administrator intervenes
)

// Behaviours lists behaviours of real servers. Temporary and meaningless
// answers result in one copy or, after the final dot, where the outcome is
// unknown, in at most two (RFC 5321, 4.2.5). A 5xx answer results in a report
// and no copy.
var Behaviours = []Behaviour{
	{Fault: "greeting 421 4.3.2 too busy", Reply: Queued, Then: InQueue, Copies: 1, Words: "does not accept mail now: 421 4.3.2 too busy"},
	{Fault: "greeting 554 5.3.2 no service", Reply: Queued, Then: InQueue, Copies: 1, Words: "does not accept mail now: 554 5.3.2 no service"}, // about the server, not the message
	{Fault: "greeting 550 your host is listed", Reply: Queued, Then: InQueue, Copies: 1, Words: "your host is listed"},
	{Fault: "greeting drop", Reply: Queued, Then: InQueue, Copies: 1, Words: "greeting: the server closed the connection"},
	{Fault: "greeting garbage", Reply: Queued, Then: InQueue, Copies: 1, Words: "greeting: "},
	{Fault: "greeting endless", Reply: Queued, Then: InQueue, Copies: 1, Words: "greeting: "},
	{Fault: "greeting slow", Reply: Queued, Then: InQueue, Copies: 1, Words: "greeting: no answer in time"},
	{Fault: "greeting late 220 upstream.example", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "greeting bytes 220 upstream.example ESMTP", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "greeting 220-welcome\r\n220-*** notice ***\r\n220 upstream.example", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "greeting 220", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "EHLO 421 4.3.2 closing", Reply: Queued, Then: InQueue, Copies: 1, Words: "421 4.3.2 closing"},
	{Fault: "EHLO 500 5.5.1 what", Reply: Taken, Then: Arrived, Copies: 1}, // HELO only
	{Fault: "EHLO 502 not implemented", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "EHLO 550 no ESMTP", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "EHLO drop", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "EHLO garbage", Reply: Queued, Then: InQueue, Copies: 1, Words: "EHLO: "},
	{Fault: "EHLO slow", Reply: Queued, Then: InQueue, Copies: 1, Words: "EHLO: no answer in time"},
	{Fault: "EHLO 250-upstream.example\r\n250-size=1000\r\n250-\r\n250-X-LINK2STATE  \r\n250 8bitmime", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "EHLO bytes 250 upstream.example", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "MAIL 451 4.3.0 later", Reply: "451 4.3.0 later", Then: AtClient, Copies: 1, Words: "451 4.3.0 later"},
	{Fault: "MAIL 421 4.3.2 closing", Reply: Queued, Then: InQueue, Copies: 1, Words: "421 4.3.2 closing"},
	{Fault: "MAIL 550 5.7.1 no", Reply: "550 5.7.1 no", Then: AtClient, Words: "550 5.7.1 no"},
	{Fault: "MAIL drop", Reply: Queued, Then: InQueue, Copies: 1, Words: "the server closed the connection"},
	{Fault: "MAIL slow", Reply: Queued, Then: InQueue, Copies: 1, Words: "no answer in time"},
	{Fault: "RCPT 450 4.2.1 greylisted", Reply: "450 4.2.1 greylisted", Then: AtClient, Copies: 1, Words: "450 4.2.1 greylisted"},
	{Fault: "RCPT 421 4.3.2 closing", Reply: Queued, Then: InQueue, Copies: 1, Words: "421 4.3.2 closing"},
	{Fault: "RCPT 550 5.1.1 no such user", Reply: "550 5.1.1 no such user", Then: AtClient, Words: "550 5.1.1 no such user"},
	{Fault: "RCPT drop", Reply: Queued, Then: InQueue, Copies: 1, Words: "during RCPT: the server closed the connection"},
	{Fault: "RCPT garbage", Reply: Queued, Then: InQueue, Copies: 1, Words: "during RCPT"},
	{Fault: "DATA 451 4.3.0 later", Reply: "451 4.3.0 later", Then: AtClient, Copies: 1, Words: "451 4.3.0 later"},
	{Fault: "DATA 421 4.3.2 closing", Reply: Queued, Then: InQueue, Copies: 1, Words: "421 4.3.2 closing"},
	{Fault: "DATA 554 5.5.0 no", Reply: "554 5.5.0 no", Then: AtClient, Words: "554 5.5.0 no"},
	{Fault: "DATA 250 ok", Reply: "451 4.5.0", Then: AtClient, Copies: 1, Words: "unexpected reply"},
	{Fault: "DATA drop", Reply: Queued, Then: InQueue, Copies: 1, Words: "during DATA: the server closed the connection"},
	{Fault: "body drop", Reply: Queued, Then: InQueue, Copies: 1, Words: "the server closed the connection"},
	{Fault: "dot 451 4.3.0 later", Reply: "451 4.3.0 later", Then: AtClient, Copies: 1, Words: "451 4.3.0 later"},
	{Fault: "dot 421 4.3.2 closing", Reply: Queued, Then: InQueue, Copies: 1, Words: "421 4.3.2 closing"},
	{Fault: "dot 554 5.7.1 spam", Reply: "554 5.7.1 spam", Then: AtClient, Words: "554 5.7.1 spam"},
	{Fault: "dot drop", Reply: Queued, Then: InQueue, Copies: 2, Words: "during end of data: the server closed the connection"},
	{Fault: "dot garbage", Reply: Queued, Then: InQueue, Copies: 2, Words: "during end of data"},
	{Fault: "dot slow", Reply: Queued, Then: InQueue, Copies: 3, Words: "during end of data: no answer in time"}, // on a busy machine another attempt may be slow
	{Fault: "dot 250-2.0.0 queued\r\n250 2.0.0 queued", Reply: "250 2.0.0 queued", Then: Arrived, Copies: 1},
	{Fault: "QUIT drop", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "none: self-signed", TLS: "may", Cert: "self-signed", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "none: expired", TLS: "may", Cert: "expired", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "none: good certificate", TLS: "verify", Cert: "good", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "none: self-signed, verified", TLS: "verify", Cert: "self-signed", Reply: Queued, Then: Stuck, Words: "4.7.5"},
	{Fault: "none: expired, verified", TLS: "verify", Cert: "expired", Reply: Queued, Then: Stuck, Words: "expired on"},
	{Fault: "none: no STARTTLS", TLS: "require", Reply: Queued, Then: Stuck, Words: "4.7.5"},
	{Fault: "STARTTLS 454 4.7.0 not now", TLS: "may", Cert: "good", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "STARTTLS broken", TLS: "may", Cert: "good", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "STARTTLS stalled", TLS: "may", Cert: "good", Reply: Taken, Then: Arrived, Copies: 1},
	{Fault: "STARTTLS 454 4.7.0 not now", TLS: "require", Cert: "good", Reply: Queued, Then: InQueue, Copies: 1, Words: "454 4.7.0 not now"},
	{Fault: "STARTTLS broken", TLS: "require", Cert: "good", Reply: Queued, Then: InQueue, Copies: 1, Words: "TLS"},
	{Fault: "STARTTLS stalled", TLS: "require", Cert: "good", Reply: Queued, Then: InQueue, Copies: 1, Words: "no answer in time"},
	{Fault: "STARTTLS drop", TLS: "require", Cert: "good", Reply: Queued, Then: InQueue, Copies: 1, Words: "STARTTLS: the server closed the connection"},
}

// Certificate returns a certificate for 127.0.0.1 of a Behaviour's kind, and
// the roots that its client trusts. If kind is empty, there is no certificate.
func Certificate(t testing.TB, kind string) (*tls.Config, *x509.CertPool) {
	roots := x509.NewCertPool()
	if kind == "" {
		return nil, roots
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour)
	if kind == "expired" {
		end = time.Now().Add(-time.Hour)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "self-signed" {
		roots.AddCert(leaf)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, roots
}
