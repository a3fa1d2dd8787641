package trace

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail/received"
)

// judge turns the results of the other passes into findings.
type judge struct{ *Trace }

func (t judge) all() {
	t.count()
	for _, l := range t.Loops {
		t.find("loop", Problem, 0, fmt.Sprintf("mail loop: %s received the message %d times (%s)", strings.Join(l.Hosts, " and "), l.Times, l.Why),
			"look on these hosts for a forward or alias that leads back to the start, and remove it")
	}
	t.trust()
	t.organisationHint()
	t.futureDates()
	t.clocks()
	t.delays()
	t.lines()
	t.fields()
	for i := range t.Auth {
		c := &t.Auth[i]
		for j := range t.Steps {
			if s := &t.Steps[j]; s.trusted() && c.By != "" && (sameHost(s.By.Name, c.By) || organisation(s.By.Name) != "" && organisation(s.By.Name) == organisation(c.By)) &&
				strings.EqualFold(c.Field, "Authentication-Results") {
				c.Trusted = true
			}
		}
	}
	t.dmarc()
}

// dmarcFail is the code of the finding about DMARC.
const dmarcFail = "dmarc-fail"

// dmarc reports a failure found by a trusted server, and the domains that did
// not align with the one in From (RFC 9989, formerly RFC 7489).
func (t judge) dmarc() {
	for i := range t.Auth {
		c := &t.Auth[i]
		if !c.Trusted || c.Method != "dmarc" || c.Result != "fail" {
			continue
		}
		from := domainOf(property(c.Detail, "header.from"))
		text := "DMARC failed"
		if c.Now {
			text = "DMARC fails now"
		}
		if from != "" {
			text += " for the From domain " + from
		}
		text += ": " + strings.Join(t.unaligned(c, from), "; ")
		t.find(dmarcFail, Warning, 0, text, "the sender's admin should sign with DKIM for the From domain, or send from a server that its SPF record lists; "+
			"after a mailing list or a forward this is common and no proof of forgery")
		return
	}
}

// unaligned explains why SPF and each DKIM signature in one server's results do
// not satisfy DMARC.
func (t judge) unaligned(dmarc *AuthClaim, from string) []string {
	var why []string
	spf, dkim := false, false
	for i := range t.Auth {
		c := &t.Auth[i]
		if c.Now != dmarc.Now || !c.Now && (c.By != dmarc.By || c.Field != dmarc.Field || c.Instance != dmarc.Instance) {
			continue
		}
		var name, domain string
		switch c.Method {
		case "spf":
			name, spf = "SPF", true
			domain = domainOf(property(c.Detail, "smtp.mailfrom"))
			if domain == "" {
				domain = domainOf(property(c.Detail, "smtp.helo"))
			}
		case "dkim":
			name, dkim = "DKIM", true
			domain = domainOf(property(c.Detail, "header.d"))
			if domain == "" {
				domain = domainOf(property(c.Detail, "header.i"))
			}
		default:
			continue
		}
		text := name + ": " + c.Result
		if domain != "" {
			text += " for " + domain
			if c.Result == "pass" && from != "" && organisation(domain) != organisation(from) {
				text += ", which does not align"
			}
		}
		if len(why) < 8 {
			why = append(why, text)
		}
	}
	if !spf {
		why = append(why, "no SPF result")
	}
	if !dkim {
		why = append(why, "no DKIM result")
	}
	return why
}

// property returns a property of an authentication result.
func property(detail, name string) string {
	for w := range strings.FieldsSeq(detail) {
		if k, v, ok := strings.Cut(w, "="); ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"<>;,`)
		}
	}
	return ""
}

// domainOf returns the domain of an address, or the domain itself.
func domainOf(s string) string { return strings.ToLower(s[strings.LastIndexByte(s, '@')+1:]) }

func (t judge) count() {
	n := len(t.Steps) + t.Dropped
	switch {
	case n == 0:
		t.find("no-received", Note, 0, "no Received lines: the message was never relayed, or they were removed", "ask for the message as stored in the mailbox, with all headers")
	case n > limitHops:
		t.find("hop-limit", Problem, 0, fmt.Sprintf("%d hops: servers refuse more than %d as a mail loop (RFC 5321, 6.3)", n, limitHops), "find the hosts that appear repeatedly")
	case n > warnHops:
		t.find("many-hops", Warning, 0, fmt.Sprintf("%d hops are unusually many", n), "look for a detour or a loop")
	}
}

