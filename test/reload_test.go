package test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// reload changes the configuration of a running server and waits until the new
// one is in use.
func (s *server) reload(config string) {
	s.t.Helper()
	const taken = "configuration reloaded"
	before := strings.Count(s.log.String(), taken)
	s.write("relay.hcl", config)
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.waitFor(taken, func() bool { return strings.Count(s.log.String(), taken) > before })
}

const reloaded = `
hostname = "mail.example.org"
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
`

// If a reload removes an upstream for which mail is waiting, the mail is held,
// and is delivered when the upstream is configured again.
func TestReloadUpstream(t *testing.T) {
	t.Parallel()
	p := newPeer(t, "")
	with := func(server string) string {
		return reloaded + `
chain "inbound" {
  route "old" {
    to  = ["example.org"]
    hop = "old"
  }
}
upstream "old" {
  servers    = ["smtp://` + server + `"]
  mode       = "queue"
  recipients = "any"
}
`
	}
	s := prepare(t, with("127.0.0.1:1"))
	s.start()
	s.talk("inbound", `
S: 220 *
C: EHLO client.example.net
S+ 250 *
C: MAIL FROM:<bob@example.com>
S: 250 *
C: RCPT TO:<ann@example.org>
S: 250 *
C: DATA
S: 354 *
C: Subject: patience
C:
C: hello
C: .
S: 250 *
C: QUIT
S: 221 *
`)
	s.reload(reloaded + "chain \"inbound\" {\n}\n")
	s.waitFor("the hold", func() bool {
		return strings.Contains(s.must("", "queue", "list"), "held: upstream old is not configured")
	})
	s.reload(with(p.l.Addr().String()))
	s.waitFor("the mail", func() bool { return strings.Contains(p.newest(), "Subject: patience") })
	s.waitFor("an empty queue", func() bool { return strings.Contains(s.must("", "queue"), "the queue is empty") })
}

// Reloads add, move and remove the metrics block.
func TestReloadMetrics(t *testing.T) {
	t.Parallel()
	config := reloaded + "chain \"inbound\" {\n}\n"
	s := prepare(t, config)
	s.start()
	served := func(network, address string) bool {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}}
		resp, err := client.Get("http://metrics/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(text), "hoplite_queue_messages")
	}
	where := func() (address string) {
		for line := range strings.Lines(s.out.String()) {
			if text, ok := strings.CutPrefix(line, "listening metrics "); ok {
				address = strings.TrimSpace(text)
			}
		}
		return address
	}
	s.reload(config + "metrics {\n  listen = \"127.0.0.1:0\"\n}\n")
	s.waitFor("an address", func() bool { return where() != "" })
	tcp := where()
	if !served("tcp", tcp) {
		t.Errorf("added, but not served at %s", tcp)
	}
	s.reload(config + "metrics {\n  listen = \"127.0.0.1:0\"\n}\n")
	if !served("tcp", where()) || where() != tcp {
		t.Errorf("the same block again: not served at %s, or not there any more but at %s", tcp, where())
	}
	s.reload(config + "metrics {\n  listen = \"unix:metrics.sock\"\n}\n")
	socket := s.dir + "/var/metrics.sock"
	if !served("unix", socket) {
		t.Error("moved, but not served there")
	}
	s.waitFor("the old address to be closed", func() bool { return !served("tcp", tcp) })
	s.reload(config)
	s.waitFor("the metrics to be closed", func() bool { return !served("unix", socket) })
}

// The state of filters survives a reload that does not change them, even if
// they move in the file.
func TestReloadKeepsRates(t *testing.T) {
	t.Parallel()
	with := func(before, messages string) string {
		return reloaded + before + `
chain "inbound" {
  filter "rate" {
    limit "sender" {
      messages = ` + messages + `
    }
  }
  route "here" {
    hop = "boxes"
  }
}
maildrop "boxes" {}
`
	}
	s := prepare(t, with("", `"1/1h"`))
	s.start()
	mail := func(answer string) {
		t.Helper()
		s.talk("inbound", `
S: 220 *
C: EHLO client.example.net
S+ 250 *
C: MAIL FROM:<bob@example.com>
S: `+answer+` *
C: QUIT
S: 221 *
`)
	}
	mail("250")
	s.reload(with("trusted = [\"192.0.2.0/24\"]\n", `"1/1h"`))
	mail("451")
	s.reload(with("", `"3/1h"`))
	mail("250")
}

// An empty file does not stop the server from listening, and the first reload
// closes the port of a removed listener.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	const chain = "chain \"inbound\" {\n}\n"
	s := prepare(t, reloaded+"smtp \"second\" {\n  listen = [\"127.0.0.1:0\"]\n  chain  = \"inbound\"\n}\n"+chain)
	s.start()
	second := s.addr["second"]
	s.write("relay.hcl", "# nothing\n")
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.waitFor("the refusal", func() bool { return strings.Contains(s.log.String(), "has no listeners") })
	c, err := net.Dial("tcp", second)
	if err != nil {
		t.Fatalf("an emptied file closed a port: %v", err)
	}
	c.Close()
	s.reload(reloaded + chain)
	if c, err := net.Dial("tcp", second); err == nil {
		c.Close()
		t.Error("the port of a removed listener is still open")
	}
}
