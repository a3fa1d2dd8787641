package test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hoplite/relay/forward/upstreamtest"
	"hoplite/relay/queue"
)

// TestUpstreamBehaviours puts one server in front of upstreams that misbehave,
// in each mode, and compares the replies, queue, log, delivery reports and
// trace with the actual outcome.
func TestUpstreamBehaviours(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for timeouts")
	}
	t.Parallel()
	u := newUnruly(t)
	u.each(func(c *unrulyCase) { c.offer(c.firstReply()) })
	u.s.waitFor("the first attempts", func() bool { return u.attempted(u.queue()) })
	queued := u.queue()
	for _, c := range u.cases {
		c.compareQueue(queued)
	}
	for _, c := range u.cases {
		c.peer.Heal()
	}
	u.each(func(c *unrulyCase) { c.offerAgain() })
	u.s.must("", "queue", "retry", "--all")
	u.s.waitFor("the queue to be empty, but for mail that cannot be sent", func() bool {
		left := u.queue()
		for _, c := range u.cases {
			if in, ok := left[c.id]; ok != c.stays() || ok && in.Rcpts[0].Attempts < 2 {
				return false
			}
			delete(left, c.id)
		}
		return len(left) == 0
	})
	u.s.waitFor("the reports", func() bool { return len(u.s.mails("ann@example.org", "")) >= u.reports() })
	lines, reports := u.logLines(), u.mailbox()
	for _, c := range u.cases {
		c.compareCopies()
		c.compareLog(lines[c.id])
		c.compareReports(reports)
	}
	u.each(func(c *unrulyCase) { c.compareTrace() })
}

// unruly is a server whose upstreams misbehave.
type unruly struct {
	s     *server
	cases []*unrulyCase
}

// unrulyCase is an upstream in one mode, and the message sent to it.
type unrulyCase struct {
	upstreamtest.Behaviour
	t     *testing.T
	s     *server
	mode  string
	name  string // name of the upstream; its domain is NAME.example
	peer  *upstreamtest.Server
	reply string // reply to the first offer
	id    string // of the first offer
	again string // id of the later accepted offer, if any
}

const unrulyConfig = `
smtp "devices" {
  listen     = ["127.0.0.1:0"]
  relay_from = ["127.0.0.0/8"]
  chain      = "all"
}
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
`

func newUnruly(t *testing.T) *unruly {
	u := &unruly{s: prepare(t, "")}
	certs := map[string]*tls.Config{}
	for _, kind := range []string{"good", "self-signed", "expired"} {
		certs[kind], _ = upstreamtest.Certificate(t, kind)
	}
	// Certificate returns its own certificate as roots, which the server reads
	// from a file. An expired certificate must be refused because it has
	// expired, not because it is untrusted.
	var roots []byte
	for _, kind := range []string{"good", "expired"} {
		roots = append(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[kind].Certificates[0].Leaf.Raw})...)
	}
	u.s.write("roots.pem", string(roots))
	u.s.env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(u.s.dir, "roots.pem"), "SSL_CERT_DIR=/nonexistent")
	config, routes := unrulyConfig, ""
	for i, b := range upstreamtest.Behaviours {
		for _, mode := range []string{"queue", "auto", "inline"} {
			c := &unrulyCase{Behaviour: b, t: t, s: u.s, mode: mode, name: fmt.Sprint(mode, i), peer: upstreamtest.New(t, b.Fault, -1, certs[b.Cert])}
			u.cases = append(u.cases, c)
			config += c.upstream()
			routes += fmt.Sprintf("  route %q {\n    to = [\"%s.example\"]\n    hop = %q\n  }\n", c.name, c.name, c.name)
		}
	}
	routes += "  route \"here\" {\n    to = [\"example.org\"]\n    hop = \"boxes\"\n  }\n"
	u.s.write("relay.hcl", completed(config+"chain \"all\" {\n"+routes+"}\n"))
	u.s.must("secret\n", "user", "add", "ann@example.org")
	u.s.start()
	return u
}

