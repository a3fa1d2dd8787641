package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"hoplite/internal/listen"
)

// If LF may end a line, LF.LF ends the message, however it is split into
// segments.
func TestBareDots(t *testing.T) {
	for in, want := range map[string]string{
		".\n":                       "",
		".\r\n":                     "",
		"a\n.\n":                    "a\r\n",
		"a\r\n.\r\n":                "a\r\n",
		"a\n.\r\n":                  "a\r\n",
		"a\r\n.\n":                  "a\r\n",
		"..a\n...\n.\n":             ".a\r\n..\r\n",
		"a.\n.b\n.\n":               "a.\r\nb\r\n",
		"a\n.\rb\n.\n":              "a\r\n b\r\n",
		"a\n\n.\n":                  "a\r\n\r\n",
		"Subject: x\n\n.text.\n.\n": "Subject: x\r\n\r\ntext.\r\n",
	} {
		for _, piece := range []int{1, 2, 3, 100} {
			var w bytes.Buffer
			l := &lines{w: &w, fix: true}
			rest, held, start, done := in+"QUIT\n", []byte(nil), true, false
			for !done && rest != "" {
				n := min(piece, len(rest))
				held, rest = append(held, rest[:n]...), rest[n:]
				var used int
				used, done = bareDots(held, &start, l)
				held = held[used:]
			}
			if err := l.close(); err != nil || !done || w.String() != want || string(held)+rest != "QUIT\n" {
				t.Errorf("%q in pieces of %d: %q, %q left, done %v, %v", in, piece, w.String(), string(held)+rest, done, err)
			}
		}
	}
}

func TestTail(t *testing.T) {
	for in, want := range map[string]bool{
		"a\n.\n": true, "a\n.\r\n": true, "a\r\n.\n": true, ".\n": true,
		"a\n": false, "a.\n": false, "a\n..\n": false, "a\n.": false, "": false,
	} {
		for _, piece := range []int{1, 2, 3, 100} {
			tl := tail{[4]byte{3: '\n'}}
			for rest := in; rest != ""; {
				n := min(piece, len(rest))
				tl.follow([]byte(rest[:n]))
				rest = rest[n:]
			}
			if tl.ended() != want {
				t.Errorf("%q in pieces of %d: %v", in, piece, !want)
			}
		}
	}
}

// LF.LF ends a message from a client in BareFrom. Other clients are refused
// with the reason as soon as they wait for a reply, and the connection is
// closed.
func TestBareEnd(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	other := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, tt := range map[string]struct {
		bare  Bare
		from  []netip.Prefix
		taken bool
	}{
		"a device":                 {Fix, loopback, true},
		"a client elsewhere":       {Fix, other, false},
		"without networks":         {Fix, nil, false},
		"a device, bare is reject": {Reject, loopback, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{Bare: tt.bare, BareFrom: tt.from, Limits: Limits{BareEnd: 50 * time.Millisecond}}, listen.Options{})
			c := s.dial(t)
			c.hello()
			c.say("MAIL FROM:<a@example.org>", "250")
			c.say("RCPT TO:<b@example.org>", "250")
			c.say("DATA", "354")
			c.send("Subject: x\n\ntext\n.\n")
			if tt.taken {
				c.want("250")
				if got := s.store.all(); len(got) != 1 || !bytes.HasSuffix([]byte(got[0]), []byte(";Subject: x\r\n\r\ntext\r\n")) {
					t.Errorf("received %q", got)
				}
				c.say("NOOP", "250")
				return
			}
			c.want("554 5.6.0 message ended by <LF>.<LF>")
			c.closed()
			if errs := s.store.errs; len(errs) != 1 || !errors.Is(errs[0], ErrBareEnd) {
				t.Errorf("errors %v", errs)
			}
		})
	}
}
