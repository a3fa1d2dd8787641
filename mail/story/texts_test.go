package story

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
)

func TestOutcomeTexts(t *testing.T) {
	accepted, refused := *mail.NewReply(250, "2.0.0", "ok"), *mail.NewReply(550, "5.1.1", "no such user")
	for _, c := range []struct {
		name  string
		o     mail.Outcome
		want  string
		state State
	}{
		{"to a maildrop", mail.Outcome{Rcpt: "ann@a.example", Hop: "boxes", Reply: accepted, RemoteID: "1764.M1P2.mx"}, "<ann@a.example> → boxes: 250 2.0.0 ok, remote id 1764.M1P2.mx", Good},
		{"no hop was chosen", mail.Outcome{Rcpt: "ann@a.example", Reply: refused}, "<ann@a.example>: 550 5.1.1 no such user", Bad},
		{"a host by name only", mail.Outcome{Rcpt: "ann@a.example", Hop: "out", Host: "mx.a.example", Reply: refused}, "<ann@a.example> → out at mx.a.example: 550 5.1.1 no such user", Bad},
		{"with its address", mail.Outcome{Rcpt: "ann@a.example", Hop: "out", Host: "mx.a.example", Addr: "192.0.2.1", Reply: accepted}, "<ann@a.example> → out at mx.a.example [192.0.2.1]: 250 2.0.0 ok", Good},
		{"an address without a host is not shown", mail.Outcome{Rcpt: "ann@a.example", Hop: "out", Addr: "192.0.2.1", Reply: accepted}, "<ann@a.example> → out: 250 2.0.0 ok", Good},
		{"what the connection proved replaces the cipher", mail.Outcome{Rcpt: "ann@a.example", Reply: accepted, TLS: "TLSv1.3 X", Proof: "TLS 1.3, verified"}, "<ann@a.example>: 250 2.0.0 ok, TLS 1.3, verified", Good},
		{"a record of an older version has only the cipher", mail.Outcome{Rcpt: "ann@a.example", Reply: accepted, TLS: "TLSv1.3 X"}, "<ann@a.example>: 250 2.0.0 ok, TLSv1.3 X", Good},
		{"less than a millisecond is not shown", mail.Outcome{Rcpt: "ann@a.example", Reply: accepted, Took: 900 * time.Microsecond}, "<ann@a.example>: 250 2.0.0 ok", Good},
		{"a long attempt", mail.Outcome{Rcpt: "ann@a.example", Reply: *mail.NewReply(450, "4.4.1", "timeout"), Took: 5 * time.Minute}, "<ann@a.example>: 450 4.4.1 timeout, took 5 min", Bad},
		{"no reply", mail.Outcome{Rcpt: "ann@a.example"}, "<ann@a.example>: ", Bad},
		{"a recipient in another script", mail.Outcome{Rcpt: "änn@bücher.example", Reply: accepted}, "<änn@bücher.example>: 250 2.0.0 ok", Good},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := Outcomes([]mail.Outcome{c.o})
			if len(lines) != 1 || lines[0].Label != "sent" || !strings.HasPrefix(lines[0].Text, strings.TrimSpace(c.want)) || c.o.Reply.Code != 0 && lines[0].Text != c.want || lines[0].State != c.state {
				t.Errorf("got  %+v\nwant %q, %s", lines, c.want, c.state)
			}
			if bad := c.state == Bad && c.o.Reply.Code != 0; bad != (len(lines[0].Means) > 0) {
				t.Errorf("meanings %+v", lines[0].Means)
			}
		})
	}
}

