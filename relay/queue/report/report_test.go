package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hoplite/mail"
	"hoplite/mail/dsn"
	"hoplite/relay/queue/schedule"
)

var (
	now  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	from = Sender{Hostname: "mail.example.org", Postmaster: "post@example.org"}
)

func message(edit func(msg *schedule.Message)) *schedule.Message {
	msg := schedule.NewMessage("id", "out", mail.Envelope{
		From: "ann@example.org", EnvID: "env", Ret: "HDRS",
		Rcpts: []mail.Rcpt{{To: "a@example.net"}, {To: "b@example.net"}, {To: "c@example.net"}},
	}, now.Add(-time.Hour))
	for i := range msg.Rcpts {
		msg.Rcpts[i] = schedule.Rcpt{Attempts: i + 1, Tried: now, Last: &mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no", Host: "mx.example.net"}}
	}
	if edit != nil {
		edit(msg)
	}
	return msg
}

// The cases list the expected reports, their recipients and their ids.
func TestFor(t *testing.T) {
	failed := schedule.Owed{Failed: []int{0}}
	null := func(msg *schedule.Message) { msg.Envelope.From = "" }
	forged := func(msg *schedule.Message) { msg.Forged = true }
	unverified := func(msg *schedule.Message) { msg.Unverified = true }
	for _, tc := range []struct {
		name   string
		sender Sender
		edit   func(msg *schedule.Message)
		owed   schedule.Owed
		due    []string // id, kind, recipient
		unsent int
	}{
		{name: "nothing is owed", sender: from},
		{name: "a failure", sender: from, owed: failed, due: []string{"id-f1 failed ann@example.org"}},
		{
			name: "the first recipient that is reported counts", sender: from, owed: schedule.Owed{Failed: []int{1, 2}},
			due: []string{"id-f2-1 failed ann@example.org"},
		},
		{
			name: "everything at once", sender: from, owed: schedule.Owed{Failed: []int{0}, Delayed: []int{1}, Delivered: []int{2}},
			due: []string{"id-f1 failed ann@example.org", "id-d2-1 delayed ann@example.org", "id-s3-2 relayed ann@example.org"},
		},
		{
			name: "delivered to a mailbox", sender: from, owed: schedule.Owed{Delivered: []int{0}},
			edit: func(msg *schedule.Message) { msg.Rcpts[0].Last.Host = "" },
			due:  []string{"id-s1 delivered ann@example.org"},
		},
		{name: "without a reverse path the postmaster gets a failure", sender: from, edit: null, owed: failed, due: []string{"id-f1 failed post@example.org why"}},
		{name: "and nothing else", sender: from, edit: null, owed: schedule.Owed{Delayed: []int{0}, Delivered: []int{1}}, unsent: 2},
		{name: "a forged sender gets no report", sender: from, edit: forged, owed: failed, due: []string{"id-f1 failed post@example.org why"}},
		{name: "nor any other", sender: from, edit: forged, owed: schedule.Owed{Delayed: []int{0}}, unsent: 1},
		{name: "nor does a remote sender about a late refusal", sender: from, edit: unverified, owed: failed, due: []string{"id-f1 failed post@example.org why"}},
		{name: "but about a delay", sender: from, edit: unverified, owed: schedule.Owed{Delayed: []int{0}}, due: []string{"id-d1 delayed ann@example.org"}},
		{
			name: "and about a server that could not be reached until the end", sender: from, owed: failed,
			edit: func(msg *schedule.Message) { unverified(msg); msg.Rcpts[0].Last.Code = 451 },
			due:  []string{"id-f1 failed ann@example.org"},
		},
		{
			name: "and when an administrator returns it", sender: from, owed: failed,
			edit: func(msg *schedule.Message) { unverified(msg); msg.Rcpts[0].Last.Host = "" },
			due:  []string{"id-f1 failed ann@example.org"},
		},
		{
			name: "the owner of a device gets the report", sender: from, owed: failed,
			edit: func(msg *schedule.Message) { msg.Envelope.Owner = "bob@example.org" }, due: []string{"id-f1 failed bob@example.org"},
		},
		{
			name: "the postmaster gets it with the reason", sender: from, owed: failed,
			edit: func(msg *schedule.Message) { msg.Envelope.Owner = "Post@example.org" }, due: []string{"id-f1 failed post@example.org why"},
		},
		{
			name: "and no delay notices", sender: from, owed: schedule.Owed{Delayed: []int{0}},
			edit: func(msg *schedule.Message) { msg.Envelope.Owner = "post@example.org" }, unsent: 1,
		},
		{name: "a late refusal without a postmaster is only logged", sender: Sender{Hostname: "mail.example.org"}, edit: unverified, owed: failed, unsent: 1},
		{name: "without a postmaster it is only logged", sender: Sender{Hostname: "mail.example.org"}, edit: null, owed: failed, unsent: 1},
		{
			name: "a report to the postmaster makes no report", sender: from, owed: failed, unsent: 1,
			edit: func(msg *schedule.Message) { null(msg); msg.Envelope.Rcpts[0].To = "Post@EXAMPLE.org" },
		},
		{
			name: "nor does mail to an alias of the postmaster", sender: from, owed: failed, unsent: 1,
			edit: func(msg *schedule.Message) { null(msg); msg.Envelope.Rcpts[0].Orig = "post@example.org" },
		},
		{
			name: "the postmaster learns what others did not receive", sender: from, owed: failed, due: []string{"id-f1 failed post@example.org why"},
			edit: func(msg *schedule.Message) { null(msg); msg.Envelope.Rcpts[1].To = "post@example.org" },
		},
		{
			name: "nor a report about a report", sender: from, owed: failed, unsent: 1,
			edit: func(msg *schedule.Message) { null(msg); msg.ID = "id-f1-f1" },
		},
		{
			name: "a report makes one to the postmaster", sender: from, owed: failed,
			edit: func(msg *schedule.Message) { null(msg); msg.ID = "id-f1" },
			due:  []string{"id-f1-f1 failed post@example.org why"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			due, unsent := tc.sender.For(message(tc.edit), tc.owed, About{Now: now, Lifetime: time.Hour})
			var got []string
			for _, r := range due {
				line := r.ID + " " + string(r.Kind) + " " + string(r.To)
				if r.Why != "" {
					line += " why"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.due, got); diff != "" {
				t.Error(diff)
			}
			if len(unsent) != tc.unsent {
				t.Errorf("%d unsent, want %d", len(unsent), tc.unsent)
			}
		})
	}
}

// A report contains the details of the message and its recipients.
func TestContent(t *testing.T) {
	msg := message(func(msg *schedule.Message) { msg.Rcpts[1].Last = nil; msg.Envelope.UTF8 = true })
	got := from.About("report", msg, dsn.Failed, []int{0, 1}, About{Now: now, Lifetime: 2 * time.Hour})
	want := dsn.Report{
		ID: "report", Hostname: "mail.example.org", At: now, To: "ann@example.org", Kind: dsn.Failed,
		Original: "id", Arrived: now.Add(-time.Hour), EnvID: "env", Ret: "HDRS", UTF8: true,
		Rcpts: []dsn.Rcpt{
			{Rcpt: mail.Rcpt{To: "a@example.net"}, Reply: *msg.Rcpts[0].Last, At: now, Until: now.Add(time.Hour)},
			{Rcpt: mail.Rcpt{To: "b@example.net"}, At: now, Until: now.Add(time.Hour)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestForged(t *testing.T) {
	for _, tc := range []struct {
		name  string
		trail *mail.Trail
		want  bool
	}{
		{"no trail", nil, false},
		{"no results", &mail.Trail{}, false},
		{"SPF fail", &mail.Trail{Auth: []mail.AuthResult{{Method: "spf", Value: "fail"}}}, true},
		{"DMARC Fail", &mail.Trail{Auth: []mail.AuthResult{{Method: "dkim", Value: "pass"}, {Method: "dmarc", Value: "Fail"}}}, true},
		{"SPF softfail", &mail.Trail{Auth: []mail.AuthResult{{Method: "spf", Value: "softfail"}}}, false},
		{"DKIM fail", &mail.Trail{Auth: []mail.AuthResult{{Method: "dkim", Value: "fail"}}}, false},
	} {
		if Forged(tc.trail) != tc.want {
			t.Errorf("%s: %v", tc.name, !tc.want)
		}
	}
}

func TestQuota(t *testing.T) {
	var q Quota
	allowed := func(n int, upstream string, at time.Duration) (yes int) {
		for range n {
			if q.Allow(upstream, now.Add(at)) {
				yes++
			}
		}
		return yes
	}
	if _, ok := q.Due(); ok {
		t.Error("a summary is due before any report")
	}
	if n := allowed(30, "out", 0); n != MaxPerHour {
		t.Errorf("%d in the first hour", n)
	}
	if n := allowed(3, "mx", 59*time.Minute); n != 0 {
		t.Errorf("%d more in the first hour", n)
	}
	due, ok := q.Due()
	if !ok || due != now.Add(time.Hour) {
		t.Errorf("summary due at %v, %v", due, ok)
	}
	// The hour lasts until the summary has been retrieved.
	if n := allowed(1, "mx", 2*time.Hour); n != 0 {
		t.Error("a report before the summary")
	}
	s := q.Summary()
	if diff := cmp.Diff(Summary{Since: now, Left: map[string]int{"out": 10, "mx": 4}}, s); diff != "" {
		t.Error(diff)
	}
	if _, ok := q.Due(); ok {
		t.Error("a summary is due twice")
	}
	if n := allowed(MaxPerHour, "out", 2*time.Hour); n != MaxPerHour {
		t.Errorf("%d in the next hour", n)
	}
	// An hour without omitted reports ends by itself.
	if n := allowed(1, "out", 3*time.Hour); n != 1 {
		t.Error("the quota is not renewed")
	}
}

func TestSummary(t *testing.T) {
	s := Summary{Since: now.Add(-time.Hour), Left: map[string]int{"out": 10, "mx\r\nBcc: evil": 4}}
	m, err := s.Compose(from, "sum1", now)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m.WriteTo(&b)
	text := b.String()
	for _, want := range []string{
		"To: <post@example.org>\r\n", "From: Mail Delivery System <MAILER-DAEMON@mail.example.org>\r\n",
		"Since Mon 11:00 +0000 you have received 20 reports", "      10  for upstream \"out\"\r\n",
		"       4  for upstream \"mx\\r\\nBcc: evil\"\r\n", "Auto-Submitted: auto-generated\r\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if m.EightBit {
		t.Error("is not 7-bit")
	}
}

// The postmaster is notified once a day about each upstream that accepts every
// recipient.
func TestDaily(t *testing.T) {
	var d Daily
	for _, tc := range []struct {
		upstream string
		after    time.Duration
		want     bool
	}{{"out", 0, true}, {"out", time.Hour, false}, {"other", time.Hour, true}, {"out", 24 * time.Hour, true}, {"out", 25 * time.Hour, false}} {
		if got := d.Allow(tc.upstream, now.Add(tc.after)); got != tc.want {
			t.Errorf("%s after %s: %v", tc.upstream, tc.after, got)
		}
	}
	m, err := from.AcceptsAll("out", "id", now)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m.WriteTo(&b)
	if text := b.String(); !strings.Contains(text, "To: <post@example.org>") || !strings.Contains(text, `upstream "out"`) || m.EightBit {
		t.Errorf("got %s", text)
	}
}
