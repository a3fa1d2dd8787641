package wire

import (
	"errors"
	"runtime/debug"
	"time"
)

// Serve greets the client and answers it up to the first command that needs
// the library. It returns when that has the connection, or when it is over.
func (c *Conn) Serve() {
	c.put(c.banner())
	c.lobby()
}

// lobby answers commands until one needs the library.
func (c *Conn) lobby() {
	defer func() {
		if p := recover(); p != nil {
			if c.opts.Panic != nil {
				c.opts.Panic(p, debug.Stack())
			}
			c.Close()
		}
	}()
	for c.err == nil && len(c.feed) == 0 {
		c.next()
	}
	if c.err == nil {
		c.attach()
	}
}

// attach gives the connection to the library, which is told what it has missed
// and whose answers to that are nobody's business.
func (c *Conn) attach() {
	c.attached = true
	c.swallow = 1 // its greeting
	if c.helo != "" {
		hello := "HELO "
		switch {
		case c.opts.LMTP:
			hello = "LHLO "
		case c.esmtp:
			hello = "EHLO "
		}
		c.feed = append([]byte(hello+c.helo+"\r\n"), c.feed...)
		c.swallow++
	}
	c.opts.Library(c)
}

// alone answers what the lobby can: no transaction has been begun, so there is
// nothing that the library would have to forget.
func (c *Conn) alone(verb string) bool {
	switch verb {
	case "EHLO", "HELO", "LHLO":
		switch {
		case c.opts.LMTP && verb != "LHLO":
			c.say(wantLHLO)
		case !c.opts.LMTP && verb == "LHLO":
			c.say(wantEHLO)
		default:
			c.put(c.greeted())
		}
	case "NOOP", "RSET":
		c.say(refusal(250, "2.0.0", plain[verb]))
	case "QUIT":
		c.put(refusal(221, "2.0.0", plain[verb]))
		c.Close()
	default:
		return false
	}
	return true
}

var (
	wantLHLO = refusal(500, "5.5.1", "this is LMTP, say LHLO")
	wantEHLO = refusal(500, "5.5.1", "this is SMTP, say EHLO")
	errPark  = errors.New("nothing said for a moment")
)

// idle tells whether the library could let the connection go.
func (c *Conn) idle() bool {
	return c.attached && c.phase == commands && !c.inMail && c.limit().Park > 0
}

// part makes Read say io.EOF, upon which the library calls Close, which takes
// the connection back to the lobby.
func (c *Conn) part() { c.parting = true }

// takeBack is Close of a connection that only the library is done with.
func (c *Conn) takeBack() {
	c.parting, c.attached = false, false
	c.partial, c.overrides, c.answered, c.cmd = nil, nil, 0, nil
	go c.lobby()
}

// patience is how long to wait for the next command.
func (c *Conn) patience(now time.Time) time.Time {
	if c.idle() {
		return now.Add(c.limit().Park)
	}
	return now.Add(c.limit().IdleTime)
}

func (c *Conn) limit() *Limits { return &c.opts.Limits }
