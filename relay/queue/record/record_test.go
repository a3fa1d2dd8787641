package record

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

func fullTransaction() (*schedule.Message, *mail.Transaction) {
	at := time.Unix(1795434780, 123)
	env := mail.Envelope{
		From: "ann@example.org", Body: "8BITMIME", UTF8: true, RequireTLS: true, Auth: "ann@example.org",
		Ret: "HDRS", EnvID: "e 1", DeliverBy: &mail.DeliverBy{At: at.Add(time.Hour), Return: true, Trace: true}, Priority: -3,
		Rcpts: []mail.Rcpt{
			{To: "bob@example.net", Orig: "team@example.org", Folder: "lists", Notify: mail.NotifyDelay, ORcpt: "rfc822;team@example.org", Via: []string{"team"}},
			{To: "c@example.net", Orig: "c@example.net"},
		},
	}
	msg := schedule.NewMessage("0123456789abcdef", "out", env, at)
	msg.Forged = true
	tx := &mail.Transaction{
		ID: msg.ID, At: at, Envelope: env, Hostname: "mail.example.org", Quarantine: "virus",
		Client: mail.Client{Listener: "in", Protocol: "smtp", Addr: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "h", Name: "n", User: "u"},
		Header: mail.HeaderInfo{MessageID: "<m@example.org>", From: "Ann", Subject: "s"},
		Trail: &mail.Trail{
			Events: []mail.Event{{
				At: at, Stage: mail.StageData, By: "size", Rcpt: "bob@example.net", Verdict: "tag", Reply: mail.NewReply(250, "2.0.0", "ok"),
				Reason: "r", Facts: []mail.Fact{{Key: "k", Value: "v"}}, Took: time.Second, Shadow: true,
			}},
			Auth: []mail.AuthResult{{Method: "spf", Value: "pass", Reason: "r", Comment: "c", Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "x"}}}},
		},
	}
	return msg, tx
}

func TestRecordsComeBack(t *testing.T) {
	msg, tx := fullTransaction()
	msg.Rcpts[0] = schedule.Rcpt{Status: schedule.Failed, Attempts: 7, Next: msg.At.Add(time.Hour), Tried: msg.At, Last: mail.NewReply(550, "5.1.1", "no")}
	msg.Held, msg.HeldAt, msg.Override, msg.Warned = "why", msg.At, "other", true

	back := &schedule.Message{ID: msg.ID, Rcpts: make([]schedule.Rcpt, 2)}
	var txBack mail.Transaction
	if err := ReadMeta(Meta(msg, tx), back, &txBack); err != nil {
		t.Fatal(err)
	}
	if err := ReadState(State(msg), back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tx, &txBack, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(msg, back, cmpopts.IgnoreUnexported(schedule.Message{})); diff != "" {
		t.Error(diff)
	}
}

// A form that a newer program wrote stops the start; it is not guessed at.
func TestUnknownFormsAreRefused(t *testing.T) {
	msg, tx := fullTransaction()
	meta, state := Meta(msg, tx), State(msg)
	meta[0], state[0] = metaForm+1, stateForm+1
	if ReadMeta(meta, &schedule.Message{}, nil) == nil || ReadState(state, msg) == nil || ReadMeta(nil, &schedule.Message{}, nil) == nil {
		t.Error("taken")
	}
}

func FuzzUnpack(f *testing.F) {
	msg, tx := fullTransaction()
	f.Add(Meta(msg, tx), State(msg))
	f.Fuzz(func(t *testing.T, meta, state []byte) {
		var tx mail.Transaction
		msg := &schedule.Message{ID: "x", Rcpts: make([]schedule.Rcpt, 3)}
		ReadState(state, msg)
		ReadMeta(meta, msg, &tx)
		Envelope("x", meta, state)
	})
}

func TestEnvelopeFile(t *testing.T) {
	msg, tx := fullTransaction()
	msg.Rcpts[1] = schedule.Rcpt{Attempts: 2, Last: mail.NewReply(451, "4.2.0", "later")}
	f, env, err := ReadFile(Envelope(msg.ID, Meta(msg, tx), State(msg)))
	if err != nil {
		t.Fatal(err)
	}
	if f.From != "ann@example.org" || len(f.Rcpts) != 2 || f.Rcpts[1].Last != "451 4.2.0 later" || f.Rcpts[0].Orig != "team@example.org" {
		t.Errorf("got %+v", f)
	}
	if len(env.Rcpts) != 2 || !slices.Equal(env.Rcpts[0].Via, []string{"team"}) || env.Rcpts[0].Folder != "lists" || !f.Forged || f.Quarantine != "" {
		t.Errorf("read back %+v, of %+v", env, f)
	}
	if text := Envelope("x", []byte("?"), nil); !json.Valid(text) {
		t.Errorf("got %q", text)
	}
}