func (t judge) trust() {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		s := &t.Steps[i]
		if s.Trust != Suspect {
			continue
		}
		severity, advice := Warning, "do not rely on this line or on older ones; the total time leaves them out, and the origin is the address in the boundary line"
		switch {
		case s.signs&ownNameSign != 0:
			severity = Problem
		case !s.isSuspect():
			severity, advice = Note, "" // it only occurs below such a line
		}
		t.find("suspect-line", severity, s.Index, fmt.Sprintf("line %d (%s): %s", s.Index, t.writer(i), strings.Join(s.Reasons, "; ")), advice)
	}
	if t.Boundary > 0 {
		if b := &t.Steps[t.Boundary-1]; b.From.Helo == "" && b.From.RDNSState == received.Missing && b.From.Addr.IsValid() && b.Class == Public {
			t.find("no-reverse-name", Note, b.Index, fmt.Sprintf("%s has no reverse name", b.From.Addr), "many servers refuse mail from such addresses; its owner should publish a PTR record")
		}
	}
}

// organisationHint reports that the boundary may be an older line.
func (t judge) organisationHint() {
	if h := t.OursHint; h != nil {
		t.find(OursCode, Note, h.Hop, fmt.Sprintf("%s, the peer of line %d, looks like another server of %s", h.Addr, h.Hop, strings.TrimPrefix(h.Names, ".")),
			"if that address is yours, name it as trusted, and older lines are trusted, too")
	}
}

// futureDates reports claimed lines that are dated days after the boundary line.
func (t judge) futureDates() {
	first, last := 0, 0
	var by time.Duration
	for i := range t.Steps {
		if s := &t.Steps[i]; s.afterUs && s.Trust != Suspect {
			if first == 0 {
				first = s.Index
			}
			last = s.Index
			by = max(by, s.Stamp.Time().Sub(t.Steps[t.Boundary-1].Stamp.Time()))
		}
	}
	if first == 0 {
		return
	}
	subject := fmt.Sprintf("line %d is dated", first)
	if last > first {
		subject = fmt.Sprintf("lines %d to %d are dated up to", first, last)
	}
	t.find("future-date", Note, first, fmt.Sprintf("%s %s after line %d, which was written later: a clock is wrong by days, or lines were copied or forged; the total time leaves them out",
		subject, Words(by), t.Boundary), "")
}

func (t judge) clocks() {
	var unsure, alternatives []string
	for i := range t.Clocks {
		c := &t.Clocks[i]
		if c.Certain {
			t.certainClock(c)
			continue
		}
		if c.alternative {
			alternatives = append(alternatives, c.Host+" is "+c.amount())
		} else {
			unsure = append(unsure, c.Host+" is "+c.amount())
		}
	}
	if len(unsure) == 0 {
		return
	}
	text := "the stamps run backwards: perhaps " + conjunction(unsure) + ", but no second independent clock confirms it"
	if len(alternatives) > 0 {
		text = "the stamps run backwards, but it is unclear which clock is wrong: either " + conjunction(unsure) + ", or " + conjunction(alternatives)
	}
	if h := t.hoursOff(); h != 0 {
		text += fmt.Sprintf("; the oldest line differs from the Date field by exactly %s, which suggests a wrong time zone there", plural(h, "hour"))
		if wait := t.waitWithout(h); wait >= time.Minute {
			text += fmt.Sprintf(": then the message waited %s before %s accepted it, as greylisting causes", Words(wait), t.writer(1))
		}
	}
	t.find("clock-unclear", Note, 0, text, "a third host with a known clock would decide it")
}

// conjunction joins at most four clauses, and counts the others.
func conjunction(list []string) string {
	if n := len(list); n > 4 {
		list = append(list[:3:3], fmt.Sprintf("%d more clocks are wrong", n-3))
	}
	return strings.Join(list, " and ")
}

// amount describes the clock's error, with "at least" if only a bound is known.
func (c *Clock) amount() string {
	way := "fast"
	if c.Offset < 0 {
		way = "slow"
	}
	if !c.Certain || c.wide() {
		return "at least " + Words(c.least) + " " + way
	}
	off := c.Offset.Abs()
	switch c.Cause {
	case WholeHour, ZoneSlip, HalfHour:
		off = off.Round(time.Minute)
	}
	return Words(off) + " " + way
}

// wide reports whether the bounds of the error leave its size open.
func (c *Clock) wide() bool { return c.Host != DateHost && c.High-c.Low > c.Offset.Abs()/4 }

// smallError is the largest error of a foreign clock that does not cause a
// warning.
const smallError = 5 * time.Minute

