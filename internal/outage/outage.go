// Package outage records whether a server that this one depends on answers.
//
// After a failure the server is not asked for a few seconds, so that clients do
// not all wait for a timeout. What a failure means, and what is done in the
// meantime, is left to the caller. Start with State.
package outage

import (
	"sync"
	"time"

	"hoplite/mail/safe"
)

// rest is how long a server is not asked after a failure.
const rest = 3 * time.Second

// State is the state of one server. The zero value is a server that answers.
type State struct {
	mu     sync.Mutex
	since  time.Time // when it began to fail; zero while it answers
	until  time.Time // when it may be asked again
	reason error
}

// Resting returns the last failure if the server should not be asked yet.
func (s *State) Resting(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.until) {
		return s.reason
	}
	return nil
}

// Set records the result of a question and reports whether the server began or
// ceased to fail.
func (s *State) Set(err error, now time.Time) (changed bool) {
	return s.set(err, now, rest)
}

// Note records an error with which the server answered one question. Other
// questions may have other answers, so they are asked without delay. Note reports
// whether the server began to fail.
func (s *State) Note(err error, now time.Time) (changed bool) {
	return s.set(err, now, 0)
}

func (s *State) set(err error, now time.Time, rest time.Duration) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		changed = !s.since.IsZero()
		s.since, s.until, s.reason = time.Time{}, time.Time{}, nil
		return changed
	}
	if changed = s.since.IsZero(); changed {
		s.since = now
	}
	s.until, s.reason = now.Add(rest), err
	return changed
}

// Outage describes a failure that has not ended.
type Outage struct {
	// Since is when the server began to fail, and Reason the last failure. They
	// are empty while it answers.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Outage returns the current outage.
func (s *State) Outage() Outage {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := Outage{Since: s.since}
	if s.reason != nil {
		o.Reason = safe.Line(s.reason.Error())
	}
	return o
}
