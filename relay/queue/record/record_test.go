package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
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

// A message is stored in the first encoding, which older versions can read,
// unless it needs a later one.
func TestForms(t *testing.T) {
	msg, tx := fullTransaction()
	for _, c := range []struct {
		unverified bool
		owner      mail.Address
		form       byte
	}{{false, "", metaForm}, {true, "", metaUnverified}, {false, "ann@example.org", metaOwned}, {true, "ann@example.org", metaOwned}} {
		msg.Unverified, msg.Envelope.Owner = c.unverified, c.owner
		meta := Meta(msg, tx)
		back := &schedule.Message{ID: msg.ID}
		err := ReadMeta(meta, back, nil)
		if err != nil || back.Unverified != c.unverified || back.Envelope.Owner != c.owner || back.Upstream != msg.Upstream {
			t.Errorf("%+v: read %+v, %v", c, back, err)
		}
		if meta[0] != c.form {
			t.Errorf("%+v: form %d", c, meta[0])
		}
		f, env, err := ReadFile(Envelope(msg.ID, meta, State(msg)))
		if err != nil || f.Unverified != c.unverified || env.Owner != c.owner {
			t.Errorf("%+v: the file says %+v, %v", c, f, err)
		}
	}
}

// An encoding written by a newer version is an error, which prevents startup.
func TestUnknownFormsAreRefused(t *testing.T) {
	msg, tx := fullTransaction()
	meta, state := Meta(msg, tx), State(msg)
	meta[0], state[0] = metaOwned+1, stateForm+1
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
	want := &msg.Envelope
	if env.Auth != want.Auth || env.EnvID != want.EnvID || want.Auth == "" {
		t.Errorf("AUTH=%q ENVID=%q, want %q and %q", env.Auth, env.EnvID, want.Auth, want.EnvID)
	}
	if env.Priority != want.Priority || want.Priority == 0 || env.DeliverBy == nil || !env.DeliverBy.At.Equal(want.DeliverBy.At) ||
		env.DeliverBy.Return != want.DeliverBy.Return || env.DeliverBy.Trace != want.DeliverBy.Trace {
		t.Errorf("priority %d and time limit %+v, want %d and %+v", env.Priority, env.DeliverBy, want.Priority, want.DeliverBy)
	}
	if text := Envelope("x", []byte("?"), nil); !json.Valid(text) {
		t.Errorf("got %q", text)
	}
}

// A record truncated at any offset is an error, never a shorter record.
func TestCutRecords(t *testing.T) {
	msg, tx := fullTransaction()
	meta, state := Meta(msg, tx), State(msg)
	for n := range meta {
		var back mail.Transaction
		if ReadMeta(meta[:n], &schedule.Message{}, &back) == nil {
			t.Errorf("meta of %d octets is accepted", n)
		}
	}
	for n := 1; n < len(state); n++ {
		if ReadState(state[:n], &schedule.Message{Rcpts: make([]schedule.Rcpt, 2)}) == nil {
			t.Errorf("state of %d octets is accepted", n)
		}
	}
	back := &schedule.Message{Rcpts: make([]schedule.Rcpt, 2)}
	if err := ReadState(nil, back); err != nil || back.Held != "" {
		t.Errorf("no state: %v", err)
	}
}

// A hold that only waits for an upstream is not stored. The next start
// determines it again.
func TestHoldForUpstreamIsNotStored(t *testing.T) {
	m := schedule.New(schedule.Options{})
	m.Start(time.Now())
	msg := schedule.NewMessage("id", "gone", mail.Envelope{Rcpts: []mail.Rcpt{{To: "a@example.net"}}}, time.Now())
	m.Admit(msg, time.Now())
	if msg.Held == "" || !msg.AwaitsUpstream() {
		t.Fatalf("%+v", msg)
	}
	back := &schedule.Message{Rcpts: make([]schedule.Rcpt, 1)}
	if err := ReadState(State(msg), back); err != nil || back.Held != "" {
		t.Errorf("held for %q, %v", back.Held, err)
	}
}

