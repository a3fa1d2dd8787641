package wire

import (
	"net"
	"strings"
	"testing"

	"hoplite/internal/listen"
	"hoplite/mail"
)

func TestPut(t *testing.T) {
	long := strings.Repeat("x", 600)
	for name, tt := range map[string]struct {
		r    mail.Reply
		want string
	}{
		"a line":                    {refusal(250, "2.0.0", "Ok"), "250 2.0.0 Ok\r\n"},
		"no enhanced code":          {refusal(220, "", "mail.example.org ESMTP"), "220 mail.example.org ESMTP\r\n"},
		"several lines":             {refusal(550, "5.1.1", "one\ntwo\nthree\n"), "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three\r\n"},
		"3xx has no enhanced code":  {refusal(354, "3.0.0", "go on"), "354 go on\r\n"},
		"a challenge may be long":   {refusal(334, "", long), "334 " + long + "\r\n"},
		"a CR does not end it":      {refusal(250, "2.0.0", "a\rb"), "250 2.0.0 a?b\r\n"},
		"control and 8-bit octets":  {refusal(250, "2.0.0", "\x1b[0m \x00\x7f é"), "250 2.0.0 ?[0m ?? ?\r\n"},
		"an empty text":             {refusal(250, "2.0.0", ""), "250 2.0.0 \r\n"},
		"an empty line in the text": {refusal(250, "2.0.0", "a\n\nb"), "250-2.0.0 a\r\n250-2.0.0 \r\n250 2.0.0 b\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o := replies{longest: 12288}
			o.put(tt.r)
			if got := string(o.out); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	o := replies{longest: 12288}
	o.put(refusal(250, "2.0.0", long))
	if len(o.out) > 512 {
		t.Errorf("a line of %d octets", len(o.out))
	}
}

// accepted returns a connection as passed on by a listener, and its other end.
func accepted(t *testing.T) (near *listen.Conn, far net.Conn) {
	t.Helper()
	feed := NewFeed()
	l := listen.New(feed, listen.Options{})
	got := make(chan *listen.Conn, 1)
	go l.Run(t.Context(), func(c *listen.Conn) { got <- c })
	a, far := net.Pipe()
	feed.Push(a)
	near = <-got
	t.Cleanup(func() { near.Close(); far.Close(); feed.Close() })
	return near, far
}

// A function that waits for a reply is called after the reply has been sent, or
// immediately if the connection is already closed.
func TestAfterwards(t *testing.T) {
	near, far := accepted(t)
	o := replies{sock: near, longest: 100}
	var order []string
	done := make(chan string)
	go func() {
		b := make([]byte, 100)
		n, _ := far.Read(b)
		done <- string(b[:n])
	}()
	o.put(refusal(250, "2.0.0", "Ok"))
	o.afterwards(func() { order = append(order, "first") })
	o.afterwards(func() {
		order = append(order, "second")
		o.afterwards(func() { order = append(order, "third") })
	})
	if len(order) != 0 {
		t.Errorf("%v before the reply", order)
	}
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "250 2.0.0 Ok\r\n" {
		t.Errorf("sent %q", got)
	}
	if got := strings.Join(order, " "); got != "first second third" {
		t.Errorf("called %s", got)
	}
	o.close()
	o.put(refusal(250, "2.0.0", "too late"))
	called := false
	o.afterwards(func() { called = true })
	if len(o.out) != 0 || !called {
		t.Errorf("after close: %q, called %v", o.out, called)
	}
}
