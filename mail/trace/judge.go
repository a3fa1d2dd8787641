package trace

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail/received"
)

// judge puts into words what was found, the worst first.
func (t *Trace) judge() {
	t.judgeCount()
	for _, l := range t.Loops {
		t.find("loop", Problem, 0, fmt.Sprintf("the message went round: %s saw it %d times (%s)", strings.Join(l.Hosts, " and "), l.Times, l.Why),
			"look for a forward or alias on these hosts that leads back, and break it there")
	}
	t.judgeTrust()
	t.judgeClocks()
	t.judgeDelays()
	t.judgeLines()
	t.judgeFields()
	for i := range t.Auth {
		c := &t.Auth[i]
		for j := range t.Steps {
			if s := &t.Steps[j]; s.believed() && c.By != "" && (sameHost(s.By.Name, c.By) || house(s.By.Name) != "" && house(s.By.Name) == house(c.By)) &&
				strings.EqualFold(c.Field, "Authentication-Results") {
				c.Believed = true
			}
		}
	}
}

func (t *Trace) judgeCount() {
	n := len(t.Steps) + t.Dropped
	switch {
	case n == 0:
		t.find("no-received", Note, 0, "no Received lines: the message was never relayed, or they were removed", "ask for the message as it lies in the mailbox, with all headers")
	case n > limitHops:
		t.find("hop-limit", Problem, 0, fmt.Sprintf("%d hops: servers refuse more than %d, for that is a loop (RFC 5321, 6.3)", n, limitHops), "find the hosts that come again and again")
	case n > warnHops:
		t.find("many-hops", Warning, 0, fmt.Sprintf("%d hops are more than a message needs", n), "look for a detour or a loop")
	}
}

func (t *Trace) judgeTrust() {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		s := &t.Steps[i]
		if s.Trust != Suspect {
			continue
		}
		severity, advice := Warning, "believe nothing of this line and of the older ones; where the message came from is what the boundary line says"
		switch {
		case s.signs&ownNameSign != 0:
			severity = Problem
		case !s.isSuspect():
			severity, advice = Note, "" // only stands below such a line
		}
		t.find("suspect-line", severity, s.Index, fmt.Sprintf("line %d (%s): %s", s.Index, host(&s.Line), strings.Join(s.Reasons, "; ")), advice)
	}
	if t.Boundary > 0 {
		if b := &t.Steps[t.Boundary-1]; b.From.Helo == "" && b.From.RDNSState == received.Missing && b.From.Addr.IsValid() && b.Class == Public {
			t.find("no-reverse-name", Note, b.Index, fmt.Sprintf("%s has no reverse name", b.From.Addr), "many servers refuse mail from such addresses; its owner should set a PTR record")
		}
	}
}

func (t *Trace) judgeClocks() {
	var unsure []string
	for _, c := range t.Clocks {
		way := "fast"
		if c.Offset < 0 {
			way = "slow"
		}
		if !c.Certain {
			unsure = append(unsure, fmt.Sprintf("%s is %s %s", c.Host, Words(abs(c.Offset)), way))
			continue
		}
		hop := 0
		if len(c.Hops) > 0 {
			hop = c.Hops[0]
		}
		low, high := c.Low, c.High
		if c.Offset < 0 {
			low, high = -high, -low
		}
		text := fmt.Sprintf("the clock of %s is %s %s (between %s and %s)", c.Host, Words(abs(c.Offset)), way, Words(low), Words(high))
		if c.Host == DateHost {
			text = fmt.Sprintf("the sender's clock, which made the Date field, is %s %s", Words(abs(c.Offset)), way)
		}
		advice := "its owner should run NTP"
		switch c.Cause {
		case WholeHour:
			text += ": a whole number of hours, as by daylight saving time or a wrong zone"
			advice = "its owner should check time zone and daylight saving settings"
		case ZoneSlip:
			text += ": just its zone's distance from UTC, as when local time is written as universal time"
			advice = "its owner should check the zone that the mail server writes"
		case HalfHour:
			text += ": a zone with half an hour"
			advice = "its owner should check the time zone"
		}
		t.find("clock", Warning, hop, text, advice)
	}
	if len(unsure) > 0 {
		t.find("clock-unclear", Warning, 0, "time runs backwards, but nobody can say which clock is wrong: "+strings.Join(unsure, ", or "), "a third host with a known clock would decide it; name your own hosts with --ours")
	}
}

