package inspect

import (
	"context"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/story"
	"hoplite/mail/trace"
)

// Key identifies a message in our history. Exactly one of its fields is set.
type Key struct {
	ID        string // our own id
	MessageID string // with or without angle brackets
	EnvID     string // the sender's id (RFC 3461, 4.4)
}

// String returns a readable description of the key.
func (k Key) String() string {
	switch {
	case k.ID != "":
		return "our id " + k.ID
	case k.MessageID != "":
		return "the Message-ID " + k.MessageID
	}
	return "the envelope id " + k.EnvID
}

// Records searches our history, for example with internal/history. Results
// include the queue's delivery attempts.
type Records func(ctx context.Context, k Key) ([]story.Entry, error)

// Known holds the records of a message in our own history.
type Known struct {
	By      Key // the key by which it was found
	Stories []story.Story
}

// maxKeys is the maximum number of searches for one message.
const maxKeys = 12

// known searches our history for the message or, for a bounce or complaint, for
// the original message.
func (i *Inspector) known(ctx context.Context, r *Report) (*Known, error) {
	for _, k := range i.keys(r) {
		found, err := i.Records(ctx, k)
		if err != nil {
			return nil, fmt.Errorf("search history: %w", err)
		}
		if stories := story.Tell(found, i.Viewer); len(stories) > 0 {
			return &Known{By: k, Stories: stories}, nil
		}
	}
	return nil, nil
}

// keys returns the keys that may identify the message in our history, starting
// with the most reliable.
func (i *Inspector) keys(r *Report) []Key {
	var keys []Key
	add := func(k Key) {
		if k != (Key{}) && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	t := r.Trace
	if b := r.Bounce; b != nil {
		add(Key{ID: b.OurID})
		if t = r.Original; t == nil {
			t = &trace.Trace{MessageID: b.InReplyTo}
		}
	}
	for j := len(t.Steps) - 1; j >= 0; j-- {
		// Our ids contain a timestamp, which ids from other servers
		// match only by accident.
		if id := t.Steps[j].ID; id != "" {
			if _, ours := mail.IDTime(id); ours {
				add(Key{ID: id})
			}
		}
	}
	add(Key{MessageID: strings.TrimSpace(t.MessageID)})
	if r.Bounce != nil { // not indexed
		add(Key{EnvID: r.Bounce.EnvID})
	}
	return keys
}