// datedByUs reports whether the clock dated a line written by a host that we
// trust.
func (t judge) datedByUs(c *Clock) bool {
	for _, h := range c.Hops {
		if t.Steps[h-1].trusted() {
			return true
		}
	}
	return false
}

func (t judge) certainClock(c *Clock) {
	hop := 0
	if len(c.Hops) > 0 {
		hop = c.Hops[0]
	}
	text, owner := fmt.Sprintf("the clock of %s is %s", c.Host, c.amount()), "its administrator"
	if c.Host == DateHost {
		text, owner = fmt.Sprintf("the sender's clock, which wrote the Date field, is %s", c.amount()), "its owner"
	}
	severity, advice := Note, owner+" should set it by NTP"
	if t.misleads(c) {
		severity = Warning
	}
	switch {
	case c.wide():
	case c.Cause == WholeHour:
		text += ": whole hours, which suggests a wrong time zone or daylight saving setting"
		advice = owner + " should check the time zone and daylight saving settings"
	case c.Cause == ZoneSlip:
		text += ": exactly its zone's distance from UTC, which suggests local time written as UTC or the reverse"
		advice = owner + " should check the time zone that the mail server writes"
	case c.Cause == HalfHour:
		text += ": a half or three quarters of an hour, which suggests a wrong time zone"
		advice = owner + " should check the time zone"
	}
	t.find("clock", severity, hop, text, advice)
}

// writer returns the host that wrote the line at i, or a description if the line
// does not name it.
func (t judge) writer(i int) string {
	if name := timing(t).hostOf(i); !strings.HasPrefix(name, "(") {
		return name
	}
	return fmt.Sprintf("the host of line %d", t.Steps[i].Index)
}

// hoursOff returns the number of whole hours by which the oldest line is later
// than the Date field, or 0 if the difference is not a whole number of hours.
func (t judge) hoursOff() int {
	if len(t.Steps) == 0 || !t.DateStamp.OK || !t.Steps[0].Stamp.OK {
		return 0
	}
	d := t.Steps[0].Stamp.Unix - t.DateStamp.Unix
	hours := (d + 1800) / 3600
	if off := d - hours*3600; hours < 1 || hours > 13 || off < -30 || off > 90 {
		return 0
	}
	return int(hours)
}

// wholeHours returns the number of whole hours of a delay that a wrong zone could
// explain, allowing half a minute for the transfer, or 0.
func wholeHours(d time.Duration) int {
	if h := d.Round(time.Hour); h >= time.Hour && h <= 13*time.Hour && (d-h).Abs() <= 30*time.Second {
		return int(h / time.Hour)
	}
	return 0
}

// longWait is the delay from which a warning is given, if the delay is certain.
// Greylisting and busy queues cause shorter delays every day.
const longWait = time.Hour

// dateAgrees reports whether the Date field confirms the clock of step i.
func (t judge) dateAgrees(i int) bool {
	s := &t.Steps[i]
	return t.DateStamp.OK && s.Stamp.OK && !t.clockWrong(DateHost) && abs(s.Stamp.Unix-t.DateStamp.Unix) <= 600
}

// waitWithout returns the delay between the first two lines, assuming that the
// oldest one is h hours fast.
func (t judge) waitWithout(h int) time.Duration {
	if len(t.Steps) < 2 || !t.Steps[1].HasDelay {
		return 0
	}
	return t.Steps[1].RawDelay + time.Duration(h)*time.Hour
}

func (t judge) delays() {
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.HasDelay && s.RawDelay < -2*time.Second && !t.wrongAt(s.Index, s.Index-1) {
			t.find("backwards", Note, s.Index, fmt.Sprintf("line %d is dated %s before line %d: a clock is wrong, no delay", s.Index, Words(-s.RawDelay), s.Index-1), "")
		}
		if !s.HasDelay || s.Delay < 10*time.Minute {
			continue
		}
		from := t.writer(max(i-1, 0))
		if s.Kind == Fetch {
			if s.From.Name != "" {
				from = s.From.Name
			}
			t.find("fetched", Note, s.Index, fmt.Sprintf("the message waited %s in the mailbox at %s until it was fetched", Words(s.Delay), from), "no server was slow; the mailbox is polled at intervals")
			continue
		}
		text := fmt.Sprintf("%s between %s and %s", Words(s.Delay), from, t.writer(i))
		likely := "probably waited"
		if s.Low < s.Delay/2 {
			likely = "may have waited"
		}
		advice := "ask the administrator of " + from + " for the log of this message: it " + likely + " in that queue"
		if h := wholeHours(s.Delay); h != 0 && s.Low < s.Delay/2 {
			text += fmt.Sprintf(": almost exactly %s, which a wrong time zone at either host would also cause", plural(h, "hour"))
		}
		if t.header.listID != "" && i > 0 && sameHost(from, t.writer(i)) {
			advice += ", or for a moderator of the list"
		}
		severity := Note
		if s.Delay >= longWait && (s.Low >= s.Delay/2 || t.dateAgrees(i-1) && !t.wrongAt(s.Index, s.Index-1)) {
			severity = Warning
		}
		t.find("delay", severity, s.Index, text, advice)
		if s.Low < s.Delay/2 {
			t.find("only-bounds", Note, s.Index, fmt.Sprintf("the delay of line %d is only known to be between %s and %s, because the clocks on both sides are unconfirmed; the message may have waited one hop earlier or later", s.Index, Words(s.Low), Words(s.High)), "a host with a known clock on either side would settle it")
		}
	}
}

