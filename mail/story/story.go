// Package story describes what happened to a message: in history records, in
// the log, and in labelled lines for people.
//
// Summary and Attempt are the records stored in history for a transaction and
// for each delivery attempt of the queue; LogTrail writes the same information
// to the log. Tell converts records to stories. A story is a list of labelled
// lines that the terminal, the web pages and JSON present unchanged. Tell is
// also the only place that decides who may see a record, and which parts of it.
//
// The package neither stores nor looks up anything: records come from
// internal/history, and the caller joins them by id. Start with Tell.
package story

import (
	"bytes"
	"encoding/json"
	"time"

	"hoplite/mail"
	"hoplite/mail/safe"
)

// Entry is one history record. A history.Record can be converted to it.
type Entry struct {
	ID        string
	At        time.Time
	Kind      string // "transaction", "refusal" or "attempt"
	MessageID string
	From      string
	To        []string
	Data      json.RawMessage
}

// Story is the readable account of one record, as lines that are safe to print.
type Story struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	// Title is the result, for example "accepted: 250 2.0.0 queued as ...".
	Title string `json:"title"`
	// Good is set if every recipient that the viewer may see was accepted.
	Good  bool   `json:"good"`
	Lines []Line `json:"lines"`
}

// Line is one line of a story.
type Line struct {
	Label string `json:"label"` // "from", "to", "client", "+12ms", "spf", "sent", ...
	Text  string `json:"text"`
	State State  `json:"state,omitempty"`
	// Means explains the reply codes in a line that reports a failure.
	Means []Meaning `json:"means,omitempty"`
}

// State marks a line that reports success or failure; most lines report
// neither.
type State string

// The states of a line.
const (
	Good State = "good"
	Bad  State = "bad"
)

// Meaning explains a reply code.
type Meaning struct {
	Code  string   `json:"code"`
	Title string   `json:"title"`
	Why   []string `json:"why,omitempty"`
	Next  string   `json:"next,omitempty"`
}

// Viewer is the account that requests a story.
type Viewer struct {
	Account string // its address
	Admin   bool
}

// Everything is a viewer who may see everything: an administrator.
var Everything = Viewer{Admin: true}

// Tell returns the stories of the records that the viewer may see.
//
// An administrator may see everything. An account may see everything about
// messages that it sent after logging in; being the envelope sender is not
// enough. A recipient may see the records of mail to it, but not other
// recipients, the replies for them, or the evidence of filters.
func Tell(records []Entry, v Viewer) []Story {
	sent := map[string]bool{} // ids of the messages that the account sent
	for i := range records {
		if s, ok := summary(&records[i]); ok && v.is(s.Client.User) {
			sent[records[i].ID] = true
		}
	}
	var stories []Story
	for i := range records {
		r := &records[i]
		t := teller{viewer: v, whole: v.Admin || sent[r.ID]}
		if t.whole || t.isRecipient(r) {
			stories = append(stories, t.record(r))
		}
	}
	return stories
}

// HasEnvID reports whether a record is about a transaction with the given
// envelope id of the sender (RFC 3461, 4.4).
func (r *Entry) HasEnvID(id string) bool {
	if id == "" || !bytes.Contains(r.Data, []byte(`"EnvID"`)) {
		return false
	}
	s, ok := summary(r)
	return ok && s.Envelope.EnvID == id
}

// summary decodes the data of a transaction.
func summary(r *Entry) (*Summary, bool) {
	var s Summary
	if r.Kind == "attempt" || json.Unmarshal(r.Data, &s) != nil || s.Transaction == nil {
		return nil, false
	}
	return &s, true
}

// is reports whether a is the address of the viewer's account.
func (v Viewer) is(a string) bool {
	return a != "" && v.Account != "" && mail.Key(a) == mail.Key(v.Account)
}

// teller writes the story of one record for one viewer.
type teller struct {
	viewer Viewer
	whole  bool // the viewer may see the whole record
	story  Story
}

// may reports whether the viewer may see information about a recipient.
func (t *teller) may(rcpt mail.Address) bool { return t.whole || t.viewer.is(string(rcpt)) }

func (t *teller) isRecipient(r *Entry) bool {
	for _, to := range r.To {
		if t.viewer.is(to) {
			return true
		}
	}
	return false
}

// add appends a line and returns it. If text is empty, it returns a line that
// is not part of the story.
func (t *teller) add(label, text string) *Line {
	if text == "" {
		return &Line{}
	}
	t.story.Lines = append(t.story.Lines, Line{Label: safe.Line(label), Text: safe.Line(text)})
	return &t.story.Lines[len(t.story.Lines)-1]
}

// record returns the story of a record. If the record cannot be decoded, the
// story has only a title.
func (t *teller) record(r *Entry) Story {
	t.story = Story{ID: safe.Line(r.ID), At: r.At, Kind: safe.Line(r.Kind), Title: safe.Line(r.Kind), Lines: []Line{}}
	if r.Kind == "attempt" {
		var a Attempt
		if json.Unmarshal(r.Data, &a) == nil {
			t.attempt(&a)
		}
	} else if s, ok := summary(r); ok {
		t.transaction(s)
	}
	return t.story
}
