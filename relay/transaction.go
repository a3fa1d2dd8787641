package relay

import (
	"slices"
	"strings"
	"time"

	"hoplite/filters"
	"hoplite/internal/history"
	"hoplite/mail"
	"hoplite/mail/story"
)

// transaction is one message, from MAIL to its last reply.
type transaction struct {
	*mail.Transaction
	session *session
	run     *filters.Run
	out     deliveries
	// asked holds, for each accepted RCPT, the indices of its recipients in the
	// envelope, because LMTP answers each RCPT.
	asked   [][]int
	rcpts   int            // RCPTs that were accepted
	refused []mail.Address // recipients
	last    mail.Reply     // to the last RCPT that was refused
	discard bool
	ending  bool // finish will be called once the client has its reply
	done    bool
}

// maxLine leaves room for a reply's code and the id on its last line.
const maxLine = 440

// withID returns r with the transaction's id at its end.
func (t *transaction) withID(r *mail.Reply) mail.Reply {
	c := *r
	if strings.Contains(c.Text, t.ID) {
		return c
	}
	c.Text = strings.TrimRight(c.Text, "\n")
	if start := strings.LastIndexByte(c.Text, '\n') + 1; len(c.Text)-start > maxLine {
		c.Text = c.Text[:start+maxLine]
	}
	c.Text += " (" + t.ID + ")"
	return c
}

// abort ends a transaction without a message; why is the reason as text. If a
// recipient was refused, that refusal is the transaction's verdict.
func (t *transaction) abort(why string) {
	stage := mail.StageMail
	if t.rcpts+len(t.refused) > 0 {
		stage = mail.StageRcpt
	}
	t.Trail.Add(mail.Event{Stage: stage, By: "listener", Verdict: "error", Reason: "no message: " + why})
	if t.last.Code != 0 {
		t.finish(verdictWord(&t.last), t.last)
		return
	}
	t.finish("aborted", mail.Reply{})
}

// finish writes the transaction's log line and history record, and closes its
// handoffs.
func (t *transaction) finish(verdict string, r mail.Reply) {
	if t.done {
		return
	}
	t.done = true
	defer t.out.close(&t.session.srv.log)
	srv := t.session.srv
	summary := story.Summary{Transaction: t.Transaction, Verdict: verdict, Reply: r, Took: time.Since(t.At)}
	srv.env.Metrics.finished(&summary)
	to := t.recipients()
	line := srv.log.Info().Str("id", t.ID).Str("from", string(t.Envelope.From)).Strs("rcpt", to).
		Str("peer", t.peer()).Str("verdict", verdict)
	if r.Code != 0 {
		line.Str("reply", r.String())
	}
	line.Dur("took", summary.Took).Object("trail", (*story.LogTrail)(t.Trail)).Msg(verdict)
	if srv.env.History == nil {
		return
	}
	kind := "transaction"
	if verdict == "refused" || verdict == "deferred" {
		kind = "refusal"
	}
	srv.env.History(history.Record{
		ID: t.ID, At: t.At, Kind: kind, MessageID: t.Header.MessageID,
		From: string(t.Envelope.From), To: to,
	}, &summary)
}

// maxNamed is the maximum number of recipients named in a log line.
const maxNamed = 100

func (t *transaction) recipients() []string {
	var to []string
	for _, r := range t.Envelope.Rcpts {
		to = append(to, string(r.To))
		if r.Orig != r.To && !slices.Contains(to[max(0, len(to)-maxNamed):], string(r.Orig)) {
			to = append(to, string(r.Orig))
		}
	}
	for _, a := range t.refused {
		to = append(to, string(a))
	}
	return to[:min(len(to), maxNamed)]
}

func (t *transaction) peer() string {
	if t.Client.Addr.IsValid() {
		return t.Client.Addr.String()
	}
	return t.session.conn.Socket().RemoteAddr().Network()
}