// upstream returns the block of the case's upstream.
func (c *unrulyCase) upstream() string {
	policy, more := "off", ""
	if c.TLS != "" {
		policy = c.TLS
	}
	switch {
	case c.Fault == "dot slow":
		more = `data_timeout = "1s"`
	case strings.HasSuffix(c.Fault, "slow"):
		more = `command_timeout = "1s"`
	case strings.HasSuffix(c.Fault, "stalled"):
		more = `connect_timeout = "1s"`
	}
	return fmt.Sprintf("upstream %q {\n  servers = [\"smtp://%s\"]\n  mode = %q\n  recipients = \"any\"\n  tls = %q\n  first_retry = \"1h\"\n  %s\n}\n",
		c.name, c.peer.Addr(), c.mode, policy, more)
}

// each calls f for every case, several at a time.
func (u *unruly) each(f func(*unrulyCase)) {
	u.s.t.Helper()
	var all sync.WaitGroup
	work := make(chan *unrulyCase)
	for range 16 {
		all.Go(func() {
			for c := range work {
				f(c)
			}
		})
	}
	for _, c := range u.cases {
		work <- c
	}
	close(work)
	all.Wait()
	if u.s.t.Failed() {
		u.s.t.FailNow()
	}
}

func (c *unrulyCase) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s, %s: "+format, append([]any{c.mode, c.Name()}, args...)...)
}

// firstReply returns the expected start of the reply to the message.
func (c *unrulyCase) firstReply() string {
	switch {
	case c.mode == "queue":
		return upstreamtest.Queued
	case c.mode == "auto" || c.Then == upstreamtest.Arrived:
		return c.Reply
	case c.Refused():
		return "5"
	}
	return "4"
}

// inQueue reports whether the message is in the queue after the first offer and
// the queue's first attempt.
func (c *unrulyCase) inQueue() bool {
	kept := c.Then == upstreamtest.InQueue || c.Then == upstreamtest.Stuck
	return c.mode == "queue" && c.Then != upstreamtest.Arrived && !c.Refused() || c.mode == "auto" && kept
}

// stays reports whether the message stays in the queue permanently.
func (c *unrulyCase) stays() bool { return c.inQueue() && c.Then == upstreamtest.Stuck }

// left reports whether the message from the first offer eventually reaches the
// upstream.
func (c *unrulyCase) left() bool {
	return c.inQueue() && !c.stays() || c.Then == upstreamtest.Arrived || c.mode == "queue" && c.Copies > 0
}

var idPattern = regexp.MustCompile(`[0-9][0-9a-z]{15}`)

// send offers the message and returns the last reply and the id in it.
func (c *unrulyCase) send() (reply, id string) {
	conn, err := net.Dial("tcp", c.s.addr["devices"])
	if err != nil {
		c.errorf("%v", err)
		return "", ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for _, say := range []string{
		"", "EHLO client.example.com", "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@" + c.name + ".example>", "DATA",
		"Subject: hello\r\n\r\nbody\r\n.",
	} {
		if say != "" {
			fmt.Fprint(conn, say, "\r\n")
		}
		for reply = "    "; len(reply) > 3 && (reply == "    " || reply[3] == '-'); {
			if reply, err = in.ReadString('\n'); err != nil {
				c.errorf("%s: %v", say, err)
				return "", ""
			}
		}
		if reply[0] > '3' {
			break
		}
	}
	fmt.Fprint(conn, "QUIT\r\n")
	in.ReadString('\n')
	return strings.TrimSpace(reply), idPattern.FindString(reply)
}

// offer sends the message and checks that the reply begins with want.
func (c *unrulyCase) offer(want string) {
	c.reply, c.id = c.send()
	if !strings.HasPrefix(c.reply, want) || c.id == "" {
		c.errorf("the client is told %q, want %s", c.reply, want)
	}
	// 421 refers to the connection to the upstream, not to the client's.
	if c.mode == "inline" && !strings.Contains(c.reply, strings.TrimPrefix(c.Words, "421 ")) {
		c.errorf("the client is told %q, want %q in it", c.reply, c.Words)
	}
}

// offerAgain sends the message again, as a client that still has it would.
func (c *unrulyCase) offerAgain() {
	if c.mode == "queue" || c.Copies == 0 || c.inQueue() || c.Then == upstreamtest.Arrived {
		return
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		reply, id := c.send()
		if strings.HasPrefix(reply, upstreamtest.Taken) {
			c.again = id
			return
		}
	}
	c.errorf("the message is never accepted")
}

// queue returns the queued messages by id.
func (u *unruly) queue() map[string]queue.Info {
	var list []queue.Info
	out := u.s.must("", "queue", "list", "--json", "--limit", "0")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		u.s.t.Fatalf("%v\n%s", err, out)
	}
	all := map[string]queue.Info{}
	for _, in := range list {
		all[in.ID] = in
	}
	return all
}

