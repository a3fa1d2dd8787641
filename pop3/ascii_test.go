package pop3

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestASCIIHeader(t *testing.T) {
	const body = "\r\nSubject: gr\u00fc\u00dfe\r\n\r\ngr\u00fc\u00dfe\r\n"
	big := "X: " + strings.Repeat("\u00fc", maxHeader) + "\r\n"
	for _, tc := range []struct{ name, in, want string }{
		{"ASCII", "Subject:  a\r\nTo: b\r\n" + body, "Subject:  a\r\nTo: b\r\n" + body},
		{"UTF-8", "Subject: gr\u00fc\u00dfe\r\nTo: b\r\n" + body, "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nTo: b\r\n" + body},
		{"no body", "Subject: \u00fc\r\n", "Subject: =?utf-8?q?=C3=BC?=\r\n"},
		{"no header", body, body},
		{"no line ending", "Subject: \u00fc", "Subject: =?utf-8?q?=C3=BC?=\r\n"},
		{"empty", "", ""},
		{"huge", big + body, big + body},
	} {
		for _, piece := range []int{1, 7, 4096, 1 << 22} {
			if piece < 4096 && len(tc.in) > 1<<16 {
				continue // takes too long
			}
			t.Run(fmt.Sprint(tc.name, " in pieces of ", piece), func(t *testing.T) {
				var out bytes.Buffer
				a := &asciiHeader{w: &out}
				for p := []byte(tc.in); len(p) > 0; {
					n, err := a.Write(p[:min(piece, len(p))])
					must(t, err)
					p = p[n:]
				}
				must(t, a.end())
				if out.String() != tc.want {
					t.Errorf("got %.200q, want %.200q", out.String(), tc.want)
				}
			})
		}
	}
}

// A client that has not sent UTF8 receives ASCII headers from RETR and TOP; one
// that has receives the message as stored.
func TestUTF8Headers(t *testing.T) {
	const text = "From: J\u00f6rg <j\u00f6rg@example.org>\r\nSubject: gr\u00fc\u00dfe\r\n\r\ngr\u00fc\u00dfe\r\n"
	const plain = "From: =?utf-8?b?SsO2cmcgasO2cmdAZXhhbXBsZS5vcmc=?=\r\n <invalid@internationalized-address.invalid>\r\n" +
		"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\ngr\u00fc\u00dfe\r\n"
	s := open(t, Config{})
	s.put(t, text)
	for _, utf8 := range []bool{false, true} {
		c := s.dial(t)
		want, commands := plain, []string{"USER ann@localhost", "PASS secret word"}
		if utf8 {
			want, commands = text, append([]string{"UTF8"}, commands...)
		}
		c.line()
		for _, command := range commands {
			fmt.Fprintf(c, "%s\r\n", command)
			if got := c.line(); !strings.HasPrefix(got, "+OK") {
				t.Fatalf("%s: %s", command, got)
			}
		}
		for _, command := range []string{"RETR 1", "TOP 1 9"} {
			fmt.Fprintf(c, "%s\r\n", command)
			var got strings.Builder
			for line := c.line(); line != "."; line = c.line() {
				if line == "closed" {
					t.Fatal(line)
				}
				got.WriteString(line + "\r\n")
			}
			if _, message, _ := strings.Cut(got.String(), "\r\n"); message != want {
				t.Errorf("%s, UTF8 %v: got %q, want %q", command, utf8, message, want)
			}
		}
		fmt.Fprintf(c, "QUIT\r\n")
		c.line()
	}
}
