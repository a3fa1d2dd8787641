package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink is an upstream that records every octet it receives.
type sink struct {
	l net.Listener

	mu       sync.Mutex
	raw      bytes.Buffer
	messages []string // preceded by the reverse path
}

func newSink(t *testing.T) *sink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{l: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

// serve parses its input like a lax server: a line ends at LF, and a line with
// a single dot ends the message.
func (s *sink) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	io.WriteString(c, "220 sink\r\n")
	from, data := "", false
	var message strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.mu.Lock()
		s.raw.WriteString(line)
		s.mu.Unlock()
		text := strings.TrimRight(line, "\r\n")
		reply := "250 ok"
		verb, _, _ := strings.Cut(strings.ToUpper(text), " ")
		switch {
		case data && text == ".":
			data = false
			s.mu.Lock()
			s.messages = append(s.messages, from+"\n"+message.String())
			s.mu.Unlock()
			message.Reset()
		case data:
			message.WriteString(line)
			continue
		case verb == "MAIL":
			from = text
		case verb == "DATA":
			data, reply = true, "354 go"
		case verb == "QUIT":
			return
		}
		io.WriteString(c, reply+"\r\n")
	}
}

func (s *sink) take() (raw string, messages []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, messages = s.raw.String(), s.messages
	s.raw.Reset()
	s.messages = nil
	return raw, messages
}

// bare reports whether s contains a bare CR or LF.
func bare(s string) bool {
	rest := strings.ReplaceAll(s, "\r\n", "")
	return strings.ContainsAny(rest, "\r\n\x00")
}

const smuggleConfig = `
smtp "reject" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
smtp "fix" {
  listen = ["127.0.0.1:0"]
  bare   = "fix"
  chain  = "inbound"
}
smtp "devices" {
  listen     = ["127.0.0.1:0"]
  relay_from = ["192.0.2.0/24"]
  chain      = "inbound"
}
chain "inbound" {
  route "old" {
    to  = ["example.org"]
    hop = "old"
  }
}
upstream "old" {
  servers = ["smtp://SINK"]
  mode    = "inline"
}
`

// If a dot does not end a message, a lax server after this one never receives
// two messages or a bare CR or LF, regardless of the octets around the dot
// (CVE-2023-51764 and similar, in-line).
func TestSmuggling(t *testing.T) {
	up := newSink(t)
	s := prepare(t, completed(strings.Replace(smuggleConfig, "SINK", up.l.Addr().String(), 1)))
	s.start()
	seen := 0
	marks := []string{"\n", "\r", "\r\n", "\r\r\n", "\n\r", "\r\x00\n", "\r\n\x00"}
	for _, listener := range []string{"reject", "fix", "devices"} {
		for _, before := range marks {
			for _, after := range marks {
				if strings.HasSuffix(before, "\r\n") && after == "\r\n" {
					continue // this sequence does end the message
				}
				// The message is sent in one write, or with a pause after the
				// dot.
				pause := time.Duration(len(before+after)%2) * 3 * time.Millisecond
				name := fmt.Sprintf("%s %q.%q %v", listener, before, after, pause)
				s.smuggle(name, listener, before+"."+after, pause)
				raw, messages := up.take()
				if len(messages) > 1 || len(messages) == 1 && !strings.HasPrefix(messages[0], "MAIL FROM:<bob@") {
					t.Errorf("%s: the upstream saw %q", name, messages)
				}
				if bare(raw) {
					t.Errorf("%s: a bare CR or LF in %q", name, raw)
				}
				seen += len(messages)
			}
		}
	}
	if seen == 0 {
		t.Error("no message came through: the test proves nothing")
	}
}

// smuggle sends a message that contains a second one after the false end.
func (s *server) smuggle(name, listener, end string, pause time.Duration) {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr[listener])
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for _, line := range []string{"", "HELO client.example.net", "MAIL FROM:<bob@example.com>", "RCPT TO:<ann@example.org>", "DATA"} {
		if line != "" {
			io.WriteString(c, line+"\r\n")
		}
		if _, err := r.ReadString('\n'); err != nil {
			s.t.Fatalf("%s: %s: %v", name, line, err)
		}
	}
	io.WriteString(c, "Subject: first\r\n\r\ntext"+end)
	time.Sleep(pause)
	// This is written in the background, so that the replies of a server that
	// closes early can be read.
	go io.WriteString(c, "MAIL FROM:<evil@example.com>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"+
		"Subject: second\r\n\r\ntext\r\n.\r\nQUIT\r\n")
	go func() {
		time.Sleep(patience / 2)
		c.Close()
	}()
	io.Copy(io.Discard, r)
}