// attempted reports whether an attempt has been made for all messages, and
// those that do not stay are no longer in the queue.
func (u *unruly) attempted(queued map[string]queue.Info) bool {
	for _, c := range u.cases {
		in, ok := queued[c.id]
		if ok != c.inQueue() || ok && in.Rcpts[0].Attempts == 0 {
			return false
		}
	}
	return true
}

// compareQueue checks the queue's listing after the first attempt.
func (c *unrulyCase) compareQueue(queued map[string]queue.Info) {
	in, ok := queued[c.id]
	if !ok {
		return // already checked by attempted
	}
	if in.Upstream != c.name || in.State == "held" || in.Rcpts[0].State != "waiting" || !strings.Contains(in.Rcpts[0].Reply, c.Words) {
		c.errorf("the queue has %+v, want %q in the reply", in, c.Words)
	}
}

// compareCopies checks the number of messages that the upstream received.
func (c *unrulyCase) compareCopies() {
	if n := c.peer.Taken(); n > c.Copies || n < min(c.Copies, 1) {
		c.errorf("%d copies, want at most %d", n, c.Copies)
	}
}

// reports returns the number of expected delivery reports.
func (u *unruly) reports() (n int) {
	for _, c := range u.cases {
		if c.reported() {
			n++
		}
	}
	return n
}

// reported reports whether the sender receives a delivery report. Only the
// queue sends them.
func (c *unrulyCase) reported() bool { return c.mode == "queue" && c.Refused() }