func TestClientTexts(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:4000")
	for _, c := range []struct {
		name   string
		client mail.Client
		want   []string // label: text
	}{
		{"composed here", mail.Client{}, nil},
		{"an address", mail.Client{Addr: addr, Listener: "mx"}, []string{"client: 192.0.2.1, at listener mx"}},
		{"a name and HELO", mail.Client{Addr: addr, Name: "mail.a.example", Helo: "mail", Listener: "mx"}, []string{"client: mail.a.example [192.0.2.1], HELO mail, at listener mx"}},
		{"IPv6", mail.Client{Addr: netip.MustParseAddrPort("[2001:db8::1]:25"), Helo: "x"}, []string{"client: 2001:db8::1, HELO x"}},
		{"a socket", mail.Client{Listener: "local"}, []string{"client: a Unix socket, at listener local"}},
		{"a login", mail.Client{Listener: "sub", Addr: addr, User: "ann@a.example"}, []string{"client: 192.0.2.1, at listener sub", "login: ann@a.example"}},
		{"plain TLS", mail.Client{Listener: "mx", Addr: addr, TLS: &mail.TLS{Version: "TLSv1.3", Cipher: "X"}}, []string{"client: 192.0.2.1, at listener mx", "TLS: TLSv1.3 X"}},
		{"TLS with a client certificate", mail.Client{Listener: "mx", Addr: addr, TLS: &mail.TLS{Version: "TLSv1.3", Cipher: "X", Verified: true}}, []string{"client: 192.0.2.1, at listener mx", "TLS: TLSv1.3 X, certificate verified"}},
		{"old TLS of a device", mail.Client{Listener: "dev", Addr: addr, TLS: &mail.TLS{Version: "TLSv1.0", Cipher: "X", Legacy: true}}, []string{"client: 192.0.2.1, at listener dev", "TLS: TLSv1.0 X, allowed only by the legacy profile"}},
	} {
		var got []string
		for _, l := range Arrival(&c.client, &mail.HeaderInfo{}) {
			got = append(got, l.Label+": "+l.Text)
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEventTexts(t *testing.T) {
	for _, c := range []struct {
		name  string
		e     mail.Event
		want  string
		state State
	}{
		{"pass", mail.Event{Stage: mail.StageConnect, By: "dnsbl", Verdict: "pass"}, "connect, dnsbl: pass", ""},
		{"reject with a reply", mail.Event{Stage: mail.StageMail, By: "spf", Verdict: "reject", Reply: mail.NewReply(550, "5.7.23", "SPF fails")}, "mail, spf: reject, 550 5.7.23 SPF fails", Bad},
		{"defer with a reason", mail.Event{Stage: mail.StageRcpt, By: "greylist", Verdict: "defer", Reason: "new triple"}, "rcpt, greylist: defer, new triple", Bad},
		{"about a recipient", mail.Event{Stage: mail.StageRcpt, By: "route", Rcpt: "ann@a.example", Verdict: "pass"}, "rcpt, route: pass for <ann@a.example>", ""},
		{"about the empty sender's report", mail.Event{Stage: mail.StageData, By: "hops", Verdict: "quarantine", Reason: "loop"}, "data, hops: quarantine, loop", ""},
		{"evidence", mail.Event{Stage: mail.StageData, By: "attach", Verdict: "pass", Facts: []mail.Fact{{Key: "part", Value: "2"}, {Key: "name", Value: "a.zip"}}}, "data, attach: pass [part 2] [name a.zip]", ""},
		{"shadow mode", mail.Event{Stage: mail.StageData, By: "size", Verdict: "reject", Shadow: true}, "data, size: reject (shadow mode: without effect)", Bad},
		{"slow", mail.Event{Stage: mail.StageData, By: "dkim", Verdict: "pass", Took: 1500 * time.Millisecond}, "data, dkim: pass, took 1.5 s", ""},
	} {
		lines := Trail(&mail.Trail{Events: []mail.Event{c.e}}, start)
		if len(lines) != 1 || lines[0].Text != c.want || lines[0].State != c.state {
			t.Errorf("%s: got %+v, want %q %q", c.name, lines, c.want, c.state)
		}
	}
}

func TestAuthStates(t *testing.T) {
	for value, want := range map[string]State{"pass": Good, "fail": Bad, "permerror": Bad, "softfail": "", "neutral": "", "none": "", "temperror": "", "policy": ""} {
		lines := Trail(&mail.Trail{Auth: []mail.AuthResult{{Method: "spf", Value: value}}}, start)
		if len(lines) != 1 || lines[0].Text != value || lines[0].State != want {
			t.Errorf("%s: %+v, want state %q", value, lines, want)
		}
	}
}

// TestAttempts checks when an attempt is good, and the lines about the queue.
func TestAttempts(t *testing.T) {
	ok, later := *mail.NewReply(250, "", "ok"), *mail.NewReply(450, "4.2.0", "later")
	ann, bob := mail.Outcome{Rcpt: "ann@a.example", Reply: ok}, mail.Outcome{Rcpt: "bob@b.example", Reply: later}
	for _, c := range []struct {
		name   string
		a      Attempt
		viewer Viewer
		good   bool
		labels string
	}{
		{"all accepted", Attempt{Outcomes: []mail.Outcome{ann}, Final: true}, Everything, true, "sent"},
		{"one is tried again", Attempt{Outcomes: []mail.Outcome{ann, bob}}, Everything, false, "sent sent queue"},
		{"the accepted recipient does not see the other, or the queue", Attempt{Outcomes: []mail.Outcome{ann, bob}}, Viewer{Account: "ann@a.example"}, true, "sent"},
		{"the other recipient sees the delay", Attempt{Outcomes: []mail.Outcome{ann, bob}}, Viewer{Account: "bob@b.example"}, false, "sent"},
		{"after a wait", Attempt{Queued: start, Started: start.Add(time.Hour), Outcomes: []mail.Outcome{ann}, Final: true}, Everything, true, "waited sent"},
		{"at once", Attempt{Queued: start, Started: start, Outcomes: []mail.Outcome{ann}, Final: true}, Everything, true, "sent"},
		{"the clock was set back", Attempt{Queued: start, Started: start.Add(-time.Hour), Outcomes: []mail.Outcome{ann}, Final: true}, Everything, true, "sent"},
		{"an unknown arrival", Attempt{Started: start, Outcomes: []mail.Outcome{ann}, Final: true}, Everything, true, "sent"},
		{"no outcome", Attempt{Final: true}, Everything, true, ""},
	} {
		e := Entry{ID: "x", Kind: "attempt", To: []string{"ann@a.example", "bob@b.example"}, Data: marshal(t, &c.a)}
		stories := Tell([]Entry{e}, c.viewer)
		if len(stories) != 1 {
			t.Fatalf("%s: %d stories", c.name, len(stories))
		}
		var labels []string
		for _, l := range stories[0].Lines {
			labels = append(labels, l.Label)
		}
		if stories[0].Good != c.good || strings.Join(labels, " ") != c.labels {
			t.Errorf("%s: good %v, lines %q; want %v, %q", c.name, stories[0].Good, labels, c.good, c.labels)
		}
	}
}

// TestDamagedRecords checks that a record that cannot be decoded has a title but
// no lines, and belongs to no account.
func TestDamagedRecords(t *testing.T) {
	for _, data := range []string{"", "null", "{", "{}", "[]", `{"Verdict":"accepted"}`} {
		for _, kind := range []string{"transaction", "refusal", "attempt"} {
			e := Entry{ID: "x", Kind: kind, To: []string{"ann@a.example"}, Data: json.RawMessage(data)}
			stories := Tell([]Entry{e}, Everything)
			if len(stories) != 1 || !strings.HasPrefix(stories[0].Title, kind) {
				t.Errorf("%s %q: %+v", kind, data, stories)
			}
			if got := Tell([]Entry{e}, Viewer{Account: "sue@a.example"}); len(got) != 0 {
				t.Errorf("%s %q: told to another account: %+v", kind, data, got)
			}
		}
	}
}

func TestHasEnvID(t *testing.T) {
	e := Entry{ID: "x", Kind: "transaction", Data: marshal(t, &Summary{Transaction: &mail.Transaction{ID: "x", Envelope: mail.Envelope{EnvID: "QQ314159"}}})}
	attempt := Entry{ID: "x", Kind: "attempt", Data: json.RawMessage(`{"EnvID":"QQ314159"}`)}
	for _, c := range []struct {
		e    Entry
		id   string
		want bool
	}{{e, "QQ314159", true}, {e, "qq314159", false}, {e, "", false}, {e, "QQ3", false}, {attempt, "QQ314159", false}, {Entry{}, "QQ314159", false}} {
		if got := c.e.HasEnvID(c.id); got != c.want {
			t.Errorf("%s %q: %v", c.e.Kind, c.id, got)
		}
	}
}

// TestLogTrail checks that the log line has every event but a plain pass, and
// no empty key.
func TestLogTrail(t *testing.T) {
	reply := mail.NewReply(550, "5.7.1", "no")
	for _, c := range []struct {
		name  string
		trail mail.Trail
		want  string
	}{
		{"nothing", mail.Trail{}, `{"trail":{}}`},
		{"plain passes", mail.Trail{Events: []mail.Event{{By: "size", Verdict: "pass"}, {By: "hops", Verdict: "pass", Reason: "3"}}}, `{"trail":{}}`},
		{"a refusal", mail.Trail{Events: []mail.Event{{Stage: mail.StageRcpt, By: "route", Verdict: "reject", Rcpt: "a@b.example", Reply: reply, Reason: "why", Shadow: true}}},
			`{"trail":{"said":[{"stage":"rcpt","by":"route","verdict":"reject","rcpt":"a@b.example","reply":"550 5.7.1 no","reason":"why","shadow":true}]}}`},
		{"authentication", mail.Trail{Auth: []mail.AuthResult{{Method: "spf", Value: "pass", Reason: "x"}, {Method: "dkim", Value: "fail"}}}, `{"trail":{"auth":["spf=pass","dkim=fail"]}}`},
		{"an outcome", mail.Trail{Outcomes: []mail.Outcome{{Rcpt: "a@b.example", Hop: "out", Reply: *reply, Host: "mx", RemoteID: "r", TLS: "TLSv1.3 X"}}},
			`{"trail":{"sent":[{"rcpt":"a@b.example","hop":"out","reply":"550 5.7.1 no","peer":"mx","remote_id":"r","tls":"TLSv1.3 X","took":0}]}}`},
	} {
		var out strings.Builder
		log := zerolog.New(&out)
		trail := LogTrail(c.trail)
		log.Log().Object("trail", &trail).Send()
		if got := strings.TrimSpace(out.String()); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}
