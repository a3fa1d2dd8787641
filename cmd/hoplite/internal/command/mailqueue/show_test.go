package mailqueue

import (
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue"
)

// queue show names the recipient of reports if the upstream accepts every
// recipient.
func TestQueueShowsWhoGetsReports(t *testing.T) {
	for _, unverified := range []bool{false, true} {
		var b strings.Builder
		printDetail(&b, queue.Detail{Info: queue.Info{ID: "id"}, Unverified: unverified, Trail: &mail.Trail{}}, false)
		if strings.Contains(b.String(), "reported to the postmaster") != unverified {
			t.Errorf("unverified %v: %s", unverified, b.String())
		}
	}
}

// The output of the commands fits into 80 columns.
func TestQueueFitsTerminal(t *testing.T) {
	reply := "451 4.4.1 upstream internet can't be reached now: " + strings.Repeat("connection refused by the other side; ", 4)
	at := time.Now().Add(-71 * time.Hour)
	var out strings.Builder
	err := printTotals(&out, []queue.Total{
		{Destination: "example.net", Messages: 30000, Held: 30000, Ages: []int{1, 10, 3000, 3000, 3000, 3000, 18000}, Oldest: at, Next: time.Now().Add(11*time.Minute + 59*time.Second), Reply: reply},
		{Destination: "example.com", Messages: 1, Ages: []int{1, 0, 0, 0, 0, 0, 0}, Oldest: at},
	})
	if err != nil {
		t.Fatal(err)
	}
	printList(&out, []queue.Info{{
		ID: "01m83c9far6jd06t-2", State: "deferred", From: "ann@example.org", Upstream: "old-server", At: at, Size: 374 << 20, Next: time.Now().Add(5 * time.Minute),
		Held: "looks like " + strings.Repeat("a virus ", 20), Rcpts: []queue.RcptInfo{{To: "bob@example.net", State: "delivered", Attempts: 12, Reply: reply}},
	}})
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	for _, want := range []string{"(all)", "12 attempts", "example.com\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// The output of queue show --trail stays within 80 columns, however long the
// names are.
func TestQueueShowWidth(t *testing.T) {
	tx := mail.NewTransaction(mail.Client{Listener: "inbound", Helo: strings.Repeat("client.", 7) + "example"}, mail.Address(strings.Repeat("a", 40)+"@example.org"))
	tx.Header.MessageID, tx.Header.Subject = "<"+strings.Repeat("m", 50)+"@example.org>", strings.Repeat("long subject ", 12)
	tx.Trail.Add(mail.Event{Stage: mail.StageRcpt, By: "greylist", Verdict: "defer", Rcpt: "bob@example.net", Reason: strings.Repeat("seen for the first time ", 6),
		Facts: []mail.Fact{{Key: "network", Value: "192.0.2.0/24"}, {Key: "helo", Value: strings.Repeat("client.", 5)}}})
	d := queue.Detail{Info: queue.Info{ID: tx.ID, State: "deferred", At: tx.At, From: string(tx.Envelope.From), Upstream: strings.Repeat("upstream-", 5), Next: time.Now().Add(time.Hour),
		Rcpts: []queue.RcptInfo{{To: strings.Repeat("b", 50) + "@example.net", State: "deferred", Attempts: 12, Reply: strings.Repeat("450 4.2.1 try again later ", 9)}}},
		Client: tx.Client, Header: tx.Header, Trail: tx.Trail}
	var b strings.Builder
	printDetail(&b, d, true)
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