func (t *Trace) judgeDelays() {
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.HasDelay && s.RawDelay < -2*time.Second && !t.blamedAt(s.Index, s.Index-1) {
			t.find("backwards", Note, s.Index, fmt.Sprintf("line %d is stamped %s before line %d: a clock, not a delay", s.Index, Words(-s.RawDelay), s.Index-1), "")
		}
		if !s.HasDelay || s.Delay < 10*time.Minute {
			continue
		}
		from := host(&t.Steps[max(i-1, 0)].Line)
		if s.Kind == Fetch {
			t.find("fetched", Note, s.Index, fmt.Sprintf("%s lay in the mailbox at %s until it was fetched", Words(s.Delay), from), "no server was slow: this is how often the mailbox is polled")
			continue
		}
		text := fmt.Sprintf("%s between %s and %s", Words(s.Delay), from, host(&s.Line))
		advice := "ask the admin of " + from + " for the log of this message: it waited in that queue"
		t.find("delay", Warning, s.Index, text, advice)
		if s.Low < s.Delay/2 {
			t.find("only-bounds", Note, s.Index, fmt.Sprintf("only bounds are known: between %s and %s, for nothing vouches for the clocks on both sides; the wait may have been one hop earlier or later", Words(s.Low), Words(s.High)), "name hosts whose clocks you trust with --ours or --trusted")
		}
	}
}

func (t *Trace) judgeLines() {
	noDate, noZone := 0, 0
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.Defects&received.NoDate != 0 {
			noDate++
		}
		if s.Defects&received.DateWithoutZone != 0 {
			noZone++
		}
		if s.Defects&(received.UnclosedComment|received.ControlCharacter|received.TooManyTokens|received.TooLong) != 0 {
			t.find("odd-line", Note, s.Index, fmt.Sprintf("line %d is not well formed: %s", s.Index, strings.Join(s.Defects.List(), ", ")), "")
		}
		if old := oldTLS(s.TLS.Version); old != "" && s.Kind == Transport {
			t.find("old-tls", Note, s.Index, fmt.Sprintf("the step to %s used %s, which is no longer safe", host(&s.Line), old), "both hosts should use TLS 1.2 or newer")
		}
		if s.Proto.TLS || s.TLS.Version != "" || s.Class != Public || s.Kind != Transport || i == 0 {
			continue
		}
		if p := s.Proto.Name; p == "SMTP" || p == "ESMTP" {
			t.find("clear-text", Note, s.Index, fmt.Sprintf("the step to %s was not encrypted, as far as the line tells", host(&s.Line)), "")
		}
	}
	if noDate > 0 {
		t.find("no-date", Note, 0, fmt.Sprintf("%d of %d lines have no date that can be read", noDate, len(t.Steps)), "")
	}
	if noZone > 0 {
		t.find("no-zone", Note, 0, fmt.Sprintf("%d lines do not name their zone; they were read as UTC", noZone), "")
	}
}

func oldTLS(v string) string {
	low := strings.ToLower(v)
	for _, o := range [...]string{"sslv2", "sslv3", "tlsv1.0", "tls1.0", "tls1_0", "tls-1.0", "tlsv1.1", "tls1.1", "tls1_1", "tls-1.1"} {
		if low == o {
			return v
		}
	}
	if low == "tlsv1" || low == "tls1" {
		return v
	}
	return ""
}

// judgeFields looks at the fields that every message needs (RFC 5322, 3.6).
func (t *Trace) judgeFields() {
	has := t.header.has
	if len(has) == 0 {
		return
	}
	if has["from"] == 0 {
		t.find("no-from", Warning, 0, "there is no From field", "every message needs one (RFC 5322, 3.6)")
	} else if has["from"] > 1 {
		t.find("two-from", Warning, 0, "there are several From fields: programs show different ones", "treat it as forged")
	}
	switch {
	case has["date"] == 0:
		t.find("no-date-field", Warning, 0, "there is no Date field", "every message needs one (RFC 5322, 3.6)")
	case !t.DateStamp.OK:
		t.find("bad-date-field", Warning, 0, "the Date field cannot be read: "+t.Date, "")
	}
	if has["to"]+has["cc"]+has["bcc"] == 0 {
		t.find("no-recipient", Note, 0, "no recipient is named in To or Cc", "usual for blind copies and lists, and for spam")
	}
	if has["bcc"] > 0 && t.header.bcc != "" {
		t.find("visible-bcc", Warning, 0, "the Bcc field was not removed: everybody can read it", "the sender's program or its first server should remove it")
	}
	if has["message-id"] == 0 {
		t.find("no-message-id", Note, 0, "there is no Message-ID field", "")
	}
	if t.DateStamp.OK && t.HasTotal {
		for i := range t.Steps {
			s := &t.Steps[i]
			if s.Time.IsZero() {
				continue
			}
			if d := s.Time.Sub(t.DateStamp.Time()); d > 10*time.Minute && !t.clockBlamed(DateHost) {
				t.find("late-submission", Note, s.Index, fmt.Sprintf("it was first received %s after its Date", Words(d)), "it was written earlier and sent later, or the sender's clock is slow")
			}
			break
		}
	}
}

// blamedAt tells whether a clock that is surely wrong stamped one of the lines.
func (t *Trace) blamedAt(lines ...int) bool {
	for _, c := range t.Clocks {
		for _, h := range c.Hops {
			for _, l := range lines {
				if c.Certain && h == l {
					return true
				}
			}
		}
	}
	return false
}

func (t *Trace) clockBlamed(host string) bool {
	for _, c := range t.Clocks {
		if c.Host == host {
			return true
		}
	}
	return false
}