func TestReadFile(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		to         []mail.Address
		err        string
	}{
		{"one recipient", `{"from":"ann@example.org","rcpts":[{"to":"a@example.net"}]}`, []mail.Address{"a@example.net"}, ""},
		{"no sender", `{"rcpts":[{"to":"a@example.net"}]}`, []mail.Address{"a@example.net"}, ""},
		{
			"only waiting recipients", `{"rcpts":[{"to":"a@example.net","state":"waiting"},{"to":"b@example.net","state":"delivered"},
			{"to":"c@example.net","state":"failed"},{"to":"d@example.net","state":"dropped"},{"to":"e@example.net"}]}`,
			[]mail.Address{"a@example.net", "e@example.net"}, "",
		},
		{"not JSON", `rcpts: a@example.net`, nil, "read envelope: "},
		{"nobody", `{"rcpts":[]}`, nil, "no recipient is waiting"},
		{"nobody waits", `{"rcpts":[{"to":"a@example.net","state":"failed"}]}`, nil, "no recipient is waiting"},
		{"bad sender", `{"from":"ann","rcpts":[{"to":"a@example.net"}]}`, nil, "from: "},
		{"bad priority", `{"priority":10,"rcpts":[{"to":"a@example.net"}]}`, nil, "priority 10 "},
		{"bad recipient", `{"rcpts":[{"to":"a"}]}`, nil, `recipient "a": `},
		{"bad original recipient", `{"rcpts":[{"to":"a@example.net","orig":"a\r\nb"}]}`, nil, "original recipient "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, env, err := ReadFile([]byte(tc.text))
			if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Fatalf("error %v", err)
			}
			var to []mail.Address
			for _, r := range env.Rcpts {
				to = append(to, r.To)
				if err == nil && r.Orig == "" {
					t.Errorf("%s has no original recipient", r.To)
				}
			}
			if err == nil && !slices.Equal(to, tc.to) {
				t.Errorf("to %q, want %q", to, tc.to)
			}
		})
	}
}

// Numbers, lengths and times survive a round trip; damage is an error.
func TestPack(t *testing.T) {
	now := time.Unix(1795434780, 123)
	for _, n := range []int64{0, 1, -1, 63, 64, -65, 1 << 40, -1 << 62} {
		p := packer{}
		p.num(n)
		if u := (unpacker{b: p.b}); u.num() != n || u.err != nil || len(u.b) != 0 {
			t.Errorf("%d came back different", n)
		}
	}
	p := packer{}
	p.text("")
	p.text("text")
	p.flag(true)
	p.flag(false)
	p.time(now)
	p.time(time.Time{})
	u := unpacker{b: p.b}
	if u.text() != "" || u.text() != "text" || !u.flag() || u.flag() || !u.time().Equal(now) || !u.time().IsZero() || u.err != nil {
		t.Errorf("came back different: %v", u.err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "an unfinished number": {0x80}, "a number of too many octets": bytes.Repeat([]byte{0x80}, 11),
		"a negative length": {1}, "a length beyond the end": {20, 'x'},
	} {
		u := unpacker{b: b}
		if u.text(); u.err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if u := (unpacker{}); u.flag() || u.err == nil {
		t.Error("a missing flag is accepted")
	}
}

// Every field of an envelope and of a recipient's progress is restored,
// including fields that are added to the types later.
func TestEveryFieldComesBack(t *testing.T) {
	var n int64
	env := mail.Envelope{Rcpts: make([]mail.Rcpt, 2)}
	fill(t, reflect.ValueOf(&env).Elem(), &n)
	env.Size = 0 // taken from the message
	for i := range env.Rcpts {
		env.Rcpts[i].Hop = "" // decided again on routing
	}
	msg := schedule.NewMessage("id", "out", env, time.Unix(1795434780, 0))
	for i := range msg.Rcpts {
		fill(t, reflect.ValueOf(&msg.Rcpts[i]).Elem(), &n)
		msg.Rcpts[i].Status = schedule.Failed
		msg.Rcpts[i].Last.Cause = nil // only for the log
	}
	back := &schedule.Message{ID: "id", Rcpts: make([]schedule.Rcpt, len(msg.Rcpts))}
	err := errors.Join(ReadMeta(Meta(msg, &mail.Transaction{}), back, nil), ReadState(State(msg), back))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(msg.Envelope, back.Envelope); diff != "" {
		t.Errorf("envelope: %s", diff)
	}
	if diff := cmp.Diff(msg.Rcpts, back.Rcpts); diff != "" {
		t.Errorf("progress: %s", diff)
	}
	// The human-readable file has everything that is needed to queue the
	// message again.
	for i := range msg.Rcpts {
		msg.Rcpts[i].Status = schedule.Waiting
	}
	env.Auth = ""
	for i := range env.Rcpts {
		env.Rcpts[i].To, env.Rcpts[i].Orig = mail.Address(fmt.Sprint("to", i, "@example.net")), mail.Address(fmt.Sprint("orig", i, "@example.net"))
	}
	env.From, env.Owner, env.Priority = "from@example.org", "owner@example.org", 5
	msg.Envelope = env
	_, read, err := ReadFile(Envelope("id", Meta(msg, &mail.Transaction{}), State(msg)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(env, read); diff != "" {
		t.Errorf("file: %s", diff)
	}
}

// fill sets every exported field of v to a distinct non-zero value.
func fill(t *testing.T, v reflect.Value, n *int64) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Uint8:
		v.SetUint(uint64(*n%3) + 1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1795434780+*n, 0)))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Interface:
	default:
		t.Fatalf("a field of kind %s", v.Kind())
	}
}
