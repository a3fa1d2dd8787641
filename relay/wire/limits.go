package wire

import "time"

// Limits holds the limits of one connection. Zero means the default given in
// the field's comment.
type Limits struct {
	Line     int           // 2048 octets of a command line
	AuthLine int           // 12288 octets of an AUTH line (RFC 4954, 4)
	Commands int           // 10000 commands since the last message
	Idle     int           // 200 commands without effect since the last message, after which each is an error
	Errors   int           // 20 errors since the last message, then 421
	Slow     int           // 5 errors, after which each is delayed by Delay
	Auths    int           // 3 failed logins, then 421
	Messages int           // accepted messages, then 421; the default is no limit
	Delay    time.Duration // 1 s; negative: none
	IdleTime time.Duration // 5 min until a command begins (RFC 5321, 4.5.3.2.7)
	LineTime time.Duration // 1 min for the rest of a line
	BodyTime time.Duration // 3 min until more of a message arrives
	BareEnd  time.Duration // 10 s until a message ended with LF.LF is refused
	MinRate  int64         // 64 octets of a message per second, on average ...
	Grace    time.Duration // ... after the first minute
	Park     time.Duration // 1 s of silence between messages until the library is detached
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Line, 2048)
	setDefault(&l.AuthLine, 12288)
	setDefault(&l.Commands, 10000)
	setDefault(&l.Idle, 200)
	setDefault(&l.Errors, 20)
	setDefault(&l.Slow, 5)
	setDefault(&l.Auths, 3)
	setDefault(&l.Delay, time.Second)
	setDefault(&l.IdleTime, 5*time.Minute)
	setDefault(&l.LineTime, time.Minute)
	setDefault(&l.BodyTime, 3*time.Minute)
	setDefault(&l.BareEnd, 10*time.Second)
	setDefault(&l.MinRate, 64)
	setDefault(&l.Grace, time.Minute)
	setDefault(&l.Park, time.Second)
	return l
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// tally counts commands and errors, and determines when the connection must
// end.
type tally struct {
	limits   Limits
	commands int // since the last message
	idle     int // commands without effect on a message
	errors   int // since the last message
	auths    int // failed logins
	messages int // accepted
	counted  bool
	penalty  bool // the next command is delayed
}

// command counts a command. It returns false if there have been too many.
func (t *tally) command(verb string) bool {
	t.counted, t.penalty = false, false
	if t.commands++; t.commands > t.limits.Commands {
		return false
	}
	switch verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "QUIT":
		return true
	}
	if t.idle++; t.idle > t.limits.Idle {
		t.errors++
		t.penalty = true
	}
	return true
}

// reply counts a reply. Several refusals of one command are one error; 502 is
// not an error, because clients try commands that a server may not support. It
// returns the reason for ending the connection, or "".
func (t *tally) reply(code int) string {
	// After too many failures, 454 refuses a login without checking it.
	if (code >= 500 && code != 502 || code == 454) && !t.counted {
		t.counted, t.penalty = true, true
		t.errors++
		if code == 535 || code == 454 {
			t.auths++
		}
	}
	switch {
	case t.auths >= t.limits.Auths:
		return "too many failed logins"
	case t.errors >= t.limits.Errors:
		return "too many errors"
	}
	return ""
}

// accepted counts a message and resets the other counters.
func (t *tally) accepted() {
	t.messages++
	t.commands, t.errors, t.idle = 0, 0, 0
}

// full reports whether the message limit has been reached.
func (t *tally) full() bool { return t.limits.Messages > 0 && t.messages >= t.limits.Messages }

// delay returns the delay before the next command, which is caused by repeated
// errors.
func (t *tally) delay() time.Duration {
	if !t.penalty || t.limits.Delay < 0 || t.errors <= t.limits.Slow && t.auths == 0 {
		return 0
	}
	t.penalty = false
	return t.limits.Delay
}