func (t judge) lines() {
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
			t.find("odd-line", Note, s.Index, fmt.Sprintf("line %d is malformed: %s", s.Index, strings.Join(s.Defects.List(), ", ")), "")
		}
		if old := oldTLS(s.TLS.Version); old != "" && s.Kind == Transport {
			t.find("old-tls", Note, s.Index, fmt.Sprintf("the step to %s used %s, which is no longer safe", t.writer(i), old), "both hosts should use TLS 1.2 or newer")
		}
		if s.Proto.TLS || s.TLS.Version != "" || s.Class != Public || s.Kind != Transport || i == 0 {
			continue
		}
		if p := s.Proto.Name; p == "SMTP" || p == "ESMTP" {
			t.find("clear-text", Note, s.Index, fmt.Sprintf("the line does not show that the step to %s was encrypted", t.writer(i)), "")
		}
	}
	if noDate > 0 {
		t.find("no-date", Note, 0, fmt.Sprintf("%d of %d lines have no readable date", noDate, len(t.Steps)), "")
	}
	if noZone > 0 {
		t.find("no-zone", Note, 0, fmt.Sprintf("%s without a known time zone: not compared with the other clocks", plural(noZone, "line")), "")
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

// fields checks the fields that every message must have (RFC 5322, 3.6).
func (t judge) fields() {
	has := t.header.has
	if len(has) == 0 {
		return
	}
	whole := !t.header.excerpt
	if has["from"] == 0 && whole {
		t.find("no-from", Warning, 0, "there is no From field", "every message needs one (RFC 5322, 3.6)")
	} else if has["from"] > 1 {
		t.find("two-from", Warning, 0, "there are several From fields, and programs show different ones", "treat the message as forged")
	}
	switch {
	case has["date"] == 0:
		if whole {
			t.find("no-date-field", Warning, 0, "there is no Date field", "every message needs one (RFC 5322, 3.6)")
		}
	case !t.DateStamp.OK:
		t.find("bad-date-field", Warning, 0, "unreadable Date field: "+t.Date, "")
	}
	if has["to"]+has["cc"]+has["bcc"] == 0 && whole {
		t.find("no-recipient", Note, 0, "neither To nor Cc names a recipient", "common for blind copies and lists, and for spam")
	}
	if has["bcc"] > 0 && t.header.bcc != "" {
		t.find("visible-bcc", Warning, 0, "the Bcc field was not removed, so every recipient can read it", "the sender's mail program or first server should remove it")
	}
	if has["message-id"] == 0 && whole {
		t.find("no-message-id", Note, 0, "there is no Message-ID field", "")
	}
	if t.DateStamp.OK {
		for i := range t.Steps {
			s := &t.Steps[i]
			if s.Time.IsZero() {
				continue
			}
			if d := s.Time.Sub(t.DateStamp.Time()); d > 10*time.Minute && !t.clockWrong(DateHost) && !t.wrongAt(s.Index) {
				t.find("late-submission", Note, s.Index, fmt.Sprintf("the first server received it %s after its Date", Words(d)), "it was written earlier and sent later, or the sender's clock is slow")
			}
			break
		}
	}
}

// wrongAt reports whether any of the lines was dated by a clock that is wrong
// or may be wrong.
func (t judge) wrongAt(lines ...int) bool {
	for _, c := range t.Clocks {
		for _, h := range c.Hops {
			for _, l := range lines {
				if h == l {
					return true
				}
			}
		}
	}
	return false
}

func (t judge) clockWrong(host string) bool {
	for _, c := range t.Clocks {
		if c.Host == host {
			return true
		}
	}
	return false
}
