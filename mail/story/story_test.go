package story

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/mail/safe"
)

var start = time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)

// sample is a transaction from sue to ann and bob, and a queue attempt for
// both, in which bob was refused.
func sample(t *testing.T) []Entry {
	t.Helper()
	s := &Summary{
		Transaction: &mail.Transaction{
			ID: "id1", At: start,
			Client: mail.Client{
				Listener: "submission", Helo: "pc.example", Name: "pc.a.example", User: "sue@a.example",
				Addr: netip.MustParseAddrPort("192.0.2.1:4000"),
				TLS:  &mail.TLS{Version: "TLSv1.0", Cipher: "X", Name: "mx.a.example", Verified: true, Legacy: true},
			},
			Envelope: mail.Envelope{From: "boss@a.example", Rcpts: []mail.Rcpt{
				{To: "ann@a.example", Orig: "staff@a.example"}, {To: "bob@b.example", Orig: "bob@b.example"},
			}},
			Header: mail.HeaderInfo{MessageID: "<m@a.example>", Size: 1200, Hops: 1},
			Trail: &mail.Trail{
				Events: []mail.Event{
					{At: start.Add(12 * time.Millisecond), Stage: mail.StageRcpt, By: "route", Rcpt: "bob@b.example", Verdict: "defer", Reply: mail.NewReply(450, "4.2.0", "busy")},
					{At: start.Add(1500 * time.Millisecond), Stage: mail.StageData, By: "size", Verdict: "pass", Reason: "small", Facts: []mail.Fact{{Key: "score", Value: "0.1"}}, Took: 2 * time.Millisecond, Shadow: true},
				},
				Auth: []mail.AuthResult{{Method: "spf", Value: "fail", Reason: "not listed"}, {Method: "dkim", Value: "pass"}},
			},
		},
		Verdict: "partly", Reply: *mail.NewReply(250, "2.0.0", "queued; bob@b.example later"), Took: 2 * time.Second,
	}
	a := &Attempt{ID: "id1", Upstream: "out", Queued: start, Started: start.Add(3 * time.Second), Outcomes: []mail.Outcome{
		{Rcpt: "ann@a.example", Hop: "out", Host: "mx.example", Addr: "192.0.2.9", RemoteID: "r1", Proof: "TLS 1.3, verified", Reply: *mail.NewReply(250, "", "ok"), Took: time.Second},
		{Rcpt: "bob@b.example", Hop: "out", TLS: "TLSv1.2 Y", Reply: *mail.NewReply(550, "5.1.1", "no such user")},
	}}
	to := []string{"ann@a.example", "staff@a.example", "bob@b.example"}
	return []Entry{
		{ID: "id1", At: start, Kind: "transaction", From: "boss@a.example", To: to, Data: marshal(t, s)},
		{ID: "id1", At: start.Add(3 * time.Second), Kind: "attempt", From: "boss@a.example", To: to, Data: marshal(t, a)},
	}
}

func marshal(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flat(stories []Story) string {
	var b strings.Builder
	for _, s := range stories {
		b.WriteString(s.Title + "\n")
		for _, l := range s.Lines {
			b.WriteString(l.Label + ": " + l.Text + " " + string(l.State) + "\n")
		}
	}
	return b.String()
}

func TestTellEverything(t *testing.T) {
	const want = `partly: 250 2.0.0 queued; bob@b.example later
from: <boss@a.example> 
to: <ann@a.example>, addressed as <staff@a.example> 
to: <bob@b.example> 
client: pc.a.example [192.0.2.1], HELO pc.example, at listener submission 
login: sue@a.example 
TLS: TLSv1.0 X, for the name mx.a.example, certificate verified, allowed only by the legacy profile 
message: <m@a.example> 
size: 1200 bytes, 1 hop before this server 
took: 2 s 
+12ms: rcpt, route: defer for <bob@b.example>, 450 4.2.0 busy bad
+1.5s: data, size: pass, small [score 0.1], took 2 ms (shadow mode: without effect) 
spf: fail not listed bad
dkim: pass good
attempt at out
waited: 3 s in the queue 
sent: <ann@a.example> → out at mx.example [192.0.2.9]: 250 ok, remote id r1, TLS 1.3, verified, took 1 s good
sent: <bob@b.example> → out: 550 5.1.1 no such user, TLSv1.2 Y bad
queue: the message is still in the queue 
`
	stories := Tell(sample(t), Everything)
	if got := flat(stories); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if stories[0].Good || stories[1].Good {
		t.Error("a refused recipient is bad news")
	}
	means := stories[1].Lines[2].Means
	if len(means) == 0 || means[len(means)-1].Code != "5.1.1" || means[len(means)-1].Next == "" {
		t.Errorf("means %+v", means)
	}
}

// TestWhoSees tests which viewers may see which parts of a record.
func TestWhoSees(t *testing.T) {
	for _, c := range []struct {
		name    string
		viewer  Viewer
		stories int
		sees    []string
		not     []string
	}{
		{"an administrator", Viewer{Account: "root@a.example", Admin: true}, 2, []string{"bob@b.example", "score 0.1", "mx.example"}, nil},
		{"the authenticated sender", Viewer{Account: "SUE@A.example"}, 2, []string{"bob@b.example", "score 0.1", "no such user"}, nil},
		{"the envelope's sender is no proof", Viewer{Account: "boss@a.example"}, 0, nil, nil},
		{"a recipient", Viewer{Account: "ann@a.example"}, 2, []string{"<ann@a.example>, addressed as", "mx.example", "size: pass"}, []string{"bob", "score", "no such user", "other recipients"}},
		{"the other recipient", Viewer{Account: "bob@b.example"}, 2, []string{"no such user", "450 4.2.0"}, []string{"ann", "staff", "score", "mx.example"}},
		{"the address before an alias", Viewer{Account: "staff@a.example"}, 2, []string{"addressed as <staff@a.example>"}, []string{"bob", "mx.example"}},
		{"another account", Viewer{Account: "eve@a.example"}, 0, nil, nil},
		{"no account", Viewer{}, 0, nil, nil},
	} {
		stories := Tell(sample(t), c.viewer)
		text := flat(stories)
		if len(stories) != c.stories {
			t.Errorf("%s: %d stories, want %d", c.name, len(stories), c.stories)
		}
		for _, w := range c.sees {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not see %q:\n%s", c.name, w, text)
			}
		}
		for _, w := range c.not {
			if strings.Contains(text, w) {
				t.Errorf("%s sees %q:\n%s", c.name, w, text)
			}
		}
	}
}

