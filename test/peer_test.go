package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// peer simulates an upstream server. It replies to each command according to
// the first line of its script that is a prefix of the command, and accepts all
// other commands. "." stands for the end of a message.
type peer struct {
	l      net.Listener
	script [][2]string

	mu       sync.Mutex
	say      func(command string) (reply string, ok bool) // before the script; may be nil
	messages []string
	lines    []string
}

func newPeer(t testing.TB, script string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{l: l}
	for line := range strings.Lines(script) {
		if when, reply, ok := strings.Cut(strings.TrimSpace(line), " -> "); ok {
			p.script = append(p.script, [2]string{when, reply})
		}
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *peer) answer(command, otherwise string) string {
	p.mu.Lock()
	say := p.say
	p.mu.Unlock()
	if say != nil {
		if reply, ok := say(command); ok {
			return reply
		}
	}
	for _, s := range p.script {
		if strings.HasPrefix(command, s[0]) {
			return s[1]
		}
	}
	return otherwise
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	fmt.Fprint(c, p.answer("CONNECT", "220 old.example.org ready"), "\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		p.mu.Lock()
		p.lines = append(p.lines, line)
		p.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		switch verb {
		case "EHLO":
			reply := p.answer(line, "250-old.example.org|250-PIPELINING|250 8BITMIME")
			fmt.Fprint(c, strings.ReplaceAll(reply, "|", "\r\n"), "\r\n")
		case "DATA":
			reply := p.answer(line, "354 go on")
			fmt.Fprint(c, reply, "\r\n")
			if !strings.HasPrefix(reply, "354") {
				continue
			}
			if !p.message(in) {
				return
			}
			fmt.Fprint(c, p.answer(".", "250 2.0.0 Ok: queued as OLD1"), "\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 2.0.0 bye\r\n")
			return
		default:
			fmt.Fprint(c, p.answer(line, "250 2.0.0 ok"), "\r\n")
		}
	}
}

func (p *peer) message(in io.Reader) bool {
	var b strings.Builder
	r := in.(*bufio.Reader)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, b.String())
	return true
}

// newest returns the last message received.
func (p *peer) newest() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.messages) == 0 {
		return ""
	}
	return p.messages[len(p.messages)-1]
}

// commands returns all lines received outside messages.
func (p *peer) commands() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}
