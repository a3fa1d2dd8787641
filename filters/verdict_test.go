package filters

import (
	"errors"
	"strings"
	"testing"

	"hoplite/mail"
)

// TestActed checks the reply for each action that a rule may be given. A rule
// that defers must not send a permanent code, and one that tags no reply.
func TestActed(t *testing.T) {
	for _, c := range []struct {
		action Action
		reply  string // "" if the message passes
		reason string
	}{
		{Reject, "550 5.7.1 no exe for ann", ""},
		{Defer, "451 4.7.1 no exe for ann", ""},
		{Quarantine, "", "no exe for ann"},
		{Tag, "", "no exe for ann"},
		{Pass, "", "no exe for ann"},
	} {
		v := Acted(c.action, 550, "5.7.1", "no %s for %s", "exe", "ann")
		got := ""
		if v.Reply != nil {
			got = v.Reply.String()
		}
		if got != c.reply || v.Reason != c.reason || c.action != Pass && v.Action != c.action || c.action == Pass && v.Action != (Verdict{}).Action {
			t.Errorf("%s: %q, reason %q, action %q", c.action, got, v.Reason, v.Action)
		}
	}
	// Foreign text with a percent sign must not be taken for a format.
	if v := Acted(Reject, 550, "5.7.1", "%s", "100%d"); v.Reply.Text != "100%d" {
		t.Errorf("text %q", v.Reply.Text)
	}
	if v := Acted(Defer, 550, "5.7.1", "%s", "100%d"); v.Reply.Text != "100%d" {
		t.Errorf("text %q", v.Reply.Text)
	}
}

// TestOnError checks what happens to mail that a filter could not judge. Unless
// the configuration says otherwise, it waits: a fault of ours must not bounce
// mail.
func TestOnError(t *testing.T) {
	cause := errors.New("dial 10.0.0.5:783: connection refused")
	for _, c := range []struct {
		action Action
		want   Action
		code   int
	}{
		{"", Defer, 451}, {Defer, Defer, 451}, {Reject, Reject, 554}, {Quarantine, Quarantine, 0}, {Pass, "", 0}, {"nonsense", Defer, 451},
	} {
		e := &Entry{Name: "milter", OnError: c.action}
		v := e.onError(cause)
		code := 0
		if v.Reply != nil {
			code = v.Reply.Code
			if strings.Contains(v.Reply.String(), "10.0.0.5") {
				t.Errorf("on_error = %q: the client is told %s", c.action, v.Reply)
			}
		}
		if code != c.code || c.want != "" && v.Action != c.want || c.want == "" && v.Action != (Verdict{}).Action {
			t.Errorf("on_error = %q: %q, %d", c.action, v.Action, code)
		}
		if c.want == Defer && !errors.Is(v.Reply.Cause, cause) {
			t.Errorf("on_error = %q: the log lacks the cause", c.action)
		}
	}
}

// TestRefusalWithoutAText checks that a client always learns which filter
// refused its message.
func TestRefusalWithoutAText(t *testing.T) {
	e := &Entry{Name: "rate"}
	for _, c := range []struct {
		action       Action
		reason, want string
	}{
		{Reject, "", "550 5.7.1 refused by rate"}, {Reject, "too many", "550 5.7.1 too many"}, {Defer, "", "451 4.7.1 refused by rate"}, {Defer, "100% full", "451 4.7.1 100% full"},
	} {
		if got := e.refusal(c.action, c.reason).String(); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.action, c.reason, got, c.want)
		}
	}
}

// TestKnown checks for whom sender authentication is skipped.
func TestKnown(t *testing.T) {
	for name, c := range map[string]struct {
		client mail.Client
		want   bool
	}{
		"a remote client": {mail.Client{}, false}, "a trusted one": {mail.Client{Trusted: true}, true}, "one that may relay": {mail.Client{MayRelay: true}, true}, "one that has logged in": {mail.Client{User: "ann@example.org"}, true},
	} {
		if Known(&c.client) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}

// TestPlace checks the names under which filters keep their state: one for each
// filter, and safe as a file name.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		chain string
		n     int
		want  string
	}{{"inbound", 0, "inbound"}, {"inbound", 1, "inbound-2"}, {"../x", 0, "..%2Fx"}, {"a b", 2, "a%20b-3"}} {
		if got := place(c.chain, c.n); got != c.want {
			t.Errorf("%s, %d: %s, want %s", c.chain, c.n, got, c.want)
		}
	}
}
