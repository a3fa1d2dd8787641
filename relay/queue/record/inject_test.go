package record

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

// TestFilesByHand reads envelopes that an admin or a script put into inject.
func TestFilesByHand(t *testing.T) {
	const to = `"rcpts":[{"to":"bob@example.net"}]`
	for _, c := range []struct {
		name, text string
		err        string // the beginning of the error
		check      func(File, mail.Envelope) bool
	}{
		{"a field of a later version is ignored", `{"colour":"red",` + to + `}`, "", func(_ File, e mail.Envelope) bool { return len(e.Rcpts) == 1 }},
		{"the original recipient is the recipient by default", `{` + to + `}`, "", func(_ File, e mail.Envelope) bool { return e.Rcpts[0].Orig == "bob@example.net" }},
		{"an alias keeps its name", `{"rcpts":[{"to":"bob@example.net","orig":"team@example.org","via":["team"]}]}`, "",
			func(_ File, e mail.Envelope) bool {
				return e.Rcpts[0].Orig == "team@example.org" && slices.Equal(e.Rcpts[0].Via, []string{"team"})
			}},
		{"a null sender sends no reports", `{"from":"",` + to + `}`, "", func(_ File, e mail.Envelope) bool { return e.From == "" }},
		{"an owner receives them instead", `{"from":"list@example.org","owner":"ann@example.org",` + to + `}`, "", func(_ File, e mail.Envelope) bool { return e.Owner == "ann@example.org" }},
		{"an internationalized address", `{"smtputf8":true,"rcpts":[{"to":"j\u00fcrgen@b\u00fccher.example"}]}`, "",
			func(_ File, e mail.Envelope) bool {
				return e.UTF8 && strings.HasPrefix(string(e.Rcpts[0].To), "j\u00fcrgen@")
			}},
		{"a time limit", `{"deliverby":{"at":"2026-06-15T12:00:00Z","return":true},` + to + `}`, "",
			func(_ File, e mail.Envelope) bool {
				return e.DeliverBy != nil && e.DeliverBy.Return && !e.DeliverBy.Trace && e.DeliverBy.At.Equal(time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC))
			}},
		{"the highest priority", `{"priority":9,` + to + `}`, "", func(_ File, e mail.Envelope) bool { return e.Priority == 9 }},
		{"the lowest priority", `{"priority":-9,` + to + `}`, "", func(_ File, e mail.Envelope) bool { return e.Priority == -9 }},
		{"one below it", `{"priority":-10,` + to + `}`, "priority -10 ", nil},
		{"a recipient who is done needs no valid address", `{"rcpts":[{"to":"?","state":"delivered"},{"to":"bob@example.net"}]}`, "",
			func(_ File, e mail.Envelope) bool { return len(e.Rcpts) == 1 }},
		{"a state of a later version is not waiting", `{"rcpts":[{"to":"bob@example.net","state":"expired"}]}`, "no recipient is waiting", nil},
		{"an owner without a domain", `{"owner":"ann",` + to + `}`, "owner: ", nil},
		{"an SMTP command in an address", `{"rcpts":[{"to":"bob@example.net>\r\nDATA"}]}`, `recipient "bob@example.net>\r\nDATA": `, nil},
		{"two recipients in one address", `{"rcpts":[{"to":"a@example.net, b@example.net"}]}`, "recipient ", nil},
		{"a file that is still being written", `{"from":"ann@example.org","rcpts":[{"to":"bob@exam`, "read envelope: ", nil},
		{"two files in one", `{` + to + `}{` + to + `}`, "read envelope: ", nil},
		{"a recipient instead of a list", `{"rcpts":"bob@example.net"}`, "read envelope: ", nil},
		{"an empty file", "", "read envelope: ", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, env, err := ReadFile([]byte(c.text))
			switch {
			case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)):
				t.Errorf("error %v, want %s", err, c.err)
			case c.err == "" && (err != nil || !c.check(f, env)):
				t.Errorf("read %+v, %v", env, err)
			}
		})
	}
}

// TestHolds checks which reason for a hold survives a trip through a file: a
// message that a filter held must not be released by moving it, and a hold that
// an admin placed over it is not the filter's.
func TestHolds(t *testing.T) {
	for _, c := range []struct{ name, held, filter, quarantine string }{
		{"by a filter", "virus", "virus", "virus"},
		{"by an admin", "by ann", "", ""},
		{"by an admin, after the filter's was released", "by ann", "virus", ""},
		{"released", "", "virus", ""},
		{"never held", "", "", ""},
	} {
		msg, tx := fullTransaction()
		msg.Held, tx.Quarantine = c.held, c.filter
		f, _, err := ReadFile(Envelope(msg.ID, Meta(msg, tx), State(msg)))
		if err != nil || f.Held != c.held || f.Quarantine != c.quarantine {
			t.Errorf("%s: held %q, quarantine %q, %v", c.name, f.Held, f.Quarantine, err)
		}
	}
}

// TestDamagedEnvelopes checks that a message whose record is damaged leaves a
// file that names it and the reason, and that cannot be queued by accident.
func TestDamagedEnvelopes(t *testing.T) {
	msg, tx := fullTransaction()
	meta, state := Meta(msg, tx), State(msg)
	for name, text := range map[string][]byte{
		"no envelope":             Envelope("0123", nil, state),
		"half an envelope":        Envelope("0123", meta[:len(meta)/2], state),
		"half a state":            Envelope("0123", meta, state[:len(state)/2]),
		"state of another format": Envelope("0123", meta, append([]byte{99}, state...)),
	} {
		var f struct{ ID, Error string }
		if err := json.Unmarshal(text, &f); err != nil || f.ID != "0123" || f.Error == "" {
			t.Errorf("%s: %s, %v", name, text, err)
		}
		if _, _, err := ReadFile(text); err == nil {
			t.Errorf("%s: queued", name)
		}
	}
	// Fewer recipients in the state than in the envelope is damage too: the
	// others would be sent again.
	more := &schedule.Message{ID: msg.ID, Rcpts: make([]schedule.Rcpt, len(msg.Rcpts)+1)}
	if err := ReadState(state, more); err == nil {
		t.Error("a state without one of the recipients is accepted")
	}
}
