package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/dsn"
)

// MaxPerHour is the maximum number of reports per hour that the postmaster
// receives instead of the senders. Without a limit, a wave of spam would fill
// the postmaster's mailbox.
const MaxPerHour = 20

// Quota counts the reports sent to the postmaster within an hour. It is reset
// when the process starts.
type Quota struct {
	until time.Time // the end of the hour; zero before its first report
	sent  int
	left  map[string]int // reports left out, by upstream
}

// Allow counts a report about mail for an upstream and reports whether it may
// be sent. Otherwise it is included in the summary.
func (q *Quota) Allow(upstream string, now time.Time) bool {
	if !now.Before(q.until) && len(q.left) == 0 {
		q.until, q.sent = now.Add(time.Hour), 0
	}
	if q.sent < MaxPerHour {
		q.sent++
		return true
	}
	if q.left == nil {
		q.left = map[string]int{}
	}
	q.left[upstream]++
	return false
}

// Due returns the time at which a summary is due; ok is false if no report was
// left out.
func (q *Quota) Due() (t time.Time, ok bool) { return q.until, len(q.left) > 0 }

// Summary ends the hour and returns the counts of reports left out.
func (q *Quota) Summary() Summary {
	s := Summary{Since: q.until.Add(-time.Hour), Left: q.left}
	q.left, q.until = nil, time.Time{}
	return s
}

// Summary counts the reports that were not sent to the postmaster.
type Summary struct {
	Since time.Time
	Left  map[string]int // by upstream
}

// Compose returns the summary as a message to the postmaster.
func (s *Summary) Compose(from Sender, id string, now time.Time) (*mail.Message, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Since %s you have received %d reports about mail that could neither be\n"+
		"delivered nor returned: its sender is forged (SPF or DMARC failed), it has none,\n"+
		"or it was refused late by a server that accepts every recipient.\n"+
		"The messages counted below failed in the same way; they are only in the log and in\n"+
		"the history:\n\n",
		s.Since.Format("Mon 15:04 -0700"), MaxPerHour)
	for _, name := range slices.Sorted(maps.Keys(s.Left)) {
		fmt.Fprintf(&b, "%8d  for upstream %+q\n", s.Left[name], name)
	}
	b.WriteString("\n\"hoplite trace --since 2h\" shows them. If most went to addresses that do not\n" +
		"exist, the upstream accepts every address: give it a list of recipients,\n" +
		"recipients = \"file:NAME\".\n")
	n := dsn.Notice{
		ID: id, Hostname: from.Hostname, At: now, To: from.Postmaster,
		Subject: "Summary of undeliverable mail that was not reported", Text: b.String(),
	}
	return n.Compose()
}

// Daily allows one notice per day about each subject, such as an upstream. It is
// reset when the process starts.
type Daily struct{ last map[string]time.Time }

// maxSubjects is the maximum number of subjects that Daily remembers.
const maxSubjects = 10000

// Allow counts a notice about a subject and reports whether it may be sent.
func (d *Daily) Allow(subject string, now time.Time) bool {
	if last, ok := d.last[subject]; ok && now.Sub(last) < 24*time.Hour {
		return false
	}
	if len(d.last) >= maxSubjects {
		maps.DeleteFunc(d.last, func(_ string, last time.Time) bool { return now.Sub(last) >= 24*time.Hour })
	}
	if d.last == nil || len(d.last) >= maxSubjects {
		d.last = map[string]time.Time{}
	}
	d.last[subject] = now
	return true
}

// AcceptsAll composes the notice that an upstream accepts every recipient.
func (s *Sender) AcceptsAll(upstream, id string, now time.Time) (*mail.Message, error) {
	n := dsn.Notice{
		ID: id, Hostname: s.Hostname, At: now, To: s.Postmaster,
		Subject: "An upstream accepts every recipient",
		Text: fmt.Sprintf("The servers of upstream %+q accept every recipient, also those that do not\n"+
			"exist, so this server cannot refuse mail for unknown recipients while the\n"+
			"client waits.\n\n"+
			"What they refuse later is not reported to the senders of other people's mail,\n"+
			"because their addresses may be forged: those reports are sent to you.\n\n"+
			"What to do: switch on recipient checks at the upstream, or give this server a\n"+
			"list of its recipients: recipients = \"file:NAME\".\n", upstream),
	}
	return n.Compose()
}