// A message sent without a login belongs to no account, not even to one with an
// empty name.
func TestWithoutSender(t *testing.T) {
	s := &Summary{Transaction: &mail.Transaction{ID: "x"}, Verdict: "accepted"}
	if got := Tell([]Entry{{ID: "x", Kind: "transaction", Data: marshal(t, s)}}, Viewer{}); len(got) != 0 {
		t.Errorf("told %v", got)
	}
}

// Text from remote systems is safe to print.
func TestTellIsSafe(t *testing.T) {
	evil := "a\x1b[31m\u202e\u200b\r\nb\xff" + strings.Repeat("x", 10_000)
	s := &Summary{
		Transaction: &mail.Transaction{
			ID: evil, Client: mail.Client{Helo: evil, Name: evil, User: evil, Listener: evil}, Header: mail.HeaderInfo{MessageID: evil},
			Envelope: mail.Envelope{From: mail.Address(evil), Rcpts: []mail.Rcpt{{To: mail.Address(evil)}}},
			Trail: &mail.Trail{
				Events:   []mail.Event{{By: evil, Reason: evil, Reply: &mail.Reply{Code: 550, Text: evil}}},
				Auth:     []mail.AuthResult{{Method: evil, Value: evil}},
				Outcomes: []mail.Outcome{{Host: evil, Reply: mail.Reply{Code: 550, Text: evil}, RemoteID: evil}},
			},
		},
		Verdict: evil, Reply: mail.Reply{Code: 550, Text: evil},
	}
	records := []Entry{{ID: evil, Kind: "transaction", Data: marshal(t, s)}, {ID: evil, Kind: evil, Data: json.RawMessage("{")}}
	for _, told := range Tell(records, Everything) {
		for _, text := range append(texts(told.Lines), told.ID, told.Title, told.Kind) {
			if len(text) > safe.MaxLine || strings.ContainsFunc(text, safe.Hidden) {
				t.Errorf("not safe: %.80q", text)
			}
		}
	}
}

func texts(lines []Line) (list []string) {
	for _, l := range lines {
		list = append(list, l.Label, l.Text)
	}
	return list
}

func TestQueuedMessage(t *testing.T) {
	made := Arrival(&mail.Client{}, &mail.HeaderInfo{})
	if len(made) != 0 {
		t.Errorf("a message made here: %v", made)
	}
	got := Arrival(&mail.Client{Listener: "in", Helo: "h"}, &mail.HeaderInfo{MessageID: "<m>", Size: 5, Hops: 2})
	want := []Line{{Label: "client", Text: "a Unix socket, HELO h, at listener in"}, {Label: "message", Text: "<m>"}, {Label: "size", Text: "5 bytes, 2 hops before this server"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if Trail(nil, start) != nil {
		t.Error("no trail has lines")
	}
	lines := Trail(&mail.Trail{Events: []mail.Event{{At: start.Add(-time.Second), By: "x", Verdict: "reject"}}}, start)
	if len(lines) != 1 || lines[0].Label != "+0s" || lines[0].State != Bad {
		t.Errorf("got %v", lines)
	}
}