// mailbox returns the texts of the sender's mail.
func (u *unruly) mailbox() (texts []string) {
	for _, name := range u.s.mails("ann@example.org", "") {
		b, err := os.ReadFile(name)
		if err != nil {
			u.s.t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

func (c *unrulyCase) compareReports(mails []string) {
	var mine []string
	for _, text := range mails {
		if strings.Contains(text, c.id) {
			mine = append(mine, text)
		}
	}
	if len(mine) == 1 != c.reported() || len(mine) > 1 {
		c.errorf("%d reports", len(mine))
	}
	for _, text := range mine {
		flat := words(text)
		if !strings.Contains(flat, "Action: failed") || !strings.Contains(flat, c.Words) || !strings.Contains(flat, "bob@"+c.name+".example") {
			c.errorf("the report is\n%s", text)
		}
	}
}

// words returns text with single spaces, because the places where it is folded
// do not matter.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// logLine is a line of the log about a message.
type logLine struct {
	ID, Message, Verdict, Reply, Stage, By string
	Trail                                  struct {
		Said []struct{ Stage, By, Verdict, Rcpt, Reply, Reason string }
		Sent []struct{ Rcpt, Hop, Reply, Peer, Proof string }
	}
}

// logLines returns the log lines by message id.
func (u *unruly) logLines() map[string][]logLine {
	all := map[string][]logLine{}
	for text := range strings.Lines(u.s.log.String()) {
		var l logLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			u.s.t.Fatalf("%v: %s", err, text)
		}
		all[l.ID] = append(all[l.ID], l)
	}
	return all
}

// compareLog checks the log, which has one line for the transaction with the
// client, and one for each delivery attempt.
func (c *unrulyCase) compareLog(lines []logLine) {
	var client []logLine
	var attempts []string
	for _, l := range lines {
		switch {
		case l.Stage == "":
			client = append(client, l)
		case len(l.Trail.Sent) != 1 || l.By != c.name || l.Trail.Sent[0].Rcpt != "bob@"+c.name+".example":
			c.errorf("the log says %+v", l)
		default:
			if c.mode == "queue" && len(attempts) == 0 && !strings.Contains(l.Trail.Sent[0].Reply, c.Words) {
				c.errorf("the log says %s about the first attempt, want %q in it", l.Trail.Sent[0].Reply, c.Words)
			}
			attempts = append(attempts, l.Message)
		}
	}
	verdict := map[byte]string{'2': "accepted", '4': "deferred", '5': "refused"}[c.reply[0]]
	_, lastLine, _ := strings.Cut(c.reply, " ")
	if len(client) != 1 || client[0].Verdict != verdict || client[0].Reply[:3] != c.reply[:3] || !strings.HasSuffix(lastLine, client[0].Reply[strings.LastIndex(client[0].Reply, "/")+1:][4:]) {
		c.errorf("the log says %+v, want %s: %s", client, verdict, c.reply)
		return
	}
	if c.mode == "auto" && c.inQueue() { // the attempt made while the client waited
		said := client[0].Trail.Said
		if len(said) == 0 || !strings.Contains(said[len(said)-1].Reply, c.Words) || said[len(said)-1].Verdict != "defer" {
			c.errorf("the log says %+v, want %q in it", said, c.Words)
		}
	}
	ok := false
	switch all := strings.Join(attempts, " "); {
	case c.mode == "inline" || c.mode == "auto" && !c.inQueue():
		ok = len(attempts) == 0
	case c.Refused():
		ok = all == "not delivered"
	case c.Then == upstreamtest.Arrived:
		ok = all == "delivered"
	case c.stays():
		ok = len(attempts) > 0 && !strings.Contains(all, "delivered")
	default:
		ok = strings.HasSuffix(all, "delivered") && strings.Count(all, "delivered") == 1 && !strings.Contains(all, "not")
	}
	if !ok {
		c.errorf("the log has the attempts %q", attempts)
	}
}

// compareTrace checks the output of "hoplite trace ID".
func (c *unrulyCase) compareTrace() {
	out, err := c.s.run("", "trace", c.id)
	flat := words(out)
	title, _, _ := strings.Cut(out, "\n")
	want := map[byte]string{'2': "accepted", '4': "deferred", '5': "refused"}[c.reply[0]]
	if !strings.HasPrefix(title, c.id+" "+want) {
		c.errorf("trace begins with %q, want %s", title, want)
	}
	if !strings.Contains(flat, c.Words) || !strings.Contains(flat, "<bob@"+c.name+".example>") {
		c.errorf("trace lacks %q:\n%s", c.Words, out)
	}
	delivered := strings.Contains(flat, "> → "+c.name+" at 127.0.0.1 ["+c.peer.Addr()+"]: "+upstreamtest.Taken)
	if delivered != c.left() {
		c.errorf("trace says that it was delivered: %v\n%s", delivered, out)
	}
	if proof := map[string]string{"": "clear text", "self-signed": "not verified", "expired": "not verified", "good": "verified"}[c.Cert]; delivered && !strings.HasPrefix(c.Fault, "STARTTLS") && !strings.Contains(flat, proof) {
		c.errorf("trace lacks %q\n%s", proof, out)
	}
	// Clear text after a failed handshake is shown with its reason in
	// parentheses.
	if c.TLS == "may" && strings.HasPrefix(c.Fault, "STARTTLS") && c.Then == upstreamtest.Arrived && !strings.Contains(flat, "clear text (") {
		c.errorf("trace lacks why it was sent in clear text\n%s", out)
	}
	if c.Then == upstreamtest.Arrived && err != nil || c.reply[0] != '2' && err == nil {
		c.errorf("trace: %v\n%s", err, out)
	}
}
