package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// unreturnedMax is how many reports an hour the postmaster gets in place of
// senders who can't be told. A spam run would fill that box otherwise.
const unreturnedMax = 20

// unreturned counts the reports of one hour that went to the postmaster, and
// those that did not. It is lost at a restart.
type unreturned struct {
	until time.Time // the end of the hour; zero before its first report
	sent  int
	left  map[string]int // left out, by upstream
	place int            // in the heap of alarms
}

// mayTell counts a report to the postmaster and tells whether it is to be
// sent, or only logged.
func (q *Queue) mayTell(it *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := &q.unreturned
	if now := time.Now(); !now.Before(u.until) && len(u.left) == 0 {
		u.until, u.sent = now.Add(time.Hour), 0
	}
	if u.sent < unreturnedMax {
		u.sent++
		return true
	}
	if u.left == nil {
		u.left = map[string]int{}
		q.setAlarm(u)
	}
	u.left[it.to()]++
	q.stats.leftOut.Add(1)
	q.log.Warn().Str("id", it.id).Str("from", string(it.env.From)).Str("upstream", it.to()).
		Msg("no report: the postmaster had enough of them this hour")
	return false
}

func (u *unreturned) when() time.Time { return u.until }
func (u *unreturned) at() *int        { return &u.place }

// ring ends an hour in which reports were left out.
func (u *unreturned) ring(q *Queue) {
	left, since := u.left, u.until.Add(-time.Hour)
	u.left, u.until = nil, time.Time{}
	q.workers.Go(func() {
		if err := q.sumUp(left, since); err != nil {
			q.log.Error().Err(err).Msg("summary of reports that were left out")
		}
	})
}

// sumUp tells the postmaster what was left out.
func (q *Queue) sumUp(left map[string]int, since time.Time) error {
	var b strings.Builder
	for _, f := range [][2]string{
		{"From", "Mail Delivery System <MAILER-DAEMON@" + q.settings.Load().Hostname + ">"},
		{"To", "<" + string(q.settings.Load().Postmaster) + ">"},
		{"Subject", "Undeliverable mail: more than was reported"},
		{"Date", time.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + mail.NewID() + "@" + q.settings.Load().Hostname + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=us-ascii"},
	} {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	fmt.Fprintf(&b, "\r\nSince %s you got %d reports about mail that could neither be\r\n"+
		"delivered nor returned: its sender is forged (SPF or DMARC failed), or it has none.\r\n"+
		"These failed the same way; they are only in the log and in the history:\r\n\r\n",
		since.Format("Mon 15:04 -0700"), unreturnedMax)
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(&b, "%8d  for upstream %+q\r\n", left[name], name)
	}
	b.WriteString("\r\n\"hoplite trace --since 2h\" shows them. Where most went to addresses that do not\r\n" +
		"exist, the upstream accepts every address: give it a list, recipients = \"file:NAME\".\r\n")
	m, err := mail.NewMessage(mail.Bytes(b.String()))
	if err != nil {
		return err
	}
	post := q.settings.Load().Postmaster
	it := newItem(mail.NewID(), Router, mail.Envelope{
		UTF8: post.NeedsUTF8(), Rcpts: []mail.Rcpt{{To: post, Orig: post, Notify: mail.NotifyNever}},
	}, time.Now())
	return q.put(context.Background(), it, m, "")
}
